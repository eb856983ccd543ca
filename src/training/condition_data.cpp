#include "training/condition_data.h"

#include "runtime/error.h"

namespace tessera {

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
  fill(Split::validation, conditions.validation_captions, conditions.validation_labels);
  conditions.classes = static_cast<std::int64_t>(data.class_names().size());
  return conditions;
}

}  // namespace tessera
