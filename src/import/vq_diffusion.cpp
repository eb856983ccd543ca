// VQ-Diffusion's checkpoints. Key names: github.com/microsoft/VQ-Diffusion, image_synthesis/modeling (MIT).
#include <algorithm>
#include <cmath>

#include "checkpoint/tensor_mapping.h"
#include "import/importers.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::int64_t kPublishedHeads = 16;

/// Renames the tensors whose names begin with one of the pairs' first, and leaves out all others.
TensorMap renamed(const TensorMap& file, const std::vector<std::pair<std::string, std::string>>& prefixes) {
  TensorMap result;
  for (const auto& [from, to] : prefixes) {
    for (const auto& [rest, tensor] : strip_prefix(file, from)) result[to + rest] = tensor;
  }
  return result;
}

/// The number at a path of the yaml, if it is there.
std::optional<double> number_at(const json& parameters, std::initializer_list<const char*> path) {
  const json* at = &parameters;
  for (const char* field : path) {
    if (!at->is_object() || !at->contains(field)) return std::nullopt;
    at = &(*at)[field];
  }
  return at->is_number() ? std::optional<double>(at->get<double>()) : std::nullopt;
}

TensorMap denoiser_tensors(const TensorMap& file, std::int64_t layers, bool classes, const std::string& where) {
  std::vector<std::pair<std::string, std::string>> prefixes = {
      {"content_emb.", "latent_image_embedding."}, {"to_logits.0.", "norm_out."}, {"to_logits.1.", "out."}};
  for (std::int64_t i = 0; i < layers; ++i) {
    const auto from = fmt::format("blocks.{}.", i), to = fmt::format("transformer_blocks.{}.", i);
    prefixes.emplace_back(from + "ln1.", to + "norm1.");
    prefixes.emplace_back(from + "ln1_1.", to + "norm2.");
    prefixes.emplace_back(from + "ln2.", to + "norm3.");
    prefixes.emplace_back(from + "mlp.0.", to + "ff.net.0.proj.");
    prefixes.emplace_back(from + "mlp.2.", to + "ff.net.2.");
    for (const auto& [own, hub] : {std::pair{classes ? "attn." : "attn1.", "attn1."}, std::pair{"attn2.", "attn2."}}) {
      for (const auto& [part, name] : {std::pair{"query.", "to_q."}, std::pair{"key.", "to_k."},
                                       std::pair{"value.", "to_v."}, std::pair{"proj.", "to_out.0."}}) {
        prefixes.emplace_back(from + own + part, to + hub + name);
      }
    }
  }
  auto tensors = renamed(file, prefixes);
  // Every tensor has its place, but for a mask that the program never applies.
  std::size_t unused = 0;
  for (const auto& [name, tensor] : file) unused += name.ends_with(".attn2.mask") ? 1 : 0;
  require(tensors.size() + unused == file.size(),
          "{}: {} of the denoiser's {} tensors have names that VQ-Diffusion has not", where,
          file.size() - unused - tensors.size(), file.size());
  return tensors;
}

ImportedText import_text(const TensorMap& file, const std::string& where) {
  ImportedText text;
  const auto& tokens = needed(file, "token_embedding.weight", 2, where);
  const auto& positions = needed(file, "positional_embedding", 2, where);
  const auto layers = count_numbered(file, "transformer.resblocks.");
  require(layers > 0, "{}: a text encoder without layers", where);
  const auto width = tokens.size(1);
  const auto hidden = needed(file, "transformer.resblocks.0.mlp.c_fc.weight", 2, where).size(0);
  text.config = {{"architectures", {"CLIPTextModel"}},
                 {"model_type", "clip_text_model"},
                 {"vocab_size", tokens.size(0)},
                 {"max_position_embeddings", positions.size(0)},
                 {"hidden_size", width},
                 {"num_hidden_layers", layers},
                 {"num_attention_heads", std::max<std::int64_t>(1, width / 64)},
                 {"intermediate_size", hidden},
                 {"hidden_act", "quick_gelu"},
                 {"layer_norm_eps", 1e-5}};
  text.tensors["text_model.embeddings.token_embedding.weight"] = tokens;
  text.tensors["text_model.embeddings.position_embedding.weight"] = positions;
  std::vector<std::pair<std::string, std::string>> prefixes = {{"ln_final.", "text_model.final_layer_norm."}};
  for (std::int64_t i = 0; i < layers; ++i) {
    const auto from = fmt::format("transformer.resblocks.{}.", i), to = fmt::format("text_model.encoder.layers.{}.", i);
    prefixes.emplace_back(from + "ln_1.", to + "layer_norm1.");
    prefixes.emplace_back(from + "ln_2.", to + "layer_norm2.");
    prefixes.emplace_back(from + "attn.out_proj.", to + "self_attn.out_proj.");
    prefixes.emplace_back(from + "mlp.c_fc.", to + "mlp.fc1.");
    prefixes.emplace_back(from + "mlp.c_proj.", to + "mlp.fc2.");
    // q, k and v are one tensor.
    for (const char* kind : {"weight", "bias"}) {
      const auto name = fmt::format("{}attn.in_proj_{}", from, kind);
      const auto& joined = needed(file, name, std::string(kind) == "weight" ? 2 : 1, where);
      require(joined.size(0) == 3 * width, "{}: {} has {} rows, expected {}", where, name, joined.size(0), 3 * width);
      const auto parts = joined.chunk(3, 0);
      const char* names[] = {"q_proj", "k_proj", "v_proj"};
      for (std::size_t part = 0; part < 3; ++part) {
        text.tensors[fmt::format("{}self_attn.{}.{}", to, names[part], kind)] = parts[part].contiguous();
      }
    }
  }
  text.tensors.merge(renamed(file, prefixes));
  for (auto& [name, tensor] : text.tensors) tensor = tensor.to(torch::kFloat32);
  return text;
}

/// The ends of the published schedule, or of what the checkpoint's buffers say where they differ.
json scheduler_of(const TensorMap& file, std::int64_t codes, std::int64_t steps) {
  json config = {{"_class_name", "VQDiffusionScheduler"},
                 {"num_vec_classes", codes + 1},
                 {"num_train_timesteps", steps},
                 {"alpha_cum_start", 0.99999},
                 {"alpha_cum_end", 0.000009},
                 {"gamma_cum_start", 0.000009},
                 {"gamma_cum_end", 0.99999},
                 {"tessera", {{"format", 1}, {"process", "mask-and-replace"}, {"total_steps", steps}}}};
  const auto correct = [&](const char* field, const char* buffer, std::int64_t at) {
    const auto found = file.find(buffer);
    if (found == file.end() || found->second.dim() != 1 || found->second.size(0) <= at) return;
    const double value = std::exp(found->second[at].to(torch::kFloat64).item<double>());
    const double published = config[field].get<double>();
    if (std::abs(value - published) > 1e-3 * published) config[field] = value;
  };
  correct("alpha_cum_start", "log_cumprod_at", 0);
  correct("alpha_cum_end", "log_cumprod_at", steps - 1);
  correct("gamma_cum_start", "log_cumprod_ct", 0);
  correct("gamma_cum_end", "log_cumprod_ct", steps - 1);
  return config;
}

}  // namespace

ImportedCodec import_vq_diffusion_codec(const TensorMap& given, const ImportOptions& options,
                                        const std::string& where) {
  auto file = given;
  const auto codebook = file.find("quantize.embedding");
  require(codebook != file.end(), "{}: holds no tensor 'quantize.embedding'", where);
  file["quantize.embedding.weight"] = codebook->second;
  for (const char* unneeded : {"quantize.embedding", "quantize.cluster_size", "quantize.embedding_avg"})
    file.erase(unneeded);
  auto own = options;
  own.cut_bytes = true;
  return import_taming_codec(file, json(), own, where);
}

ImportedVqDiffusion import_vq_diffusion(const TensorMap& model, const TensorMap& ema, const json& parameters,
                                        const ImportOptions& options, const std::string& where) {
  ImportedVqDiffusion imported;
  // `ema` has the names of `model` without the first "transformer.".
  auto whole = strip_prefix(model, "transformer.");
  for (const auto& [name, tensor] : ema) whole[name] = tensor;
  const auto network = strip_prefix(whole, "transformer.");
  const auto layers = count_numbered(network, "blocks.");
  const bool classes = has_prefix(network, "blocks.0.attn.");
  const auto& tokens = needed(network, "content_emb.emb.weight", 2, where);
  const auto& rows = needed(network, "content_emb.height_emb.weight", 2, where);
  const auto& columns = needed(network, "content_emb.width_emb.weight", 2, where);
  const auto& times = needed(network, "blocks.0.ln1.emb.weight", 2, where);
  const auto& hidden = needed(network, "blocks.0.mlp.0.weight", 2, where);
  const auto width = tokens.size(1), codes = tokens.size(0) - 1, steps = times.size(0);

  auto& denoiser = imported.denoiser;
  const std::initializer_list<const char*> heads_path = {"diffusion_config", "params", "transformer_config", "params",
                                                         "n_head"};
  const auto named = number_at(parameters, heads_path);
  const auto heads = options.heads.value_or(named ? static_cast<std::int64_t>(*named) : kPublishedHeads);
  if (!options.heads && !named)
    denoiser.assumptions.push_back("16 attention heads, as all published models have (--heads says otherwise)");
  require(heads > 0 && width % heads == 0, "{}: a width of {} for {} heads, expected a multiple (--heads)", where,
          width, heads);
  const auto condition = classes ? 0 : needed(network, "blocks.0.attn2.key.weight", 2, where).size(1);
  const auto labels = classes ? needed(network, "blocks.0.ln2.emb.weight", 2, where).size(0) : 0;
  denoiser.config = {{"_class_name", "Transformer2DModel"},
                     {"activation_fn", "geglu-approximate"},
                     {"attention_bias", true},
                     {"attention_head_dim", width / heads},
                     {"cross_attention_dim", classes ? json() : json(condition)},
                     {"dropout", 0.0},
                     {"num_attention_heads", heads},
                     {"num_embeds_ada_norm", steps},
                     {"num_layers", layers},
                     {"num_vector_embeds", codes + 1},
                     {"sample_size", std::max(rows.size(0), columns.size(0))},
                     {"tessera",
                      {{"format", 1},
                       {"grid", {rows.size(0), columns.size(0)}},
                       {"classes", labels},
                       {"hidden_factor", hidden.size(0) / width}}}};
  denoiser.tensors = denoiser_tensors(network, layers, classes, where);
  denoiser.scheduler = scheduler_of(whole, codes, steps);
  for (const char* name : {"Lt_history", "Lt_count"}) {
    if (const auto found = whole.find(name); found != whole.end()) denoiser.training[name] = found->second;
  }

  if (has_prefix(model, "content_codec.enc.encoder.")) {
    auto file = renamed(model, {{"content_codec.enc.", ""}});
    file.merge(renamed(model, {{"content_codec.dec.", ""}}));
    auto own = options;
    const auto levels = count_numbered(file, "encoder.down.");
    require(levels >= 1 && levels <= 16, "{}: a codec of {} levels", where, levels);
    if (!own.image_size) own.image_size = std::max(rows.size(0), columns.size(0)) << (levels - 1);
    imported.codec = import_vq_diffusion_codec(file, own, where);
  }
  const auto text = strip_prefix(whole, "condition_emb.");
  if (!classes && has_prefix(text, "transformer.resblocks.")) {
    imported.text = import_text(text, where);
    const auto null = whole.find("empty_text_embed");
    if (null != whole.end()) imported.text->null_embedding = null->second.to(torch::kFloat32);
  }
  return imported;
}

namespace {

namespace fs = std::filesystem;

/// VQ-Diffusion keeps its tensors under these names.
constexpr const char *kModel = "model", *kEma = "ema";

ImportedCheckpoint run_vq_diffusion(ImportSource& source) {
  auto config = source.options().config;
  const auto beside = fs::absolute(source.path()).parent_path() / "config.yaml";
  if (config.empty() && fs::exists(beside)) config = beside;
  auto parts =
      import_vq_diffusion(source.dict(kModel), source.dict(kEma), config.empty() ? json() : read_taming_config(config),
                          source.options(), source.where());
  ImportedCheckpoint imported;
  imported.codec = std::move(parts.codec);
  imported.denoiser = std::move(parts.denoiser);
  imported.text = std::move(parts.text);
  return imported;
}

}  // namespace

ImporterEntry vq_diffusion_importer() {
  return {"vq-diffusion", "VQ-Diffusion's own checkpoints, with text or classes",
          [](ImportSource& source) {
            return has_prefix(source.dict(kModel), "transformer.transformer.blocks.")
                       ? ImporterEntry::Match::by_structure
                       : ImporterEntry::Match::none;
          },
          run_vq_diffusion, true};
}

ImporterEntry vq_diffusion_vqvae_importer() {
  return {"vq-diffusion-vqvae", "VQ-Diffusion's image codec",
          [](ImportSource& source) {
            const auto& model = source.dict(kModel);
            return has_prefix(model, "encoder.down.") && model.contains("quantize.embedding")
                       ? ImporterEntry::Match::by_structure
                       : ImporterEntry::Match::none;
          },
          [](ImportSource& source) {
            ImportedCheckpoint imported;
            imported.codec = import_vq_diffusion_codec(source.dict(kModel), source.options(), source.where());
            return imported;
          }};
}

}  // namespace tessera
