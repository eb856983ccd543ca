#include "pipeline/sampling_choice.h"

#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace tessera {

namespace {

FillOptions with_what_the_model_decides(const SamplingChoice& choice, Pipeline& pipeline, Extent canvas) {
  auto fill = choice.fill;
  const auto own = pipeline.prior_options().grid;
  const bool larger = canvas.h > own.h || canvas.w > own.w;
  const auto suggested = choice.sampler.empty() && !larger ? pipeline.suggestion() : SamplingSuggestion{};
  const auto by_process = pipeline.process() == "autoregressive" ? "autoregressive" : "ancestral";
  fill.sampler = !choice.sampler.empty() ? choice.sampler : !suggested.sampler.empty() ? suggested.sampler : by_process;
  // Raster order takes a step a cell unless told otherwise.
  fill.steps = choice.steps > 0           ? choice.steps
               : suggested.steps > 0      ? suggested.steps
               : fill.sampler == "raster" ? std::int64_t{1} << 20
                                          : pipeline.total_steps();
  fill.draw.temperature = choice.temperature.value_or(suggested.temperature.value_or(larger ? 0.8 : 1.0));
  fill.context_guidance = choice.context_guidance.value_or(suggested.context_guidance.value_or(1.0));
  fill.total_steps = pipeline.total_steps();
  fill.process = pipeline.fill_process();
  return fill;
}

}  // namespace

FillOptions decided_by_model(const FillOptions& options, Pipeline& pipeline, Extent canvas) {
  auto fill = options;
  if (options.sampler.empty()) {
    SamplingChoice choice;
    choice.fill = options;
    choice.steps = options.steps;
    if (options.draw.temperature != 1) choice.temperature = options.draw.temperature;
    if (options.context_guidance != 1) choice.context_guidance = options.context_guidance;
    fill = with_what_the_model_decides(choice, pipeline, canvas);
    if (options.process) fill.process = options.process;
    if (options.total_steps > 0) fill.total_steps = options.total_steps;
  }
  if (!fill.process) fill.process = pipeline.fill_process();
  return fill;
}

FillOptions resolve(const SamplingChoice& choice, Pipeline& pipeline, Extent canvas) {
  if (choice.steps < 0) throw UsageError(fmt::format("steps is {}, expected 0 or more", choice.steps));
  auto fill = with_what_the_model_decides(choice, pipeline, canvas);
  pipeline.set_prompt(choice.prompt);
  const auto& prompt = choice.prompt;
  if (!prompt.prompt.empty() || !prompt.negative_prompt.empty() || prompt.label >= 0) {
    fill.condition = nlohmann::json({{"prompt", prompt.prompt},
                                     {"negative_prompt", prompt.negative_prompt},
                                     {"class", prompt.label},
                                     {"cfg_scale", pipeline.guidance_scale(prompt)}})
                         .dump();
  }
  fill.validate();
  return fill;
}

nlohmann::json to_json(const FillOptions& options) {
  nlohmann::json record = {{"sampler", options.sampler},
                           {"steps", options.steps},
                           {"seed", options.seed},
                           {"temperature", options.draw.temperature},
                           {"top_k", options.draw.top_k},
                           {"top_p", options.draw.top_p},
                           {"typical_p", options.draw.typical_p},
                           {"choice_temperature", options.choice_temperature},
                           {"purity", options.purity}};
  if (options.context_guidance != 1) record["context_guidance"] = options.context_guidance;
  if (!options.condition.empty()) record["condition"] = nlohmann::json::parse(options.condition);
  return record;
}

}  // namespace tessera
