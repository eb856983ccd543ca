/// `tessera import`: published checkpoints into a native bundle.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "cli/verbs.h"
#include "denoiser/networks.h"
#include "import/importers.h"
#include "runtime/error.h"
#include "runtime/whole_folder.h"
#include "text/clip_tokenizer.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::vector<std::string> files;
  std::string config;
  std::string output;
  std::int64_t heads = 0;        // 0: not given
  std::string grid;              // "HxW"; empty: not given
  std::int64_t image_size = 0;   // 0: not given
  std::int64_t total_steps = 0;  // 0: not given
  std::string tokenizer;         // a folder with merges.txt
  bool overwrite = false;
  bool json = false;
};

std::pair<std::int64_t, std::int64_t> parse_grid(const std::string& text) {
  const char* end = text.data() + text.size();
  std::int64_t h = 0;
  std::int64_t w = 0;
  const auto first = std::from_chars(text.data(), end, h);
  if (first.ec == std::errc{} && first.ptr != end && *first.ptr == 'x') {
    const auto second = std::from_chars(first.ptr + 1, end, w);
    if (second.ec == std::errc{} && second.ptr == end && h > 0 && w > 0) return {h, w};
  }
  throw UsageError(fmt::format("--grid {}: expected HEIGHTxWIDTH in cells, such as 16x16", text));
}

ImportOptions options_of(const Arguments& arguments) {
  ImportOptions options;
  if (arguments.heads > 0) options.heads = arguments.heads;
  if (!arguments.grid.empty()) options.grid = parse_grid(arguments.grid);
  if (arguments.image_size > 0) options.image_size = arguments.image_size;
  if (arguments.total_steps > 0) options.total_steps = arguments.total_steps;
  options.config = arguments.config;
  return options;
}

/// Everything that the files held, at most one codec and one denoiser.
struct Collected {
  std::optional<ImportedCodec> codec;
  std::optional<ImportedDenoiser> denoiser;
  std::optional<ImportedText> text;
  nlohmann::ordered_json sources = nlohmann::ordered_json::array();
};

Collected collect(const Arguments& arguments) {
  const auto options = options_of(arguments);
  Collected collected;
  bool uses_config = false;
  for (const auto& file : arguments.files) {
    auto imported = import_checkpoint(file, options);
    collected.sources.push_back({{"file", file}, {"importer", imported.importer}});
    uses_config = uses_config || importers().at(imported.importer).takes_config;
    if (imported.codec) {
      if (collected.codec) throw UsageError(fmt::format("{}: a second codec, expected at most one", file));
      collected.codec = std::move(imported.codec);
    }
    if (imported.denoiser) {
      if (collected.denoiser) throw UsageError(fmt::format("{}: a second prior, expected at most one", file));
      collected.denoiser = std::move(imported.denoiser);
    }
    if (imported.text) collected.text = std::move(imported.text);
  }
  // An option that none of the files needs is a mistake, not to be passed over.
  const auto refuse = [](bool given, const char* option, const char* reason) {
    if (given) throw UsageError(fmt::format("{}: {}", option, reason));
  };
  refuse(!collected.denoiser && options.heads.has_value(), "--heads", "none of the files is a prior");
  refuse(!collected.denoiser && options.total_steps.has_value(), "--total-steps", "none of the files is a prior");
  refuse(!collected.codec && options.image_size.has_value(), "--image-size", "none of the files is a codec");
  refuse(!uses_config && !arguments.config.empty(), "--config",
         "none of the files is a Taming or hub codec or a VQ-Diffusion model");
  refuse(!collected.text && !arguments.tokenizer.empty(), "--tokenizer", "none of the files takes text");
  return collected;
}

std::int64_t parameters_of(const TensorMap& tensors) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

std::string describe_codec(const BundlePart& part) {
  const auto& config = part.config;
  const auto halvings = config.at("block_out_channels").size() - 1;
  const auto size = config.value("sample_size", nlohmann::json());
  auto text = size.is_number_integer() && halvings < 32
                  ? fmt::format("{0}x{0} pixels to {1}x{1} cells, ", size.get<std::int64_t>(),
                                size.get<std::int64_t>() >> halvings)
                  : "";
  return text + fmt::format("{} codes, {:.2f} M parameters", config.at("num_vq_embeddings").get<std::int64_t>(),
                            static_cast<double>(parameters_of(part.tensors)) / 1e6);
}

std::string describe_denoiser(const BundlePart& part) {
  const auto ours = part.config.value("tessera", nlohmann::json::object());
  if (!ours.contains("classes") && !ours.contains("kind")) {
    const auto facts = network_facts(part.config, "transformer");
    return fmt::format("{}, {}x{} cells, {} layers of width {} with {} heads, {:.2f} M parameters",
                       network_of(part.config, "transformer").name, facts.grid.h, facts.grid.w, facts.layers,
                       facts.width, facts.heads, static_cast<double>(parameters_of(part.tensors)) / 1e6);
  }
  if (!ours.contains("kind")) {
    const auto& network = network_of(part.config, "transformer");
    const auto facts = network.facts(part.config);
    return fmt::format("{}, {}, {}x{} cells, {} layers, {:.2f} M parameters", network.name,
                       facts.classes > 0 ? fmt::format("{} classes", facts.classes) : facts.condition(), facts.grid.h,
                       facts.grid.w, facts.layers, static_cast<double>(parameters_of(part.tensors)) / 1e6);
  }
  return fmt::format("{}, {}x{} cells, {} layers of width {} with {} heads, {:.2f} M parameters",
                     ours.at("kind").get<std::string>(), ours.at("grid")[0].get<int>(), ours.at("grid")[1].get<int>(),
                     ours.at("layers").get<int>(), ours.at("width").get<int>(), ours.at("heads").get<int>(),
                     static_cast<double>(parameters_of(part.tensors)) / 1e6);
}

std::vector<std::string> assumptions_of(const Collected& collected, const Bundle& bundle) {
  std::vector<std::string> assumptions;
  if (collected.codec) {
    assumptions = collected.codec->assumptions;
    if (collected.codec->image_size_assumed) {
      assumptions.push_back(fmt::format("images of {} pixels a side{} (--image-size says otherwise)",
                                        bundle.codec->config.at("sample_size").get<std::int64_t>(),
                                        collected.denoiser ? ", from the prior's grid" : ", as in the paper"));
    }
  }
  if (collected.denoiser) {
    assumptions.insert(assumptions.end(), collected.denoiser->assumptions.begin(),
                       collected.denoiser->assumptions.end());
  }
  return assumptions;
}

std::string model_card(const Collected& collected, const Bundle& bundle, const std::vector<std::string>& assumptions) {
  std::string text =
      "# Imported model\n\nWeights of a published checkpoint under Tessera's names. Their licence is the "
      "publisher's.\n\n";
  for (const auto& source : collected.sources) {
    text += fmt::format("- from `{}` ({})\n", fs::path(source["file"].get<std::string>()).filename().string(),
                        source["importer"].get<std::string>());
  }
  if (bundle.codec) text += "- codec: " + describe_codec(*bundle.codec) + "\n";
  if (bundle.denoiser) text += "- prior: " + describe_denoiser(*bundle.denoiser) + "\n";
  for (const auto& assumption : assumptions) text += "- assumed: " + assumption + "\n";
  return text;
}

/// What inference does not need: the discriminator and the time sampler's state.
void save_training_tensors(const Collected& collected, const fs::path& folder) {
  TensorMap tensors;
  if (collected.codec) {
    for (const auto& [name, tensor] : collected.codec->discriminator) tensors.emplace("discriminator." + name, tensor);
  }
  if (collected.denoiser) tensors.insert(collected.denoiser->training.begin(), collected.denoiser->training.end());
  if (tensors.empty()) return;
  std::error_code code;
  fs::create_directories(folder, code);
  require(!code, "{}: cannot be created: {}", folder.string(), code.message());
  save_safetensors(folder / "imported.safetensors", tensors);
}

/// CLIP's vocabulary, cut to the text encoder's size; the checkpoint does not carry it.
void write_tokenizer(const Arguments& arguments, ImportedText& text, const fs::path& folder) {
  const auto vocabulary = text.config.at("vocab_size").get<std::int64_t>();
  auto source =
      arguments.tokenizer.empty() ? fs::absolute(arguments.files.front()).parent_path() : fs::path(arguments.tokenizer);
  if (fs::is_directory(source)) {
    const auto found = ClipTokenizer::merges_in(source);
    source = found.empty() ? source / "merges.txt" : found;
  }
  require(fs::exists(source),
          "{}: no such file; the text encoder needs CLIP's merges.txt, tokenizer.json or bpe_simple_vocab_16e6.txt.gz "
          "(--tokenizer FOLDER or FILE)",
          source.string());
  ClipTokenizer::load_merges(source, {}, vocabulary).save(folder);
  text.tokenizer = folder;
}

void run(const Arguments& arguments) {
  const fs::path output = arguments.output;
  require(arguments.overwrite || !fs::exists(output / "model_index.json"),
          "{}: already holds a model; choose another folder or add --overwrite", arguments.output);
  auto collected = collect(arguments);
  Bundle bundle;
  std::vector<std::string> assumptions;
  write_folder_whole(output, [&](const fs::path& staged) {
    if (collected.text && (collected.text->tokenizer.empty() || !arguments.tokenizer.empty()))
      write_tokenizer(arguments, *collected.text, staged / "tokenizer");
    bundle = make_bundle(collected.codec, collected.denoiser, collected.text);
    assumptions = assumptions_of(collected, bundle);
    bundle.readme = model_card(collected, bundle, assumptions);
    save_training_tensors(collected, staged / "training");
    save_bundle(staged, bundle);
  });
  if (arguments.json) {
    nlohmann::ordered_json report = {
        {"output", arguments.output}, {"sources", collected.sources}, {"assumptions", assumptions}};
    if (bundle.codec) report["vqvae"] = bundle.codec->config;
    if (bundle.denoiser) report["transformer"] = bundle.denoiser->config;
    if (bundle.scheduler) report["scheduler"] = *bundle.scheduler;
    std::printf("%s\n", report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  for (const auto& source : collected.sources) {
    std::printf("read     %s (%s)\n", source["file"].get<std::string>().c_str(),
                source["importer"].get<std::string>().c_str());
  }
  if (bundle.codec) std::printf("codec    %s\n", describe_codec(*bundle.codec).c_str());
  if (bundle.denoiser) std::printf("prior    %s\n", describe_denoiser(*bundle.denoiser).c_str());
  for (const auto& assumption : assumptions) std::printf("assumed  %s\n", assumption.c_str());
  std::printf("wrote    %s\n", arguments.output.c_str());
}

}  // namespace

/// What can be read, a line each.
std::string known_importers() {
  std::string text = "What is read:\n";
  for (const auto& entry : importers().entries()) text += fmt::format("  {:<26}{}\n", entry.name, entry.help);
  return text;
}

void add_import(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  auto* verb = app.add_subcommand("import", "Turn published checkpoints into a model folder");
  verb->footer(known_importers());
  verb->add_option(
          "files", arguments->files,
          "Checkpoints (vqgan_ema_N.th, absorbing_ema_N.th, a .ckpt, .pth, .safetensors ..) or hub folders; a codec "
          "and a prior together make one model")
      ->required();
  verb->add_option("--config", arguments->config, "The yaml of a Taming checkpoint, or the config.json of a hub file");
  verb->add_option("-o,--output", arguments->output, "The folder to write")->required();
  verb->add_option("--heads", arguments->heads, "Attention heads of the prior (default: heads of 64)")
      ->check(CLI::PositiveNumber);
  verb->add_option("--grid", arguments->grid, "The prior's grid, HEIGHTxWIDTH in cells (default: square)");
  verb->add_option("--image-size", arguments->image_size, "Pixels a side that the codec was trained at")
      ->check(CLI::Range(1, 65536));
  verb->add_option("--total-steps", arguments->total_steps,
                   "Steps of the absorbing process, where the file does not say")
      ->check(CLI::PositiveNumber);
  verb->add_option("--tokenizer", arguments->tokenizer,
                   "CLIP's merges.txt, tokenizer.json or bpe_simple_vocab_16e6.txt.gz, or the folder with it, for a "
                   "VQ-Diffusion model with text (default: beside the checkpoint)");
  verb->add_flag("--overwrite", arguments->overwrite, "Replace the model that the output folder holds");
  verb->add_flag("--json", arguments->json, "Print one JSON object");
  verb->callback([arguments] { run(*arguments); });
}

}  // namespace tessera::cli
