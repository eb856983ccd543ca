#include "runtime/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "runtime/seconds_since.h"

namespace tessera {
namespace {

constexpr double kSecondsBetweenBars = 0.2;
constexpr double kSecondsBetweenLines = 10;

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
      printed_(begin_) {}

Progress::~Progress() {
  print(true);
}

double Progress::rate() const {
  return static_cast<double>(step_ - start_) * units_per_step_ / std::max(1e-9, seconds_since(begin_));
}

void Progress::update(std::int64_t step, const std::string& text) {
  step_ = step;
  if (!text.empty()) text_ = text;
  if (seconds_since(printed_) < (terminal_ ? kSecondsBetweenBars : kSecondsBetweenLines)) return;
  printed_ = std::chrono::steady_clock::now();
  print(false);
}

void Progress::print(bool last) {
  const double elapsed = seconds_since(begin_);
  const double done = total_ > 0 ? static_cast<double>(step_) / static_cast<double>(total_) : 0;
  const double left =
      step_ > start_ ? elapsed / static_cast<double>(step_ - start_) * static_cast<double>(total_ - step_) : 0;
  const auto facts = fmt::format("{} {}/{}  {:.1f} {}/s  {}  left {}  {}", title_, step_, total_, rate(), unit_,
                                 duration_text(elapsed), duration_text(left), text_);
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
