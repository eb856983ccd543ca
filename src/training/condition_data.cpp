#include "training/condition_data.h"

namespace tessera {

ConditionData conditions_of(const Dataset& data, const ConditionalRecipe& conditional) {
  ConditionData conditions;
  const auto fill = [&](Split split, std::vector<std::string>& captions, std::vector<std::int64_t>& labels) {
    for (const auto index : data.split(split)) {
      if (conditional.condition == "text") captions.push_back(data.caption(index));
      if (conditional.condition == "class") labels.push_back(data.label(index));
    }
  };
  if (conditional.condition == "text" && !data.has_captions()) return conditions;
  fill(Split::train, conditions.train_captions, conditions.train_labels);
  fill(Split::validation, conditions.validation_captions, conditions.validation_labels);
  conditions.classes = static_cast<std::int64_t>(data.class_names().size());
  return conditions;
}

}  // namespace tessera
