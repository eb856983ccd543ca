#include "sampling/sampling_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "denoiser/class_names.h"
#include "runtime/error.h"
#include "sampling/registry.h"

namespace tessera {
namespace {

constexpr double kLongestPrompt = 16384;  // bytes

OptionField named(const char* name, const char* help, OptionValue fallback, double least = 0, double most = 0) {
  OptionField field;
  field.name = name;
  field.help = help;
  field.fallback = std::move(fallback);
  field.least = least;
  field.most = most;
  return field;
}

std::vector<OptionField> general_fields() {
  std::vector<OptionField> fields;
  const auto add = [&](OptionField field, const char* label) -> OptionField& {
    field.label = label;
    fields.push_back(std::move(field));
    return fields.back();
  };
  auto& sampler = add(named("sampler", "how cells are filled", std::string()), "Sampler");
  sampler.choices = samplers().names();
  sampler.open = "by the model";
  auto& steps = add(named("steps", "denoiser steps; 0: as the model suggests, else as many as the process has",
                          std::int64_t{0}, 0, kMostSamplingSteps),
                    "Steps");
  steps.open = "by the model";
  steps.needs = OptionField::Needs::steps;
  auto& temperature =
      add(named("temperature", "logits are divided by it; 0: the most probable token; 1: the model's own", 1.0, 0, 1e6),
          "Temperature");
  temperature.open = "as the model suggests, else 1; 0.8 on a canvas larger than the model's";
  temperature.shown_most = 1.5;
  temperature.step = 0.05;
  auto& top_k = add(named("top_k", "keep the k likeliest tokens; 0 disables", std::int64_t{0}, 0, 1 << 20), "Top k");
  top_k.shown_most = 1024;
  auto& top_p = add(named("top_p", "keep the likeliest tokens of this mass; 1 disables", 1.0, 0, 1), "Top p");
  top_p.above_least = true;
  top_p.flags = "--top-p,--truncation";
  top_p.step = 0.05;
  auto& typical_p = add(
      named("typical_p", "keep the tokens of most typical surprise, of this mass; 1 disables", 1.0, 0, 1), "Typical p");
  typical_p.above_least = true;
  typical_p.step = 0.05;
  auto& context = add(
      named("context_guidance", "above 1: leans towards what the cells known so far speak for; 1: none", 1.0, 0, 100),
      "Coherence");
  context.open = "as the model suggests, else 1";
  context.needs = OptionField::Needs::mask;
  context.shown_most = 4;
  context.step = 0.25;
  auto& guidance = add(named("guidance_schedule", "how much guidance there is when a part of the image is known",
                             std::string("constant")),
                       "Guidance over time");
  guidance.choices = guidance_schedules().names();
  return fields;
}

std::vector<OptionField> condition_fields() {
  auto prompt = named("prompt", "what the pictures show (models with text)", std::string(), 0, kLongestPrompt);
  prompt.flags = "-p,--prompt";
  prompt.needs = OptionField::Needs::text;
  prompt.suggestible = false;
  prompt.label = "What to show";
  auto negative =
      named("negative_prompt", "what they are steered away from (models with text)", std::string(), 0, kLongestPrompt);
  negative.needs = OptionField::Needs::text;
  negative.suggestible = false;
  negative.label = "What to avoid";
  auto label =
      named("class", "class, by its name or number (models with classes); -1: none", std::int64_t{-1}, -1, 1 << 24);
  label.longest_name = kLongestClassName;
  label.needs = OptionField::Needs::classes;
  label.suggestible = false;
  label.label = "Class";
  auto scale = named("cfg_scale", "guidance towards the prompt or class; 1: none", 5.0, 0, 1000);
  scale.open = "as the model suggests, else 5";
  scale.config = "guidance_scale";
  scale.needs = OptionField::Needs::condition;
  scale.label = "Guidance";
  scale.shown_most = 12;
  scale.step = 0.5;
  return {prompt, negative, label, scale};
}

template <typename Entry>
bool is_option_of(const Entry& entry, const std::string& name) {
  return std::any_of(entry.options.begin(), entry.options.end(),
                     [&](const OptionField& each) { return each.name == name; });
}

/// The entries of a registry whose own option it is.
template <typename Entry>
std::vector<std::string> owners_in(const Registry<Entry>& registry, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : registry.entries()) {
    if (is_option_of(entry, name)) names.push_back(entry.name);
  }
  return names;
}

std::vector<std::string> samplers_with(const std::string& name) {
  return owners_in(samplers(), name);
}

std::vector<std::string> guidance_schedules_with(const std::string& name) {
  return owners_in(guidance_schedules(), name);
}

/// Adds the own options of a registry's entries, each once; kind: what the help calls an entry.
template <typename Entry>
void add_own(const Registry<Entry>& registry, const char* kind, std::vector<OptionField>& fields) {
  for (const auto& entry : registry.entries()) {
    for (const auto& own : entry.options) {
      const bool known =
          std::any_of(fields.begin(), fields.end(), [&](const OptionField& each) { return each.name == own.name; });
      if (known) continue;
      fields.push_back(own);
      fields.back().help += fmt::format(" ({} {})", kind, fmt::join(owners_in(registry, own.name), ", "));
    }
  }
}

/// Why the sampler does not use the option; empty: it does, given a model that has what it needs.
std::string unused_by(const OptionField& field, const SamplerEntry& sampler) {
  using Needs = OptionField::Needs;
  const auto owners = samplers_with(field.name);
  if (!owners.empty() && !is_option_of(sampler, field.name)) {
    return fmt::format("sampler '{}' does not use it, expected sampler {}", sampler.name, fmt::join(owners, " or "));
  }
  if (field.needs == Needs::steps && !sampler.takes_steps)
    return fmt::format("sampler '{}' always takes one step a cell", sampler.name);
  if (field.needs == Needs::mask && sampler.causal) return "the model's process has no MASK";
  return {};
}

/// Why a model of that condition and process has no use for the option; empty: it has.
std::string unused_by(const OptionField& field, const std::string& condition, bool has_mask) {
  using Needs = OptionField::Needs;
  if (field.needs == Needs::mask && !has_mask) return "the model's process has no MASK";
  const bool missing = (field.needs == Needs::text && condition != "text") ||
                       (field.needs == Needs::classes && condition != "class") ||
                       (field.needs == Needs::condition && condition == "none");
  if (!missing) return {};
  return condition == "none" ? "the model takes no condition" : fmt::format("the model takes a {}", condition);
}

}  // namespace

std::vector<OptionField> SamplingOptions::fields() {
  auto fields = general_fields();
  add_own(samplers(), "sampler", fields);
  add_own(guidance_schedules(), "guidance schedule", fields);
  for (auto& field : condition_fields()) fields.push_back(std::move(field));
  for (auto& field : fields) {
    if (field.choices_now) field.choices = field.choices_now();
  }
  return fields;
}

OptionField SamplingOptions::field(const std::string& name) {
  std::vector<std::string> names;
  for (auto& each : fields()) {
    if (each.name == name) return each;
    names.push_back(each.name);
  }
  throw UsageError(fmt::format("option '{}': expected one of {}", name, fmt::join(names, ", ")));
}

SamplingOptions& SamplingOptions::set(const std::string& name, const OptionValue& value) {
  given_[name] = field(name).checked(value);
  return *this;
}

void SamplingOptions::keep_common() {
  for (auto each = given_.begin(); each != given_.end();) {
    const auto needs = field(each->first).needs;
    const bool special = each->first == "sampler" || needs == OptionField::Needs::steps ||
                         needs == OptionField::Needs::mask || !samplers_with(each->first).empty();
    each = special ? given_.erase(each) : std::next(each);
  }
}

nlohmann::json SamplingOptions::to_json() const {
  auto result = nlohmann::json::object();
  for (const auto& [name, value] : given_) result[name] = json_of(value);
  return result;
}

std::string SamplingOptions::key() const {
  return to_json().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool SamplingOptions::is_used(const OptionField& field, const SamplerEntry& sampler) {
  return unused_by(field, sampler).empty();
}

std::string SamplingOptions::unused_by_guidance(const std::string& name) const {
  const auto owners = guidance_schedules_with(name);
  if (owners.empty()) return {};
  const auto chosen = get<std::string>("guidance_schedule");
  if (std::find(owners.begin(), owners.end(), chosen) != owners.end()) return {};
  return fmt::format("guidance schedule '{}' does not use it, expected {}", chosen, fmt::join(owners, " or "));
}

void SamplingOptions::require_used(const SamplerEntry& sampler, const std::string& condition, bool has_mask) const {
  for (const auto& [name, value] : given_) {
    const auto known = field(name);
    if (value == known.fallback) continue;
    auto why = unused_by(known, sampler);
    if (why.empty()) why = unused_by(known, condition, has_mask);
    if (why.empty()) why = unused_by_guidance(name);
    if (!why.empty()) throw UsageError(fmt::format("{} is {}, but {}", name, text_of(value), why));
  }
}

}  // namespace tessera
