/// What each key may ask for: jobs at one time, requests a minute, pixels an hour.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace tessera::server {

/// Of one key; 0: no bound of its own.
struct KeyQuota {
  std::string name;       // for the audit log; empty: the first digits of its hash
  std::int64_t jobs = 0;  // that wait or run at one time
  std::int64_t requests_a_minute = 0;
  std::int64_t pixels_an_hour = 0;  // of results asked for
  bool operator==(const KeyQuota&) const = default;
};

/// Counts by client what lies within the last minute and hour. From any thread.
class QuotaBook {
 public:
  using Clock = std::chrono::steady_clock;

  /// Notes a request. Throws HttpError (429 with Retry-After) where the client has had its share.
  void take_request(const std::string& client, const KeyQuota& quota, Clock::time_point now = Clock::now());
  /// The same for the pixels of a job.
  void take_pixels(const std::string& client, const KeyQuota& quota, std::int64_t pixels,
                   Clock::time_point now = Clock::now());

 private:
  /// What was taken, and when.
  struct Spent {
    std::deque<std::pair<Clock::time_point, std::int64_t>> entries;
    std::int64_t sum = 0;
  };
  static void take(Spent& spent, std::int64_t amount, std::int64_t most, std::chrono::seconds within,
                   Clock::time_point now, const char* what);

  std::mutex mutex_;
  std::map<std::string, Spent> requests_, pixels_;  // by client; as many as there are keys with a quota
};

}  // namespace tessera::server
