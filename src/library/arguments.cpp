#include "library/arguments.h"

#include <fmt/ranges.h>

#include <type_traits>

#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera::library {
namespace {

[[noreturn]] void refuse(const std::string& name, const nlohmann::json& value, const std::string& expected) {
  throw UsageError(fmt::format("{} is {}, expected {}", name, printable(value.dump(), 60), expected));
}

}  // namespace

Arguments::Arguments(const char* text) : options_(nlohmann::json::object()) {
  if (text == nullptr || *text == '\0') return;
  options_ = json_or_discarded(text);
  if (!options_.is_object()) throw UsageError(fmt::format("options: '{}' is no JSON object", printable(text, 60)));
}

const nlohmann::json& Arguments::take(const std::string& name) {
  static const nlohmann::json none;
  known_.insert(name);
  const auto found = options_.find(name);
  return found == options_.end() ? none : *found;
}

std::int64_t Arguments::whole(const std::string& name, std::int64_t otherwise, std::int64_t least, std::int64_t most) {
  const auto& value = take(name);
  if (value.is_null()) return otherwise;
  const auto expected = fmt::format("a whole number from {} to {}", least, most);
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)))
    refuse(name, value, expected);
  const auto number = value.get<std::int64_t>();
  if (number < least || number > most) refuse(name, value, expected);
  return number;
}

double Arguments::number(const std::string& name, double otherwise, double least, double most) {
  const auto& value = take(name);
  if (value.is_null()) return otherwise;
  if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most))
    refuse(name, value, fmt::format("a number from {} to {}", least, most));
  return value.get<double>();
}

bool Arguments::flag(const std::string& name, bool otherwise) {
  const auto& value = take(name);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) refuse(name, value, "true or false");
  return value.get<bool>();
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) {
  const auto& value = take(name);
  if (value.is_null()) return otherwise;
  if (!value.is_string()) refuse(name, value, "a text");
  return value.get<std::string>();
}

std::vector<std::string> Arguments::texts(const std::string& name) {
  const auto& value = take(name);
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  std::vector<std::string> texts;
  if (!value.is_array()) refuse(name, value, "a list of texts");
  for (const auto& each : value) {
    if (!each.is_string()) refuse(name, value, "a list of texts");
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

std::uint64_t Arguments::seed() {
  const auto& value = take("seed");
  if (value.is_null()) return 0;
  if (!value.is_number_unsigned()) refuse("seed", value, "a whole number from 0 to 2^64 - 1");
  return value.get<std::uint64_t>();
}

SamplingOptions Arguments::sampling() {
  SamplingOptions given;
  for (const auto& field : SamplingOptions::fields()) {
    const auto& value = take(field.name);
    if (!value.is_null()) given.set(field.name, field.from_json(value));
  }
  return given;
}

void Arguments::write_to(const Fields& fields) {
  for (const auto& field : fields) {
    const auto& value = take(field.name);
    if (value.is_null()) continue;
    std::visit(
        [&](auto* target) {
          using Value = std::decay_t<decltype(*target)>;
          if constexpr (std::is_same_v<Value, bool>) {
            *target = flag(field.name);
          } else if constexpr (std::is_same_v<Value, std::string>) {
            *target = text(field.name);
          } else if constexpr (std::is_same_v<Value, double>) {
            if (!value.is_number()) refuse(field.name, value, fmt::format("a number such as {}", value_text(field)));
            *target = value.get<double>();
          } else if constexpr (std::is_same_v<Value, std::int64_t>) {
            constexpr auto kMost = std::int64_t{1} << 53;
            *target = whole(field.name, 0, -kMost, kMost);
          } else {
            Value numbers;
            if (!value.is_array()) refuse(field.name, value, "a list of whole numbers");
            for (const auto& each : value) {
              if (!each.is_number_integer()) refuse(field.name, value, "a list of whole numbers");
              numbers.push_back(each.get<std::int64_t>());
            }
            *target = numbers;
          }
        },
        field.target);
  }
}

void Arguments::require_all_taken() const {
  for (const auto& [name, value] : options_.items()) {
    if (known_.count(name) != 0) continue;
    throw UsageError(fmt::format("no option '{}', expected of {}", printable(name, 60), fmt::join(known_, ", ")));
  }
}

}  // namespace tessera::library
