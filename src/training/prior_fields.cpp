#include "training/prior_fields.h"

#include <algorithm>
#include <map>
#include <set>

#include "runtime/error.h"
#include "training/objectives.h"

namespace tessera {
namespace {

/// The fields that only some trainings make something of: those that any objective lists, for any condition.
std::set<std::string> particular_fields() {
  std::set<std::string> fields;
  PriorRecipe recipe;
  for (const char* condition : {"none", "text", "class"}) {
    recipe.condition = condition;
    for (const auto& entry : objectives().entries()) {
      for (const auto& name : entry.fields(recipe)) fields.insert(name);
    }
  }
  return fields;
}

}  // namespace

std::string unused_field(const std::string& name, const PriorRecipe& recipe) {
  if (name == "gradient_type" && recipe.sharing.shards == 1) return "one shard does not use it";
  const auto& kind = trained_priors().at(recipe.prior);
  if (std::find(kind.unused.begin(), kind.unused.end(), name) != kind.unused.end())
    return "the " + kind.name + " prior does not use it";
  const auto& objective = objective_of(recipe);
  const auto own = objective.fields(recipe);
  if (std::find(own.begin(), own.end(), name) != own.end() || !particular_fields().count(name)) return {};
  return objective.called(recipe) + " does not use it";
}

void require_used_fields(PriorRecipe recipe) {
  PriorRecipe usual;
  std::map<std::string, std::string> defaults;
  for (const auto& field : usual.fields()) defaults[field.name] = value_text(field);
  for (const auto& field : recipe.fields()) {
    const auto why = unused_field(field.name, recipe);
    if (!why.empty() && value_text(field) != defaults.at(field.name))
      throw UsageError(fmt::format("{} is {}, but {}", field.name, value_text(field), why));
  }
}

Fields used_fields(PriorRecipe& recipe) {
  Fields used;
  for (const auto& field : recipe.fields()) {
    if (unused_field(field.name, recipe).empty()) used.push_back(field);
  }
  return used;
}

}  // namespace tessera
