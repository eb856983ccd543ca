#include "pipeline/sampling_choice.h"

#include <nlohmann/json.hpp>

#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "sampling/registry.h"

namespace tessera {
namespace {

constexpr double kCanvasTemperature = 0.8;  // of canvases larger than the model's own, as the paper's

bool is_larger(Extent canvas, Extent own) {
  return canvas.h > own.h || canvas.w > own.w;
}

bool has_mask(const Pipeline& pipeline) {
  return !pipeline.fill_process() || pipeline.fill_process()->has_mask();
}

/// What was given over what the bundle suggests, where its suggestion counts; the sampler is always named.
SamplingOptions over_suggestion(const SamplingOptions& options, Pipeline& pipeline, bool larger) {
  auto given = options.has("sampler") || larger ? SamplingOptions{} : pipeline.suggestion();
  for (const auto& [name, value] : options.given()) {
    const bool open = name == "steps" && std::get<std::int64_t>(value) == 0;
    if (!open) given.set(name, value);
  }
  if (!given.has("sampler"))
    given.set("sampler", default_sampler(pipeline.prior().is_autoregressive(), has_mask(pipeline)).name);
  return given;
}

FillOptions with_what_the_model_decides(const SamplingChoice& choice, Pipeline& pipeline, Extent canvas) {
  const bool larger = is_larger(canvas, pipeline.prior_network().grid);
  const auto given = over_suggestion(choice.options, pipeline, larger);
  FillOptions fill;
  fill.seed = choice.seed;
  fill.first_image = choice.first_image;
  fill.images_per_call = choice.images_per_call;
  fill.take(given);
  const auto& sampler = samplers().at(fill.sampler);
  if (fill.steps == 0) fill.steps = sampler.cell_by_cell ? kMostSamplingSteps : pipeline.total_steps();
  if (!given.has("temperature") && larger) fill.draw.temperature = kCanvasTemperature;
  fill.total_steps = pipeline.total_steps();
  fill.process = pipeline.fill_process();
  fill.cross_entropy = pipeline.cross_entropy();
  return fill;
}

}  // namespace

SamplingOptions used_by(const SamplingOptions& options, Pipeline& pipeline, std::vector<std::string>& dropped) {
  const auto& sampler = samplers().at(over_suggestion(options, pipeline, false).get<std::string>("sampler"));
  auto kept = options;
  for (const auto& [name, value] : options.given()) {
    try {
      SamplingOptions().set(name, value).require_used(sampler, pipeline.condition(), has_mask(pipeline));
    } catch (const UsageError&) {
      kept.erase(name);
      dropped.push_back(name);
    }
  }
  return kept;
}

PromptOptions prompt_of(const SamplingOptions& options) {
  PromptOptions prompt;
  prompt.prompt = options.get<std::string>("prompt");
  prompt.negative_prompt = options.get<std::string>("negative_prompt");
  prompt.guidance_scale = options.maybe<double>("cfg_scale");
  const auto asked = options.value("class");
  if (const auto* name = std::get_if<std::string>(&asked)) {
    prompt.class_name = *name;
  } else {
    prompt.label = std::get<std::int64_t>(asked);
  }
  return prompt;
}

FillOptions decided_by_model(const FillOptions& options, Pipeline& pipeline, Extent canvas) {
  auto fill = options;
  if (options.sampler.empty()) {
    SamplingChoice choice;
    if (options.steps > 0) choice.options.set("steps", options.steps);
    if (options.draw.temperature != 1) choice.options.set("temperature", options.draw.temperature);
    if (options.context_guidance != 1) choice.options.set("context_guidance", options.context_guidance);
    const auto decided = with_what_the_model_decides(choice, pipeline, canvas);
    fill.sampler = decided.sampler;
    fill.steps = decided.steps;
    fill.draw.temperature = decided.draw.temperature;
    fill.context_guidance = decided.context_guidance;
    if (fill.guidance_schedule == FillOptions().guidance_schedule) fill.guidance_schedule = decided.guidance_schedule;
    fill.own = decided.own;
    for (const auto& [name, value] : options.own) fill.own[name] = value;
    if (!options.process) fill.process = decided.process;
    if (options.total_steps == 0) fill.total_steps = decided.total_steps;
  }
  if (!fill.process) fill.process = pipeline.fill_process();
  if (fill.cross_entropy.empty()) fill.cross_entropy = pipeline.cross_entropy();
  return fill;
}

FillOptions resolve(const SamplingChoice& choice, Pipeline& pipeline, Extent canvas) {
  const auto prompt = prompt_of(choice.options);
  const auto condition = pipeline.condition_for(prompt);
  auto fill = with_what_the_model_decides(choice, pipeline, canvas);
  choice.options.require_used(samplers().at(fill.sampler), pipeline.condition(), has_mask(pipeline));
  if (!prompt.prompt.empty() || !prompt.negative_prompt.empty() || condition.label >= 0) {
    nlohmann::json asked = {{"prompt", prompt.prompt},
                            {"negative_prompt", prompt.negative_prompt},
                            {"class", condition.label},
                            {"cfg_scale", pipeline.guidance_scale(prompt)}};
    const auto& names = pipeline.prior_network().class_names;
    const auto number =
        static_cast<std::size_t>(condition.label);  // one beyond the last is refused later, by its range
    if (condition.label >= 0 && number < names.size()) asked["class_name"] = names[number];
    fill.condition = asked.dump();
  }
  if (pipeline.condition() != "none") fill.conditions = {condition};
  const bool guides = fill.context_guidance != 1 || (pipeline.condition() != "none" && condition.scale != 1);
  if (!guides && choice.options.has("guidance_schedule") && fill.guidance_schedule != FillOptions().guidance_schedule)
    throw UsageError(
        fmt::format("guidance_schedule is {}, but nothing is guided, expected a prompt or class with cfg_scale, or "
                    "context_guidance",
                    fill.guidance_schedule));
  fill.validate();
  return fill;
}

nlohmann::json to_json(const FillOptions& options) {
  auto record = options.used().to_json();
  record["seed"] = options.seed;
  if (!options.condition.empty()) record["condition"] = read_json(options.condition, "condition");
  return record;
}

}  // namespace tessera
