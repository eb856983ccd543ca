#include "prior/prior.h"

#include <nlohmann/json.hpp>

#include "denoiser/class_names.h"
#include "diffusion/processes.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// The process of a network that sees no time: it follows from the network, and the scheduler may not say otherwise.
void read_timeless(PriorFacts& facts, const nlohmann::json& scheduler, const std::string& where) {
  const auto own = scheduler.is_object() ? scheduler.value("tessera", nlohmann::json::object()) : nlohmann::json();
  const auto field = [&](const char* name, const nlohmann::json& fallback) {
    return own.is_object() ? own.value(name, fallback) : fallback;
  };
  facts.process = facts.network.autoregressive ? kAutoregressive : default_process().name;
  const auto named = field("process", facts.process);
  const auto steps = field("total_steps", facts.network.grid.cells());
  require(steps.is_number_integer() && steps > 0 && steps <= kMostSteps, "{}: total_steps is {}, expected 1 to {}",
          where, steps.dump(), kMostSteps);
  require(named == facts.process, "{}: process is {}, expected \"{}\" as the transformer is", where, named.dump(),
          facts.process);
  facts.total_steps = steps.get<std::int64_t>();
}

}  // namespace

PriorFacts prior_facts(const nlohmann::json& transformer, const nlohmann::json& scheduler, const std::string& bundle) {
  PriorFacts facts;
  facts.network = network_facts(transformer, bundle + "/transformer");
  const auto where = bundle + "/scheduler";
  if (!scheduler.is_null()) {
    facts.suggestion = suggestion_from_config(scheduler, where);
    facts.cross_entropy = cross_entropy_from_config(scheduler, where);
  }
  if (!facts.network.sees_time()) {
    read_timeless(facts, scheduler, where);
    return facts;
  }
  require(!scheduler.is_null(), "{}: the bundle holds no process (scheduler/)", bundle);
  try {
    facts.process = process_name(scheduler);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", where, error.what());
  }
  facts.total_steps = facts.network.total_steps;
  const auto* entry = processes().find(facts.process);
  facts.has_mask = entry == nullptr || entry->has_mask;
  return facts;
}

Prior::Prior(const Bundle& parts, const std::string& bundle, const torch::Tensor& codebook, const Loading& loading) {
  const auto& config = parts.denoiser->config;
  facts_ = prior_facts(config, parts.scheduler.value_or(nlohmann::json()), bundle);
  const auto& network = facts_.network;
  Condition none;
  if (network.condition_width > 0) {
    require(network.words == 0 || !parts.tokenizer.empty(),
            "{}: the denoiser reads words, but the bundle holds no tokenizer/", bundle);
    text_ = network.words > 0 ? TextCondition::of_words(ClipTokenizer::load(parts.tokenizer), network.words,
                                                        network.vocabulary, bundle)
                              : TextCondition::load(parts, bundle);
    text_->to(loading.device);
    const auto width = text_->options().width;
    require(width == network.condition_width, "{}: the text encoder is {} wide, the denoiser expects {}", bundle, width,
            network.condition_width);
    const auto text = text_->null_text();
    none.states = none.null_states = text.states;
    none.pooled = none.null_pooled = text.pooled;
  }
  const auto& entry = network_of(config, bundle + "/transformer");
  denoiser_ = entry.load({config, parts.denoiser->tensors, bundle + "/transformer", loading.weights, loading.precision,
                          loading.device, none});
  require(!codebook.defined() || codebook.size(0) == network.codebook_size,
          "{}: the prior knows {} codes, the codec {}", bundle, network.codebook_size, codebook.size(0));
  if (network.sees_time()) {
    process_ =
        make_process(*parts.scheduler, network.codebook_size, network.total_steps, codebook, bundle + "/scheduler")
            .process;
  }
}

double Prior::guidance_scale(const PromptOptions& prompt) const {
  return prompt.guidance_scale.value_or(facts_.suggestion.get<double>("cfg_scale"));
}

std::int64_t Prior::label_of(const PromptOptions& prompt) const {
  if (prompt.class_name.empty()) return prompt.label;
  return class_named(prompt.class_name, facts_.network.class_names, facts_.network.classes);
}

Condition Prior::condition_for(const PromptOptions& options) {
  const auto kind = facts_.condition();
  const auto refuse = [&](bool given, const char* what, const char* expected) {
    if (given)
      throw UsageError(
          fmt::format("{}: the model takes {}, expected {}", what, kind == "none" ? "no condition" : kind, expected));
  };
  refuse(!text_ && !options.prompt.empty(), "prompt", "a model with text");
  refuse(!text_ && !options.negative_prompt.empty(), "negative prompt", "a model with text");
  refuse(facts_.network.classes == 0 && (options.label >= 0 || !options.class_name.empty()), "class",
         "a model with classes");
  Condition condition;
  condition.label = label_of(options);
  // Without a condition there is nothing to be guided to.
  const bool given = !options.prompt.empty() || !options.negative_prompt.empty() || condition.label >= 0;
  if (given) condition.scale = guidance_scale(options);
  if (text_) {
    const auto null = options.negative_prompt.empty() ? text_->null_text() : text_->encoded(options.negative_prompt);
    const auto text = options.prompt.empty() ? text_->null_text() : text_->encoded(options.prompt);
    condition.null_states = null.states;
    condition.null_pooled = null.pooled;
    condition.states = text.states;
    condition.pooled = text.pooled;
  }
  return condition;
}

}  // namespace tessera
