/// tessera convert: a bundle with its weights in another number format, or with LoRA merged into them, for shipping.
#include <optional>

#include "checkpoint/bundle.h"
#include "checkpoint/lora.h"
#include "cli/model_flags.h"
#include "cli/result_line.h"
#include "cli/verbs.h"
#include "runtime/error.h"
#include "runtime/whole_folder.h"

namespace tessera::cli {
namespace {

torch::ScalarType storage_type(const std::string& name) {
  if (name == "float32") return torch::kFloat32;
  if (name == "float16") return torch::kFloat16;
  if (name == "bfloat16") return torch::kBFloat16;
  throw UsageError(fmt::format("--dtype '{}': expected one of float32, float16, bfloat16", name));
}

/// The weights that are changed keep their number formats.
void merge_loras(Bundle& bundle, const std::vector<std::string>& loras) {
  std::vector<LoraChoice> choices;
  for (const auto& lora : loras) choices.push_back(parse_lora(lora));
  const auto before = bundle;  // the same tensors: an update makes another of each that it changes
  for (const auto& choice : choices) apply_lora(bundle, choice);
  const auto restore = [](std::optional<BundlePart>& part, const std::optional<BundlePart>& held) {
    if (!part) return;
    for (auto& [name, tensor] : part->tensors) tensor = tensor.to(held->tensors.at(name).scalar_type());
  };
  restore(bundle.denoiser, before.denoiser);
  restore(bundle.text_encoder, before.text_encoder);
}

/// dtype: empty, each weight's own.
void convert(const std::string& model, const std::string& output, const std::string& dtype,
             const std::vector<std::string>& loras, bool json) {
  const bool as_they_are = dtype.empty();
  const auto type = as_they_are ? torch::kFloat32 : storage_type(dtype);
  auto bundle = load_bundle(model);
  merge_loras(bundle, loras);
  for (auto* part : {&bundle.codec, &bundle.denoiser, &bundle.text_encoder, &bundle.null_condition}) {
    if (!*part) continue;
    for (auto& [name, tensor] : (*part)->tensors) {
      if (!tensor.is_floating_point()) continue;
      const auto cast = tensor.to(as_they_are ? tensor.scalar_type() : type);
      require(cast.isfinite().all().item<bool>() || !tensor.isfinite().all().item<bool>(),
              "{}: '{}' does not fit into {}", model, name, as_they_are ? "its number format" : dtype);
      tensor = cast;
    }
  }
  std::filesystem::create_directories(output);
  write_folder_whole(output, [&](const std::filesystem::path& staged) { save_bundle(staged, bundle); });
  print_result(json, {{"model", model}, {"output", output}, {"dtype", dtype}}, output);
}

}  // namespace

void add_convert(CLI::App& app) {
  struct Options {
    std::string model, output, dtype = "float16";
    std::vector<std::string> loras;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand("convert", "store a bundle's weights in another number format, or merge LoRA");
  verb->add_option("-m,--model", options->model, "bundle folder")->required();
  verb->add_option("-o,--output", options->output, "bundle folder to write")->required();
  verb->add_option("--dtype", options->dtype, "float32, float16 or bfloat16 [float16; with --lora as they are]");
  add_lora_flag(*verb, options->loras);
  verb->add_flag("--json", options->json, kJsonHelp);
  verb->callback([options, verb] {
    const bool as_they_are = !options->loras.empty() && verb->count("--dtype") == 0;
    convert(options->model, options->output, as_they_are ? "" : options->dtype, options->loras, options->json);
  });
}

}  // namespace tessera::cli
