/// Whether the other ranks of a job still live. Every rank writes a beat into the job's store now and then and reads
/// those of the others: a process that was killed, stopped or cut off falls silent, however long the others compute.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/error.h"

namespace tessera {

/// Another rank ended or fell silent: this one cannot go on.
class LostRank : public Error {
 public:
  using Error::Error;
};

/// The two operations that beats need of a store.
struct BeatStore {
  std::function<void(const std::string& key, const std::string& value)> set;
  std::function<std::string(const std::string& key)> get;  // waits for the key; throws after the store's own time-out
  std::string holder;     // who is gone where the store does not answer: "rank 0 of 4 (node1)"
  std::string key;        // before a rank's number
  double seconds_a_beat;  // from one beat to the next
};

class Liveness {
 public:
  /// In: names of all ranks, for errors; seconds of silence after which one is lost.
  Liveness(BeatStore store, int rank, std::vector<std::string> names, double timeout);
  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  /// Throws LostRank where a rank is known to be lost.
  void check() const;
  /// After a connection broke: waits until beats tell whose, and throws LostRank saying so, else `what`.
  [[noreturn]] void explain(const std::string& what) const;
  /// The others end with `text`; gives them the time to read it where they read it from here.
  void say_failed(const std::string& text, bool holds_store) noexcept;
  /// The end of the job: returns when the others have come to it too, or do not live.
  void leave() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  struct Other {
    std::string beat;
    Clock::time_point changed;
    bool left = false;
  };
  void watch(const std::stop_token& stop);
  void look();
  std::optional<std::string> loss(double silence) const;
  bool all_left() const;
  void end_watch() noexcept;
  std::string own_key() const { return store_.key + std::to_string(rank_); }

  BeatStore store_;
  int rank_;
  std::vector<std::string> names_;
  double timeout_;
  mutable std::mutex mutex_;
  std::vector<Other> others_;       // by rank; its own is unused
  Clock::time_point looked_;        // when the store last answered
  std::string told_, store_error_;  // what another rank ended with; why the store does not answer
  std::int64_t beats_ = 0;
  std::jthread thread_;
};

}  // namespace tessera
