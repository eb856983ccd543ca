/// What the bodies of all requests under way may take together: one large upload costs what it costs, a hundred at once
/// must not cost a hundred times that.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "runtime/heap.h"

namespace tessera::server {

class BodyBudget {
 public:
  explicit BodyBudget(std::uint64_t bytes) : bytes_(bytes) {}

  /// A part of the budget, given back at the end of its life.
  class Share {
   public:
    Share(BodyBudget& budget, std::uint64_t bytes, std::chrono::milliseconds wait)
        : budget_(budget), bytes_(bytes), held_(budget.take(bytes, wait)) {}
    ~Share() {
      if (held_) budget_.give_back(bytes_);
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    /// false: there was no room within the time given.
    bool held() const { return held_; }

   private:
    BodyBudget& budget_;
    const std::uint64_t bytes_;
    const bool held_;
  };

  std::uint64_t taken() const {
    const std::lock_guard lock(mutex_);
    return taken_;
  }

 private:
  static constexpr std::uint64_t kMuch = std::uint64_t{4} << 20;

  /// Larger than the budget is taken alone.
  bool take(std::uint64_t bytes, std::chrono::milliseconds wait) {
    std::unique_lock lock(mutex_);
    if (!left_.wait_for(lock, wait, [&] { return taken_ == 0 || taken_ + bytes <= bytes_; })) return false;
    taken_ += bytes;
    return true;
  }

  void give_back(std::uint64_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      taken_ -= bytes;
    }
    left_.notify_all();
    // The allocator keeps what it is given back, several times the body where it was JSON: it goes before the next one
    // needs as much in other pieces.
    if (bytes > kMuch) give_back_free_memory();
  }

  const std::uint64_t bytes_;
  mutable std::mutex mutex_;
  std::condition_variable left_;
  std::uint64_t taken_ = 0;
};

}  // namespace tessera::server
