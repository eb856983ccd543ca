/// Which jobs are small enough to be done between two pieces of a larger one, and when it is their turn.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "server/backend.h"

namespace tessera::server {

/// How much of the worker's time small jobs may take beside larger work: as much as that itself, the head start apart.
/// A bucket that fills while the large work runs and is drawn on by the small.
class TimeCredit {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr double kHeadStart = 1;  // seconds

  bool left(Clock::time_point now) {
    seconds_ = std::min(kHeadStart, seconds_ + std::chrono::duration<double>(now - seen_).count());
    seen_ = now;
    return seconds_ > 0;
  }
  /// Small work was done from `begin` to `end`.
  void spend(Clock::time_point begin, Clock::time_point end) {
    (void)left(begin);
    seconds_ -= std::chrono::duration<double>(end - begin).count();
    seen_ = end;
  }

 private:
  double seconds_ = kHeadStart;
  Clock::time_point seen_ = Clock::now();
};

/// What a job comes to, as far as its request says it.
struct JobWork {
  double evaluations = 0;  // of the denoiser on its own grid, over all images and steps, at most
  double cells = 0;        // of the canvases, over all images
};

/// model: the one asked for.
JobWork work_of(const JobRequest& request, const ModelInfo& model);
/// Windows of a canvas of so many cells, `stride` apart (0: half a window); 1 on the model's own grid.
double windows_of(std::int64_t h, std::int64_t w, std::int64_t stride, const ModelInfo& model);

/// Estimates how long jobs take from how long others took. Of the worker's thread alone.
class JobSeconds {
 public:
  /// So many evaluations of a model took so long.
  void note(const std::string& model, double evaluations, double seconds);
  /// a_cell: seconds that decoding a cell takes.
  double of(const JobWork& work, const ModelInfo& model, double a_cell) const;

 private:
  std::map<std::string, double> evaluation_;  // seconds of one, by model
};

}  // namespace tessera::server
