/// Progress of long work on standard error: a bar on a terminal from the first moment, a plain line now and then
/// elsewhere; nothing where the log keeps its information to itself (--quiet).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tessera {

class Progress {
 public:
  /// `unit` is what the rate counts ("images"); each step is worth `units_per_step` of them.
  Progress(std::string title, std::int64_t start, std::int64_t total, std::string unit, double units_per_step = 1);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Work has come to `step`; `text` says how it goes (losses).
  void update(std::int64_t step, const std::string& text);
  /// Says how it goes without a step.
  void say(const std::string& text) { text_ = text; }
  /// What was done since the last update was no step (a validation, saving): it does not count for the rate, and is
  /// counted on in the time left as often as it came so far.
  void other_work_done();
  /// The run was taken back to `step`.
  void went_back(std::int64_t step) { step_ = step; }
  /// The work was found to be more or less than was thought.
  void new_total(std::int64_t total) { total_ = total; }
  /// Units per second of the steps themselves.
  double rate() const;
  /// Seconds that the latest steps took each; below zero while nothing can be said yet.
  double seconds_a_step() const;
  /// Seconds to the end by the latest steps; below zero while nothing can be said yet.
  double seconds_left() const;

 private:
  void print(bool last);

  std::string title_, unit_, text_;
  std::int64_t start_, total_, step_;
  double units_per_step_;
  bool terminal_;
  std::chrono::steady_clock::time_point begin_, printed_, updated_;
  double step_seconds_ = 0;   // spent on steps, without the first
  std::int64_t timed_ = 0;    // those steps
  double recent_ = 0;         // seconds a step, of the latest
  double other_seconds_ = 0;  // spent on other work
};

/// "1:02:03", "2:03".
std::string duration_text(double seconds);

}  // namespace tessera
