#include "training/condition_data.h"

#include <nlohmann/json.hpp>

#include "data/item_fields.h"
#include "denoiser/class_names.h"
#include "runtime/error.h"

namespace tessera {
namespace {

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
