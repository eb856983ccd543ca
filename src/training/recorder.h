/// Where a training run writes what can be looked at: metrics.jsonl (one line a record), TensorBoard event files,
/// preview PNGs. What cannot be written costs a warning, not the run; a record is written with the next one then.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "image/image.h"

namespace tessera {

using Metrics = std::map<std::string, double>;

class AppendFile;
class EventFile;

class Recorder {
 public:
  /// Creates the folder and appends to its records. Those later than step `last` are dropped first, with a torn last
  /// line: a run that was killed had written more than it had saved, and will write it again.
  explicit Recorder(std::filesystem::path folder, std::int64_t last = std::numeric_limits<std::int64_t>::max());
  ~Recorder();

  void scalars(std::int64_t step, const Metrics& metrics);
  /// A curve over x = 0, 1, ... at one step (loss by time step).
  void series(std::int64_t step, const std::string& name, const std::vector<double>& values);
  /// previews/<name>-<step>.png, and the event file.
  void image(std::int64_t step, const std::string& name, const Image& image);

 private:
  std::filesystem::path folder_;
  std::unique_ptr<AppendFile> lines_;
  std::unique_ptr<EventFile> events_;  // none where it cannot be written
};

}  // namespace tessera
