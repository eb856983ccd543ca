#include "training/prior_fields.h"

#include <map>

#include "runtime/error.h"

namespace tessera {
namespace {

/// A training that a prior may have. The fields that are not listed anywhere are everyone's.
enum class Kind { absorbing, autoregressive, process };

Kind kind_of(const PriorRecipe& prior, const ConditionalRecipe& conditional) {
  if (!conditional.is_plain()) return Kind::process;
  return prior.prior == "autoregressive" ? Kind::autoregressive : Kind::absorbing;
}

std::string words_for(Kind kind, const ConditionalRecipe& conditional) {
  switch (kind) {
    case Kind::absorbing:
      return "the absorbing prior without a condition";
    case Kind::autoregressive:
      return "the autoregressive prior";
    case Kind::process:
      break;
  }
  return conditional.condition == "none"
             ? fmt::format("the prior of process {}", conditional.process)
             : fmt::format("the prior of process {} with condition {}", conditional.process, conditional.condition);
}

bool takes(const std::string& name, Kind kind, const ConditionalRecipe& conditional) {
  const bool text = kind == Kind::process && conditional.condition == "text";
  const bool any_condition = kind == Kind::process && conditional.condition != "none";
  // The objectives of a plain absorbing prior (diffusion/objective.h), which the bound of processes is not.
  if (name == "loss" || name == "mask_schedule" || name == "validation_terms") return kind == Kind::absorbing;
  if (name == "initialisation") return kind != Kind::process;  // the conditional network has one of its own
  if (name == "time_sampling" || name == "total_steps") return kind != Kind::autoregressive;
  if (name == "prior") return kind != Kind::process;
  if (name == "auxiliary_weight") return kind == Kind::process;
  if (name == "null_rate") return any_condition;
  if (name.starts_with("text_")) return text;
  return true;
}

/// The values that nobody chose, by name.
std::map<std::string, std::string> defaults() {
  PriorRecipe prior;
  ConditionalRecipe conditional;
  std::map<std::string, std::string> values;
  for (const auto& field : prior.fields()) values[field.name] = value_text(field);
  for (const auto& field : conditional.fields()) values[field.name] = value_text(field);
  return values;
}

Fields all_fields(PriorRecipe& prior, ConditionalRecipe& conditional) {
  auto fields = prior.fields();
  for (const auto& field : conditional.fields()) fields.push_back(field);
  return fields;
}

}  // namespace

std::string unused_field(const std::string& name, const PriorRecipe& prior, const ConditionalRecipe& conditional) {
  const auto kind = kind_of(prior, conditional);
  if (takes(name, kind, conditional)) return {};
  return words_for(kind, conditional) + " does not use it";
}

void require_used_fields(PriorRecipe prior, ConditionalRecipe conditional) {
  const auto usual = defaults();
  for (const auto& field : all_fields(prior, conditional)) {
    const auto why = unused_field(field.name, prior, conditional);
    if (!why.empty() && value_text(field) != usual.at(field.name))
      throw UsageError(fmt::format("{} is {}, but {}", field.name, value_text(field), why));
  }
}

Fields used_fields(PriorRecipe& prior, ConditionalRecipe& conditional) {
  Fields used;
  for (const auto& field : all_fields(prior, conditional)) {
    if (unused_field(field.name, prior, conditional).empty()) used.push_back(field);
  }
  return used;
}

}  // namespace tessera
