#include "runtime/bounded_json.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/error.h"

namespace tessera {
namespace {

// What a value costs beside its text, with the allocator's share: an item of a vector that grows by doubling, a list
// or object of its own, a string of its own, a key with its node.
constexpr std::size_t kValueBytes = 2 * sizeof(nlohmann::json), kContainerBytes = 64, kStringBytes = 48, kKeyBytes = 96;

/// Builds the value from the reader's events. nlohmann's own reader with a callback looks through all of a list after
/// each of its objects, which takes quadratic time; this one does not look back.
template <typename Json>
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits), held_(limits.held ? *limits.held : 0) {}

  Json take() {
    if (limits_.held) *limits_.held = held_;
    return std::move(root_);
  }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(typename Json::number_integer_t value) override { return add(value); }
  bool number_unsigned(typename Json::number_unsigned_t value) override { return add(value); }
  bool number_float(typename Json::number_float_t value, const typename Json::string_t&) override { return add(value); }
  bool string(typename Json::string_t& value) override {
    charge(kStringBytes);
    return add(std::move(value));
  }
  bool binary(typename Json::binary_t&) override { fail("holds binary data"); }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(typename Json::string_t& name) override {
    charge(kKeyBytes);
    auto& object = *open_.back();
    if constexpr (std::is_same_v<Json, nlohmann::ordered_json>) {
      require(object.size() < limits_.ordered_keys, "holds an object of more than {} keys", limits_.ordered_keys);
    }
    member_ = &object[name];
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    constexpr int kNumberTooLarge = 406;
    require(error.id != kNumberTooLarge, "holds a number that is too large");
    fail("not JSON at byte {}", position);
  }

 private:
  void charge(std::size_t bytes) {
    held_ += bytes;
    require(held_ <= limits_.bytes, "describes more than {} MiB of values", limits_.bytes >> 20);
  }

  /// Where the value lies now.
  Json* place(Json value) {
    require(++values_ <= limits_.values, "holds more than {} values", limits_.values);
    charge(kValueBytes);
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *member_ = std::move(value);
    return member_;
  }

  bool add(Json value) {
    place(std::move(value));
    return true;
  }

  bool open(Json container) {
    require(open_.size() < limits_.depth, "nested deeper than {}", limits_.depth);
    charge(kContainerBytes);
    open_.push_back(place(std::move(container)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits& limits_;
  Json root_;
  std::vector<Json*> open_;  // a list is not added to while one of its own values is open: they do not move
  Json* member_ = nullptr;   // of the innermost open object: where its next value goes
  std::size_t values_ = 0, held_;
};

/// What large texts that are being read take together: those beyond wait; one larger than that is read alone.
class Reading {
 public:
  explicit Reading(std::size_t bytes) : bytes_(bytes > kSmall ? bytes : 0) {
    if (bytes_ == 0) return;
    std::unique_lock lock(state().mutex);
    state().left.wait(lock, [&] { return state().taken == 0 || state().taken + bytes_ <= kTogether; });
    state().taken += bytes_;
  }
  ~Reading() {
    if (bytes_ == 0) return;
    {
      const std::lock_guard lock(state().mutex);
      state().taken -= bytes_;
    }
    state().left.notify_all();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  static constexpr std::size_t kSmall = std::size_t{1} << 20, kTogether = std::size_t{40} << 20;  // bytes

  struct State {
    std::mutex mutex;
    std::condition_variable left;
    std::size_t taken = 0;
  };
  static State& state() {
    static State one;
    return one;
  }
  const std::size_t bytes_;
};

/// Throws Error without saying where.
template <typename Json>
Json build(std::string_view text, const JsonLimits& limits) {
  // The library keeps a long text several times while it reads it.
  const Reading reading(text.size());
  Builder<Json> builder(limits);
  (void)Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

template <typename Json>
Json build_at(std::string_view text, std::string_view where, const JsonLimits& limits) {
  try {
    return build<Json>(text, limits);
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

template <typename Json>
Json build_or_discard(std::string_view text, const JsonLimits& limits) {
  try {
    return build<Json>(text, limits);
  } catch (const Error&) {
    return Json(nlohmann::detail::value_t::discarded);
  }
}

}  // namespace

nlohmann::json read_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  return build_at<nlohmann::json>(text, where, limits);
}

nlohmann::ordered_json read_ordered_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  return build_at<nlohmann::ordered_json>(text, where, limits);
}

nlohmann::json read_json_object(std::string_view text, std::string_view where, const JsonLimits& limits) {
  nlohmann::json value;
  try {
    value = build<nlohmann::json>(text, limits);
  } catch (const Error& error) {
    fail("{}: not a JSON object ({})", where, error.what());
  }
  require(value.is_object(), "{}: not a JSON object", where);
  return value;
}

nlohmann::json json_or_discarded(std::string_view text, const JsonLimits& limits) {
  return build_or_discard<nlohmann::json>(text, limits);
}

nlohmann::ordered_json ordered_json_or_discarded(std::string_view text, const JsonLimits& limits) {
  return build_or_discard<nlohmann::ordered_json>(text, limits);
}

void read_json_events(std::string_view text, nlohmann::json_sax<nlohmann::json>& reader) {
  (void)nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
}

}  // namespace tessera
