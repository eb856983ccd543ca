#include "data/catalogue_choice.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

struct Condition {
  std::string field, value;
  bool equal = true;
};

Condition condition_from(const std::string& text) {
  const auto sign = text.find('=');
  require(sign != std::string::npos, "where '{}': expected field=value or field!=value", printable(text));
  const bool equal = sign == 0 || text[sign - 1] != '!';
  Condition condition{text.substr(0, equal ? sign : sign - 1), text.substr(sign + 1), equal};
  require(!condition.field.empty(), "where '{}': no field, expected field=value or field!=value", printable(text));
  return condition;
}

bool equals(const json& value, const std::string& text) {
  if (value.is_array())
    return std::any_of(value.begin(), value.end(), [&](const auto& one) { return equals(one, text); });
  return value.is_string() ? value.get_ref<const std::string&>() == text : value.dump() == text;
}

}  // namespace

void CatalogueChoice::validate() const {
  for (const auto& text : where) (void)condition_from(text);
}

bool CatalogueChoice::is_default() const {
  return caption_field.empty() && split_field.empty() && image_field.empty() && where.empty() && !whole_captions;
}

void count_fields(const json& record, FieldCounts& counts) {
  for (const auto& [name, value] : record.items()) ++counts[name];
}

std::string fields_text(const FieldCounts& counts) {
  constexpr std::size_t kShown = 12;
  std::string text;
  std::size_t shown = 0;
  for (const auto& [name, count] : counts) {
    if (++shown > kShown) return text + fmt::format(", {} more", counts.size() - kShown);
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", printable(name, 60), count);
  }
  return text.empty() ? "none" : text;
}

bool holds(const std::vector<std::string>& where, const json& record) {
  return std::all_of(where.begin(), where.end(), [&](const std::string& text) {
    const auto condition = condition_from(text);
    const auto found = record.find(condition.field);
    return (found != record.end() && equals(*found, condition.value)) == condition.equal;
  });
}

std::vector<std::string> fields_of(const std::vector<std::string>& where) {
  std::vector<std::string> fields;
  for (const auto& text : where) fields.push_back(condition_from(text).field);
  return fields;
}

std::vector<std::string> captions_of(const json& value) {
  std::vector<std::string> captions;
  if (value.is_string()) {
    captions.push_back(value.get<std::string>());
  } else if (value.is_array()) {
    for (const auto& one : value) {
      if (one.is_string()) captions.push_back(one.get<std::string>());
      if (!one.is_object()) continue;
      for (const char* name : {"text", "caption", "raw"}) {
        if (!one.contains(name) || !one[name].is_string()) continue;
        captions.push_back(one[name].get<std::string>());
        break;
      }
    }
  }
  std::erase(captions, "");
  return captions;
}

}  // namespace tessera
