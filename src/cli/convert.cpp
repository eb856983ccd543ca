/// tessera convert: a bundle with its weights in another number format, for shipping.
#include "checkpoint/bundle.h"
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

void convert(const std::string& model, const std::string& output, const std::string& dtype, bool json) {
  const auto type = storage_type(dtype);
  auto bundle = load_bundle(model);
  for (auto* part : {&bundle.codec, &bundle.denoiser, &bundle.text_encoder, &bundle.null_condition}) {
    if (!*part) continue;
    for (auto& [name, tensor] : (*part)->tensors) {
      if (!tensor.is_floating_point()) continue;
      const auto cast = tensor.to(type);
      require(cast.isfinite().all().item<bool>() || !tensor.isfinite().all().item<bool>(),
              "{}: '{}' does not fit into {}", model, name, dtype);
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
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand("convert", "store a bundle's weights in another number format");
  verb->add_option("-m,--model", options->model, "bundle folder")->required();
  verb->add_option("-o,--output", options->output, "bundle folder to write")->required();
  verb->add_option("--dtype", options->dtype, "float32, float16 or bfloat16")->capture_default_str();
  verb->add_flag("--json", options->json, kJsonHelp);
  verb->callback([options] { convert(options->model, options->output, options->dtype, options->json); });
}

}  // namespace tessera::cli
