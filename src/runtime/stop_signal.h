/// Ctrl-C and SIGTERM as a question that long work asks between steps.
#pragma once

namespace tessera {

/// From construction to destruction SIGINT and SIGTERM set a flag instead of ending the program; a second one ends it.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool requested() const;
};

}  // namespace tessera
