/// Ctrl-C, SIGTERM and a lost terminal as a question that long work asks between steps.
#pragma once

#include "runtime/error.h"

namespace tessera {

/// What a program that was interrupted and can be resumed ends with (0 done, 1 failed, 2 wrong usage).
inline constexpr int kInterruptedStatus = 3;

/// A signal ended a run whose state is saved.
class Interrupted : public Error {
 public:
  using Error::Error;
};

/// From construction to destruction SIGINT, SIGTERM and SIGHUP set a flag instead of ending the program; a second one
/// ends it. SIGHUP stays ignored where it was (nohup).
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool requested() const;

 private:
  bool takes_hangup_ = false;
};

}  // namespace tessera
