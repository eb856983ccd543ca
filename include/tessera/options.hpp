/// Options by name, as the JSON object that the library reads.
#pragma once

#include <tessera/error.hpp>

#include <charconv>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {

class Options;

namespace detail {

template <typename T, typename = void>
struct IsRange : std::false_type {};
template <typename T>
struct IsRange<
    T, std::void_t<decltype(std::begin(std::declval<const T&>())), decltype(std::end(std::declval<const T&>()))>>
    : std::true_type {};

template <typename T>
constexpr bool is_character =
    std::is_same_v<T, char> || std::is_same_v<T, wchar_t> || std::is_same_v<T, char16_t> || std::is_same_v<T, char32_t>;

/// Bytes of 0x80 and more stay as they are: text is UTF-8, which the library checks.
inline void append_text(std::string& json, std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  json += '"';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (code < 0x20) {
      json += "\\u00";
      json += digits[code >> 4];
      json += digits[code & 15];
    } else {
      json += c;
    }
  }
  json += '"';
}

/// The shortest text that reads back as the same number, whatever the locale.
template <typename Number>
void append_number(std::string& json, Number number) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof(text), number);
  json.append(text, end.ptr);
}

template <typename Value>
void append_value(std::string& json, const Value& value) {
  if constexpr (std::is_same_v<Value, Options>) {
    json += value.json();
  } else if constexpr (std::is_same_v<Value, bool>) {
    json += value ? "true" : "false";
  } else if constexpr (std::is_integral_v<Value>) {
    static_assert(!is_character<Value>, "an option's value: a character; give a string or a number");
    append_number(json, value);
  } else if constexpr (std::is_same_v<Value, long double>) {
    append_value(json, static_cast<double>(value));
  } else if constexpr (std::is_floating_point_v<Value>) {
    if (!std::isfinite(value)) throw UsageError("a number among the options is not finite");
    append_number(json, value);
  } else if constexpr (std::is_convertible_v<const Value&, std::string_view>) {
    append_text(json, value);
  } else if constexpr (std::is_convertible_v<const Value&, std::string>) {  // std::filesystem::path
    append_text(json, std::string(value));
  } else {
    static_assert(IsRange<Value>::value, "an option's value: expected a number, bool, text, Options or a list of them");
    json += '[';
    bool first = true;
    for (const auto& element : value) {
      if (!first) json += ',';
      first = false;
      append_value(json, element);
    }
    json += ']';
  }
}

}  // namespace detail

/// `Options().set("steps", 16).set("prompt", "red heart")`. Names and ranges are the library's (options_schema()); it
/// says which it does not know. A name that is set again has its latest value.
class Options {
 public:
  /// Value: a number, bool, text in UTF-8, Options, or a list of them. Throws UsageError where a number is not finite.
  template <typename Value>
  Options& set(std::string_view name, const Value& value) {
    std::string json;
    detail::append_value(json, value);
    return set_json(name, std::move(json));
  }
  template <typename Value>
  Options& set(std::string_view name, std::initializer_list<Value> values) {
    return set<std::initializer_list<Value>>(name, values);
  }
  Options& set(std::string_view name, const char* text) { return set(name, std::string_view(text)); }

  /// A value that is JSON already.
  Options& set_json(std::string_view name, std::string json) {
    for (auto& [known, value] : values_) {
      if (known == name) {
        value = std::move(json);
        return *this;
      }
    }
    values_.emplace_back(name, std::move(json));
    return *this;
  }

  bool has(std::string_view name) const {
    for (const auto& entry : values_) {
      if (entry.first == name) return true;
    }
    return false;
  }
  bool empty() const noexcept { return values_.empty(); }

  /// All of them as a JSON object, in the order in which they were first set.
  std::string json() const {
    std::string result = "{";
    for (const auto& [name, value] : values_) {
      if (result.size() > 1) result += ',';
      detail::append_text(result, name);
      result += ':';
      result += value;
    }
    return result + '}';
  }

 private:
  std::vector<std::pair<std::string, std::string>> values_;  // name, JSON
};

}  // namespace tessera
