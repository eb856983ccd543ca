#include "cli/model_flags.h"

#include <nlohmann/json.hpp>

#include "cli/threads.h"
#include "runtime/error.h"

namespace tessera::cli {

void add_model_flags(CLI::App& verb, ModelFlags& flags) {
  verb.add_option("-m,--model", flags.model, "bundle folder")->required();
  verb.add_option("--dtype", flags.options.dtype, "float32 or bfloat16: of the products")->capture_default_str();
  verb.add_option("--device", flags.options.device, "cpu, cuda or cuda:N")->capture_default_str();
  verb.add_option("-t,--threads", flags.threads, "threads; 0: one a processor")->capture_default_str();
}

Pipeline load_model(const ModelFlags& flags) {
  set_threads(flags.threads);
  return Pipeline::load(flags.model, flags.options);
}

void add_sampling_flags(CLI::App& verb, SamplingFlags& flags) {
  verb.add_option("-s,--seed", flags.fill.seed, "image i of a seed is always the same")->capture_default_str();
  verb.add_option("--steps", flags.steps, "denoiser steps; 0: as many as the process has")->capture_default_str();
  verb.add_option("--sampler", flags.sampler, "ancestral, mlm, confidence or autoregressive [by the model]");
  verb.add_option("--temperature", flags.fill.draw.temperature, "logits are divided by it; 1: the model's own")->capture_default_str();
  verb.add_option("--top-k", flags.fill.draw.top_k, "keep the k likeliest tokens; 0 disables")->capture_default_str();
  verb.add_option("--top-p", flags.fill.draw.top_p, "keep the likeliest tokens of this mass; 1 disables")->capture_default_str();
  verb.add_option("--choice-temperature", flags.fill.choice_temperature, "noise on confidences (sampler confidence)")->capture_default_str();
  verb.add_option("--images-per-call", flags.fill.images_per_call, "images in one network call; 0: by the device")->capture_default_str();
}

FillOptions resolve(const SamplingFlags& flags, Pipeline& pipeline) {
  auto fill = flags.fill;
  if (flags.steps < 0) throw UsageError(fmt::format("--steps {}: expected 0 or more", flags.steps));
  const bool autoregressive = pipeline.process() == "autoregressive";
  fill.sampler = !flags.sampler.empty() ? flags.sampler : autoregressive ? "autoregressive" : "ancestral";
  fill.steps = flags.steps > 0 ? flags.steps : pipeline.total_steps();
  fill.total_steps = pipeline.total_steps();
  fill.validate();
  return fill;
}

nlohmann::json to_json(const FillOptions& options) {
  return {{"sampler", options.sampler},         {"steps", options.steps},           {"seed", options.seed},
          {"temperature", options.draw.temperature}, {"top_k", options.draw.top_k}, {"top_p", options.draw.top_p},
          {"choice_temperature", options.choice_temperature}};
}

}  // namespace tessera::cli
