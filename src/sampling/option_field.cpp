#include "sampling/option_field.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::size_t kLongestShown = 60;  // bytes of a value in a message

[[noreturn]] void refuse_value(const OptionField& field, const std::string& found) {
  throw UsageError(fmt::format("{} is {}, expected {}", field.name,
                               found.size() <= kLongestShown ? found : found.substr(0, kLongestShown) + "...",
                               field.expected()));
}

std::string number_words(double number) {
  return number == std::floor(number) && std::abs(number) < 1e15 ? fmt::format("{}", static_cast<std::int64_t>(number))
                                                                 : fmt::format("{:g}", number);
}

}  // namespace

std::string text_of(const OptionValue& value) {
  return std::visit([](const auto& own) { return fmt::format("{}", own); }, value);
}

nlohmann::json json_of(const OptionValue& value) {
  return std::visit([](const auto& own) { return nlohmann::json(own); }, value);
}

std::string OptionField::flag() const {
  auto text = "--" + name;
  std::replace(text.begin(), text.end(), '_', '-');
  if (flags.empty()) return text;
  const auto at = flags.find("--");
  return flags.substr(at, flags.find(',', at) - at);
}

std::string OptionField::flag_list() const {
  return flags.empty() ? flag() : flags;
}

std::string OptionField::expected() const {
  if (!choices.empty()) return fmt::format("one of {}", fmt::join(choices, ", "));
  if (is_text()) return fmt::format("a text of at most {} bytes", number_words(most));
  const auto range = above_least ? fmt::format("above {}, at most {}", number_words(least), number_words(most))
                                 : fmt::format("{} to {}", number_words(least), number_words(most));
  if (is_named()) return fmt::format("a name of at most {} bytes or a whole number, {}", longest_name, range);
  return is_whole() ? "a whole number, " + range : range;
}

OptionValue OptionField::checked(const OptionValue& value) const {
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (is_named()) {
      if (text->empty() || text->size() > longest_name)
        refuse_value(*this, fmt::format("a text of {} bytes", text->size()));
      return value;
    }
    if (!is_text()) refuse_value(*this, *text);
    const bool known = choices.empty() || std::find(choices.begin(), choices.end(), *text) != choices.end();
    if (!known) refuse_value(*this, "'" + *text + "'");
    if (choices.empty() && text->size() > static_cast<std::size_t>(most))
      refuse_value(*this, fmt::format("a text of {} bytes", text->size()));
    return value;
  }
  const double number = std::holds_alternative<double>(value) ? std::get<double>(value)
                                                              : static_cast<double>(std::get<std::int64_t>(value));
  const bool inside = number <= most && (above_least ? number > least : number >= least);
  if (is_text() || !inside || (is_whole() && number != std::floor(number))) refuse_value(*this, text_of(value));
  if (is_whole()) return std::holds_alternative<double>(value) ? static_cast<std::int64_t>(number) : value;
  return number;
}

OptionValue OptionField::from_json(const nlohmann::json& value) const {
  if (value.is_string()) return checked(value.get<std::string>());
  if (value.is_number_float()) return checked(value.get<double>());
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{1} << 62)
    return checked(value.get<double>());
  if (value.is_number_integer()) return checked(value.get<std::int64_t>());
  refuse_value(*this, value.is_structured() ? std::string("a JSON ") + value.type_name() : value.dump());
}

OptionValue OptionField::from_text(const std::string& text) const {
  if (is_text()) return checked(text);
  const auto read = [&](auto number) -> OptionValue {
    const auto* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || text.empty()) {
      if (is_named()) return checked(text);
      refuse_value(*this, "'" + text + "'");
    }
    return checked(number);
  };
  return is_whole() ? read(std::int64_t{}) : read(double{});
}

nlohmann::json OptionField::schema() const {
  nlohmann::json result;
  if (!choices.empty()) {
    result = {{"type", "string"}, {"enum", choices}};
  } else if (is_text()) {
    result = {{"type", "string"}, {"maxLength", static_cast<std::int64_t>(most)}};
  } else {
    const auto number = [&](double bound) {
      return is_whole() ? nlohmann::json(static_cast<std::int64_t>(bound)) : nlohmann::json(bound);
    };
    result = {{"type", is_whole() ? "integer" : "number"}, {"maximum", number(most)}};
    result[above_least ? "exclusiveMinimum" : "minimum"] = number(least);
    if (is_named()) {
      result["type"] = {"integer", "string"};
      result["maxLength"] = longest_name;
    }
  }
  result["description"] = help + (open.empty() ? fmt::format(" [{}]", text_of(fallback)) : " [" + open + "]");
  return result;
}

nlohmann::json OptionField::form() const {
  nlohmann::json result = schema();
  result["name"] = name;
  result["label"] = label.empty() ? name : label;
  result["default"] = json_of(fallback);
  result["by_model"] = !open.empty();
  if (!is_text()) {
    const double end = shown_most > 0 ? shown_most : most;
    result["shown_maximum"] = end;
    result["step"] = step > 0 ? step : is_whole() ? 1 : (end - least) / 100;
  }
  return result;
}

}  // namespace tessera
