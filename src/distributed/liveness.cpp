#include "distributed/liveness.h"

#include <algorithm>
#include <condition_variable>

namespace tessera {
namespace {

constexpr char kLives = 'b', kFailed = 'f', kLeft = 'l';  // the first letter of a beat
constexpr double kBeatsToTell = 4;                        // of silence after a broken connection

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

Liveness::Liveness(BeatStore store, int rank, std::vector<std::string> names, double timeout)
    : store_(std::move(store)), rank_(rank), names_(std::move(names)), timeout_(timeout), looked_(Clock::now()) {
  others_.assign(names_.size(), {"", looked_, false});
  store_.set(own_key(), {kLives});
  thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

Liveness::~Liveness() {
  end_watch();
}

void Liveness::end_watch() noexcept {
  thread_.request_stop();
  // A store that does not answer holds its caller until its own time-out: the process ends before.
  if (!thread_.joinable()) return;
  const std::lock_guard lock(mutex_);
  if (!store_error_.empty() || seconds_between(looked_, Clock::now()) > 2 * store_.seconds_a_beat + 1) thread_.detach();
}

void Liveness::watch(const std::stop_token& stop) {
  std::mutex sleeping;
  std::condition_variable_any awake;
  std::unique_lock lock(sleeping);
  while (!stop.stop_requested()) {
    try {
      store_.set(own_key(), kLives + std::to_string(++beats_));
      look();
    } catch (const std::exception& error) {
      const std::lock_guard guard(mutex_);
      store_error_ = error.what();
      return;
    }
    awake.wait_for(lock, stop, std::chrono::duration<double>(store_.seconds_a_beat), [] { return false; });
  }
}

void Liveness::look() {
  for (int other = 0; other < static_cast<int>(others_.size()); ++other) {
    if (other == rank_) continue;
    const auto beat = store_.get(store_.key + std::to_string(other));
    const std::lock_guard lock(mutex_);
    looked_ = Clock::now();
    auto& known = others_[static_cast<std::size_t>(other)];
    if (beat == known.beat) continue;
    known = {beat, looked_, beat.starts_with(kLeft)};
    if (beat.starts_with(kFailed) && told_.empty()) told_ = beat.substr(1);
  }
}

/// What is lost after so much silence, in seconds.
std::optional<std::string> Liveness::loss(double silence) const {
  const std::lock_guard lock(mutex_);
  if (!told_.empty()) return told_;
  if (!store_error_.empty()) return fmt::format("{} is lost: it no longer answers", store_.holder);
  const auto now = Clock::now();
  if (seconds_between(looked_, now) > silence + store_.seconds_a_beat)
    return fmt::format("{} is lost: it has been silent for {:.0f} s", store_.holder, seconds_between(looked_, now));
  std::string lost;
  double longest = 0;
  int count = 0;
  for (std::size_t other = 0; other < others_.size(); ++other) {
    if (static_cast<int>(other) == rank_ || others_[other].left) continue;
    const auto silent = seconds_between(others_[other].changed, looked_);
    if (silent <= silence) continue;
    lost += (lost.empty() ? "" : ", ") + names_[other];
    longest = std::max(longest, silent);
    ++count;
  }
  if (count == 0) return std::nullopt;
  return fmt::format("{} {} lost: silent for {:.0f} s", lost, count == 1 ? "is" : "are", longest);
}

void Liveness::check() const {
  if (const auto text = loss(timeout_)) throw LostRank(*text);
}

void Liveness::explain(const std::string& what) const {
  const double enough = std::min(timeout_, std::max(2.0, kBeatsToTell * store_.seconds_a_beat));
  for (const auto begin = Clock::now(); seconds_between(begin, Clock::now()) < enough + 2 * store_.seconds_a_beat;) {
    if (const auto text = loss(enough)) throw LostRank(*text);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  throw LostRank(fmt::format("a connection to another rank broke: {}", what.substr(0, what.find('\n'))));
}

bool Liveness::all_left() const {
  const std::lock_guard lock(mutex_);
  for (std::size_t other = 0; other < others_.size(); ++other) {
    if (static_cast<int>(other) != rank_ && !others_[other].left) return false;
  }
  return true;
}

void Liveness::say_failed(const std::string& text, bool holds_store) noexcept {
  try {
    end_watch();
    if (thread_.joinable()) thread_.join();
    store_.set(own_key(), kFailed + text);
    if (!holds_store) return;
    const auto until = Clock::now() + std::chrono::duration<double>(2 * store_.seconds_a_beat + 1);
    while (Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  } catch (const std::exception&) {  // then they find this rank silent
  }
}

void Liveness::leave() noexcept {
  try {
    end_watch();
    if (thread_.joinable()) thread_.join();
    store_.set(own_key(), {kLeft});
    while (!all_left() && !loss(timeout_)) {
      look();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  } catch (const std::exception&) {  // nobody is waited for who cannot be asked
  }
}

}  // namespace tessera
