#include "server/quota.h"

#include <algorithm>

#include "server/http_message.h"

namespace tessera::server {

void QuotaBook::take(Spent& spent, std::int64_t amount, std::int64_t most, std::chrono::seconds within,
                     Clock::time_point now, const char* what) {
  while (!spent.entries.empty() && spent.entries.front().first + within <= now) {
    spent.sum -= spent.entries.front().second;
    spent.entries.pop_front();
  }
  if (amount > most) throw HttpError(429, fmt::format("{} {} at once, this key's quota is {}", amount, what, most));
  if (spent.sum + amount > most) {
    // When enough of what was taken is past.
    auto sum = spent.sum;
    auto until = now;
    for (const auto& [when, taken] : spent.entries) {
      sum -= taken;
      until = when + within;
      if (sum + amount <= most) break;
    }
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(until - now).count();
    throw HttpError(
        429, fmt::format("{} {} within {} s, this key's quota is {}", spent.sum + amount, what, within.count(), most),
        {}, static_cast<int>(std::max<std::int64_t>(1, seconds)));
  }
  spent.entries.emplace_back(now, amount);
  spent.sum += amount;
}

void QuotaBook::take_request(const std::string& client, const KeyQuota& quota, Clock::time_point now) {
  if (quota.requests_a_minute <= 0) return;
  const std::lock_guard lock(mutex_);
  take(requests_[client], 1, quota.requests_a_minute, std::chrono::minutes(1), now, "requests");
}

void QuotaBook::take_pixels(const std::string& client, const KeyQuota& quota, std::int64_t pixels,
                            Clock::time_point now) {
  if (quota.pixels_an_hour <= 0) return;
  const std::lock_guard lock(mutex_);
  take(pixels_[client], pixels, quota.pixels_an_hour, std::chrono::hours(1), now, "pixels");
}

}  // namespace tessera::server
