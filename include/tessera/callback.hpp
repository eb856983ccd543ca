/// Callbacks over the C interface: what they throw comes out on the caller's side.
#pragma once

#include <tessera/error.hpp>

#include <exception>
#include <functional>

namespace tessera {
namespace detail {

/// Step: what the callback is given, made by `step_of` from CStep, what the C interface hands over.
template <typename Step, typename CStep, Step (*step_of)(const CStep&)>
class Callback {
 public:
  using Function = std::function<bool(const Step&)>;

  explicit Callback(const Function& function) : function_(function) {}
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;

  /// With this object as its `user`; null where there is no callback.
  auto function() const -> int (*)(void*, const CStep*) { return function_ ? &call : nullptr; }
  /// Throws what the callback threw, else what the library says.
  void check(tessera_status status) {
    if (thrown_) std::rethrow_exception(thrown_);
    detail::check(status);
  }

 private:
  static int call(void* user, const CStep* step) noexcept {
    auto& self = *static_cast<Callback*>(user);
    try {
      return self.function_(step_of(*step)) ? 0 : 1;
    } catch (...) {
      self.thrown_ = std::current_exception();
      return 1;
    }
  }

  const Function& function_;
  std::exception_ptr thrown_;
};

}  // namespace detail
}  // namespace tessera
