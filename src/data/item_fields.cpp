#include "data/item_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/bounded_json.h"

namespace tessera {
namespace {

void add_word(std::vector<std::string>& words, const std::string& text) {
  const auto first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
  if (first != std::string::npos) words.push_back(text.substr(first, last - first + 1));
}

}  // namespace

std::vector<std::string> comma_parts(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= text.size();) {
    const auto comma = std::min(text.find(',', start), text.size());
    add_word(parts, text.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

std::vector<std::string> keywords_of(const DatasetItem& item) {
  const auto fields = json_or_discarded(item.fields);
  if (!fields.is_object() || !fields.contains("keywords")) return {};
  const auto& given = fields["keywords"];
  if (given.is_string()) return comma_parts(given.get<std::string>());
  std::vector<std::string> words;
  if (given.is_array()) {
    for (const auto& word : given) {
      if (word.is_string()) add_word(words, word.get<std::string>());
    }
  }
  return words;
}

std::string text_field(const DatasetItem& item, const std::string& name) {
  const auto fields = json_or_discarded(item.fields);
  const bool there = fields.is_object() && fields.contains(name) && fields[name].is_string();
  return there ? fields[name].get<std::string>() : std::string();
}

}  // namespace tessera
