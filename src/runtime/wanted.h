/// Long work asks between its pieces whether anybody still waits for it. Who waits says so for the thread that works.
#pragma once

#include <functional>
#include <utility>

#include "runtime/error.h"

namespace tessera {

/// Nobody waits for the result any more, or its time is over.
class Unwanted : public Error {
 public:
  using Error::Error;
};

/// While it lives, check_wanted() on this thread asks `wanted`. One within another takes its place.
class WantedWhile {
 public:
  explicit WantedWhile(std::function<bool()> wanted)
      : before_(std::exchange(present(), &wanted_)), wanted_(std::move(wanted)) {}
  ~WantedWhile() { present() = before_; }
  WantedWhile(const WantedWhile&) = delete;
  WantedWhile& operator=(const WantedWhile&) = delete;

  static std::function<bool()>*& present() {
    static thread_local std::function<bool()>* one = nullptr;
    return one;
  }

 private:
  std::function<bool()>* before_;
  std::function<bool()> wanted_;
};

/// Throws Unwanted where the present work need not go on. Cheap enough for every tile of a picture.
inline void check_wanted() {
  auto* wanted = WantedWhile::present();
  if (wanted && *wanted && !(*wanted)()) throw Unwanted("nobody waits for this any more");
}

}  // namespace tessera
