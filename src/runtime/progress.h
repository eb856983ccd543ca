/// Progress of long work on standard error: a bar on a terminal, a plain line now and then elsewhere.
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
  /// Units per second since the start.
  double rate() const;

 private:
  void print(bool last);

  std::string title_, unit_, text_;
  std::int64_t start_, total_, step_;
  double units_per_step_;
  bool terminal_;
  std::chrono::steady_clock::time_point begin_, printed_;
};

/// "1:02:03", "2:03".
std::string duration_text(double seconds);

}  // namespace tessera
