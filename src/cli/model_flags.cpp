#include "cli/model_flags.h"

#include <fmt/ranges.h>

#include "cli/command_tree.h"
#include "runtime/error.h"
#include "runtime/threads.h"

namespace tessera::cli {

void add_model_flags(CLI::App& verb, ModelFlags& flags) {
  verb.add_option("-m,--model", flags.model, "bundle folder")->envname("TESSERA_MODEL")->required();
  flags.options.dtype = "auto";
  verb.add_option("--dtype", flags.options.dtype, kDtypeHelp)->capture_default_str();
  verb.add_option("--device", flags.options.device, kDeviceHelp)->capture_default_str();
  verb.add_option("-t,--threads", flags.threads, "threads; 0: one a processor")->capture_default_str();
}

void add_lora_flag(CLI::App& verb, std::vector<std::string>& loras) {
  verb.add_option("--lora", loras, "a LoRA applied to the model's weights, FILE or FILE:WEIGHT; may be repeated")
      ->type_name("FILE[:WEIGHT]")
      ->allow_extra_args(false);
}

std::vector<std::string> names_of_loras(const ModelFlags& flags) {
  std::vector<std::string> names;
  for (const auto& text : flags.loras) {
    const auto lora = parse_lora(text);
    names.push_back(fmt::format("{}:{}", lora.file.filename().string(), lora.weight));
  }
  return names;
}

Pipeline load_model(const ModelFlags& flags) {
  set_threads(flags.threads);
  auto options = flags.options;
  for (const auto& lora : flags.loras) options.loras.push_back(parse_lora(lora));
  return Pipeline::load(flags.model, options);
}

void add_sampling_flags(CLI::App& verb, SamplingFlags& flags) {
  verb.add_option("-s,--seed", flags.seed, "image i of a seed is always the same")->capture_default_str();
  for (const auto& field : SamplingOptions::fields()) {
    const auto take = [&flags, field](const std::string& text) {
      try {
        flags.options.set(field.name, field.from_text(text));
      } catch (const UsageError& error) {
        throw CLI::ValidationError(field.flag(), error.what());
      }
    };
    const auto otherwise = field.open.empty() ? text_of(field.fallback) : field.open;
    auto help = field.help;
    if (!field.choices.empty()) help += fmt::format(": {}", fmt::join(field.choices, ", "));
    if (!otherwise.empty()) help += fmt::format(" [{}]", otherwise);
    auto* option = verb.add_option_function<std::string>(field.flag_list(), take, help);
    set_choices(option, field.choices);
    option->type_name(field.is_text() || field.is_named() ? "TEXT" : field.is_whole() ? "INT" : "FLOAT");
  }
  verb.add_option("--images-per-call", flags.images_per_call, "images in one network call; 0: by the device")
      ->capture_default_str();
}

std::vector<std::string> sampling_arguments(const FillOptions& fill, const SamplingOptions& given) {
  auto options = fill.used();
  for (const auto& [name, value] : given.given()) {
    if (SamplingOptions::field(name).is_condition()) options.set(name, value);
  }
  std::vector<std::string> arguments = {"-s", std::to_string(fill.seed), "--images-per-call",
                                        std::to_string(fill.images_per_call)};
  for (const auto& [name, value] : options.given()) {
    arguments.push_back(SamplingOptions::field(name).flag());
    arguments.push_back(text_of(value));
  }
  return arguments;
}

}  // namespace tessera::cli
