#include "runtime/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "runtime/log.h"
#include "runtime/seconds_since.h"

namespace tessera {
namespace {

constexpr double kSecondsBetweenBars = 0.2;
constexpr double kSecondsBetweenLines = 10;
constexpr std::int64_t kStepsBeforeEstimate = 3;  // the first steps wait for memory and files
constexpr double kSecondsBeforeEstimate = 1;
constexpr double kRecentSeconds = 30;  // a step's time is averaged over about as many seconds

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(0.0, seconds) + 0.5);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

Progress::Progress(std::string title, std::int64_t start, std::int64_t total, std::string unit, double units_per_step)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      start_(start),
      total_(total),
      step_(start),
      units_per_step_(units_per_step),
      terminal_(::isatty(STDERR_FILENO) == 1),
      begin_(std::chrono::steady_clock::now()),
      printed_(begin_),
      updated_(begin_) {
  if (terminal_) print(false);
}

Progress::~Progress() {
  print(true);
}

double Progress::rate() const {
  if (timed_ == 0) return static_cast<double>(step_ - start_) * units_per_step_ / std::max(1e-9, seconds_since(begin_));
  return static_cast<double>(timed_) * units_per_step_ / std::max(1e-9, step_seconds_);
}

double Progress::seconds_a_step() const {
  return timed_ < kStepsBeforeEstimate || step_seconds_ < kSecondsBeforeEstimate ? -1 : recent_;
}

double Progress::seconds_left() const {
  if (step_ >= total_) return 0;
  if (seconds_a_step() < 0) return -1;
  return recent_ * static_cast<double>(total_ - step_) * (1 + other_seconds_ / step_seconds_);
}

void Progress::other_work_done() {
  other_seconds_ += seconds_since(updated_);
  updated_ = std::chrono::steady_clock::now();
}

void Progress::update(std::int64_t step, const std::string& text) {
  const auto steps = step - step_;
  const double seconds = seconds_since(updated_);
  if (steps > 0) {
    updated_ = std::chrono::steady_clock::now();
    if (step_ > start_) {  // the first one is not like those to come
      step_seconds_ += seconds;
      timed_ += steps;
      const double each = seconds / static_cast<double>(steps);
      const double weight = std::min(1.0, std::max(1.0 / static_cast<double>(timed_), seconds / kRecentSeconds));
      recent_ += weight * (each - recent_);
    }
  }
  step_ = step;
  if (!text.empty()) text_ = text;
  if (seconds_since(printed_) < (terminal_ ? kSecondsBetweenBars : kSecondsBetweenLines)) return;
  printed_ = std::chrono::steady_clock::now();
  print(false);
}

void Progress::print(bool last) {
  if (!shows_progress()) return;
  const double elapsed = seconds_since(begin_);
  const double done = total_ > 0 ? static_cast<double>(step_) / static_cast<double>(total_) : 0;
  double left = seconds_left();
  if (left < 0 && step_ > start_) {  // a first guess, the first step included
    left = elapsed / static_cast<double>(step_ - start_) * static_cast<double>(total_ - step_);
  }
  const auto facts = fmt::format("{} {}/{}  {:.1f} {}/s  {}  left {}  {}", title_, step_, total_, rate(), unit_,
                                 duration_text(elapsed), left < 0 ? "?" : duration_text(left), text_);
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", facts.c_str());
    return;
  }
  constexpr int kWidth = 24;
  const int filled = std::clamp(static_cast<int>(done * kWidth), 0, kWidth);
  std::fprintf(stderr, "\r\033[K[%s%s] %s%s", std::string(filled, '#').c_str(),
               std::string(kWidth - filled, '.').c_str(), facts.c_str(), last ? "\n" : "");
  std::fflush(stderr);
}

}  // namespace tessera
