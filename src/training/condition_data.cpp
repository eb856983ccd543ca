#include "training/condition_data.h"

#include <nlohmann/json.hpp>

#include "denoiser/class_names.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"

namespace tessera {
namespace {

void add_word(std::vector<std::string>& words, const std::string& text) {
  const auto first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
  if (first != std::string::npos) words.push_back(text.substr(first, last - first + 1));
}

/// The field `keywords` of a picture's metadata: a list of texts, or one text with commas between them.
std::vector<std::string> keywords_of(const DatasetItem& item) {
  const auto fields = json_or_discarded(item.fields);
  if (!fields.is_object() || !fields.contains("keywords")) return {};
  const auto& given = fields["keywords"];
  std::vector<std::string> words;
  if (given.is_array()) {
    for (const auto& word : given) {
      if (word.is_string()) add_word(words, word.get<std::string>());
    }
  } else if (given.is_string()) {
    const auto text = given.get<std::string>();
    for (std::size_t start = 0; start <= text.size();) {
      const auto comma = std::min(text.find(',', start), text.size());
      add_word(words, text.substr(start, comma - start));
      start = comma + 1;
    }
  }
  return words;
}

std::vector<std::vector<std::string>> train_keywords(const Dataset& data, const std::string& name) {
  std::vector<std::vector<std::string>> all;
  bool some = false;
  for (const auto index : data.split(Split::train)) {
    all.push_back(keywords_of(data.item(index)));
    some = some || !all.back().empty();
  }
  require(some, "{}: keyword_rate needs keywords, expected a field 'keywords' in metadata.jsonl", name);
  return all;
}

}  // namespace

ConditionData conditions_of(const Dataset& data, const std::string& name, const PriorRecipe& recipe) {
  ConditionData conditions;
  const auto fill = [&](Split split, std::vector<std::string>& captions, std::vector<std::int64_t>& labels) {
    for (const auto index : data.split(split)) {
      if (recipe.has_text()) captions.push_back(data.caption(index));
      if (recipe.has_classes()) labels.push_back(data.label(index));
    }
  };
  require(!recipe.has_text() || data.has_captions(), "{}: {}", name, data.no_captions_text());
  fill(Split::train, conditions.train_captions, conditions.train_labels);
  for (const auto index : data.split(Split::train)) {
    if (recipe.has_text()) conditions.more_train_captions.push_back(data.item(index).more_captions);
  }
  if (recipe.has_text() && recipe.keyword_rate > 0) conditions.train_keywords = train_keywords(data, name);
  fill(Split::validation, conditions.validation_captions, conditions.validation_labels);
  conditions.class_names = data.class_names();
  for (const auto& each : conditions.class_names)
    require(!recipe.has_classes() || each.size() <= kLongestClassName,
            "{}: the name of a class has {} bytes, expected at most {}", name, each.size(), kLongestClassName);
  conditions.classes = static_cast<std::int64_t>(data.class_names().size());
  return conditions;
}

}  // namespace tessera
