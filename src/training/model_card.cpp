#include "training/model_card.h"

#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr const char* kWeights = "diffusion_pytorch_model.safetensors";

void make_folder(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  require(!code, "{}: cannot be made: {}", folder.string(), code.message());
}

void write_json(const std::filesystem::path& file, const nlohmann::json& content) {
  write_file_atomically(file, content.dump(2) + "\n");
}

/// Adds a part to model_index.json, keeping the others.
void register_part(const std::filesystem::path& bundle, const std::string& part, const std::string& type) {
  const auto file = bundle / "model_index.json";
  nlohmann::json index = {{"_class_name", "TesseraPipeline"}, {"tessera", {{"format", 1}, {"version", TESSERA_VERSION}}}};
  if (std::filesystem::exists(file)) {
    const auto old = nlohmann::json::parse(read_file(file), nullptr, false);
    require(old.is_object(), "{}: not a JSON object", file.string());
    index.update(old);
  }
  index[part] = {"tessera", type};
  write_json(file, index);
}

/// One section a part, between markers, so that training the prior keeps what was said of the codec and by hand.
void write_card(const std::filesystem::path& bundle, const ModelCard& card) {
  const auto file = bundle / "README.md";
  auto text = std::filesystem::exists(file) ? read_file(file) : std::string("# A Tessera model\n");
  const auto begin = fmt::format("<!-- {}: written by tessera train -->", card.part), end = fmt::format("<!-- end of {} -->", card.part);
  auto section = fmt::format("{}\n## The {}\n\n{}.\n\n| figure | value |\n| --- | --- |\n", begin, card.part, card.description);
  for (const auto& [name, value] : card.figures) section += fmt::format("| {} | {:.6g} |\n", name, value);
  section += fmt::format("\nRecipe:\n\n```json\n{}\n```\n{}", card.recipe.dump(2), end);
  const auto from = text.find(begin), to = text.find(end);
  if (from != std::string::npos && to != std::string::npos && from < to) {
    text.replace(from, to + end.size() - from, section);
  } else {
    text += "\n" + section + "\n";
  }
  write_file_atomically(file, text);
}

}  // namespace

void write_codec_bundle(const std::filesystem::path& bundle, const nlohmann::json& config, const TensorMap& weights, const ModelCard& card) {
  make_folder(bundle / "vqvae");
  save_safetensors(bundle / "vqvae" / kWeights, weights, {{"format", "pt"}});
  write_json(bundle / "vqvae" / "config.json", config);
  register_part(bundle, "vqvae", "VQModel");
  write_card(bundle, card);
}

void write_prior_bundle(const std::filesystem::path& bundle, const nlohmann::json& config, const nlohmann::json& scheduler,
                        const TensorMap& weights, const ModelCard& card) {
  make_folder(bundle / "transformer");
  make_folder(bundle / "scheduler");
  save_safetensors(bundle / "transformer" / kWeights, weights, {{"format", "pt"}});
  write_json(bundle / "transformer" / "config.json", config);
  write_json(bundle / "scheduler" / "config.json", scheduler);
  register_part(bundle, "transformer", "TesseraTransformer");
  register_part(bundle, "scheduler", "TesseraProcess");
  write_card(bundle, card);
}

}  // namespace tessera
