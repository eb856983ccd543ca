#include "cli/model_flags.h"

#include "cli/threads.h"

namespace tessera::cli {

void add_model_flags(CLI::App& verb, ModelFlags& flags) {
  verb.add_option("-m,--model", flags.model, "bundle folder")->required();
  flags.options.dtype = "auto";
  verb.add_option("--dtype", flags.options.dtype, kDtypeHelp)->capture_default_str();
  verb.add_option("--device", flags.options.device, kDeviceHelp)->capture_default_str();
  verb.add_option("-t,--threads", flags.threads, "threads; 0: one a processor")->capture_default_str();
}

Pipeline load_model(const ModelFlags& flags) {
  set_threads(flags.threads);
  return Pipeline::load(flags.model, flags.options);
}

void add_sampling_flags(CLI::App& verb, SamplingFlags& flags) {
  verb.add_option("-s,--seed", flags.fill.seed, "image i of a seed is always the same")->capture_default_str();
  verb.add_option("--steps", flags.steps, "denoiser steps; 0: as the model suggests, else as many as the process has")
      ->capture_default_str()
      ->check([](const std::string& text) {
        return text.starts_with('-') ? text + ", expected 0 or more" : std::string();
      });
  verb.add_option("--sampler", flags.sampler,
                  "ancestral, mlm, confidence, purity, raster or autoregressive [by the model]");
  verb.add_option("--temperature", flags.temperature,
                  "logits are divided by it; 1: the model's own [as the model suggests, else 1; 0.8 on a canvas larger "
                  "than the model's]");
  verb.add_option("--top-k", flags.fill.draw.top_k, "keep the k likeliest tokens; 0 disables")->capture_default_str();
  verb.add_option("--top-p,--truncation", flags.fill.draw.top_p, "keep the likeliest tokens of this mass; 1 disables")
      ->capture_default_str();
  verb.add_option("--typical-p", flags.fill.draw.typical_p,
                  "keep the tokens of most typical surprise, of this mass; 1 disables")
      ->capture_default_str();
  verb.add_option("--choice-temperature", flags.fill.choice_temperature, "noise on confidences (sampler confidence)")
      ->capture_default_str();
  verb.add_option(
      "--context-guidance", flags.context_guidance,
      "above 1: leans towards what the cells known so far speak for; 1: none [as the model suggests, else 1]");
  verb.add_option("--purity", flags.fill.purity, "sharpens sure cells by this (sampler purity); 0 disables")
      ->capture_default_str();
  verb.add_option("-p,--prompt", flags.prompt.prompt, "what the pictures show (models with text)");
  verb.add_option("--negative-prompt", flags.prompt.negative_prompt, "what they are steered away from");
  verb.add_option("--class", flags.prompt.label, "class label (models with classes)");
  verb.add_option("--cfg-scale", flags.prompt.guidance_scale,
                  "guidance towards the prompt or class; 1: none [as the model suggests, else 5]");
  verb.add_option("--images-per-call", flags.fill.images_per_call, "images in one network call; 0: by the device")
      ->capture_default_str();
}

}  // namespace tessera::cli
