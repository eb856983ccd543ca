// aMUSEd's transformer/config.json. Fields: huggingface.co/docs/diffusers, UVit2DModel.
#include "denoiser/uvit.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kCodecFactor = 16;  // of aMUSEd's codec, where nobody says how large the pictures are

void require_field(const char* field, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  require(value >= lowest && value <= highest, "denoiser: {} is {}, expected {} to {}", field, value, lowest, highest);
}

/// A field that may be there only with one value: others would be another network.
void expect_value(const nlohmann::json& config, const char* field, const nlohmann::json& value) {
  const auto found = config.find(field);
  if (found == config.end() || found->is_null() || *found == value) return;
  fail("denoiser config: {} is {}, expected {}", field,
       found->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), value.dump());
}

Extent extent_of(const nlohmann::json& pair) {
  return {pair.at(0).get<std::int64_t>(), pair.at(1).get<std::int64_t>()};
}

}  // namespace

torch::Tensor UVitOptions::own_micro() const {
  constexpr double kAestheticScore = 6;
  return torch::tensor({static_cast<double>(picture.w), static_cast<double>(picture.h), 0.0, 0.0, kAestheticScore})
      .to(torch::kFloat32);
}

void UVitOptions::validate() const {
  require_field("codebook_size", codebook_size, 1, 1 << 20);
  require_field("vocab_size", vocabulary, codebook_size + 1, 1 << 21);
  require_field("grid height", grid.h, 1, 1 << 12);
  require_field("grid width", grid.w, 1, 1 << 12);
  require_field("picture height", picture.h, 1, 1 << 16);
  require_field("picture width", picture.w, 1, 1 << 16);
  require_field("in_channels", embedding, 1, 1 << 14);
  require_field("block_out_channels", channels, 1, 1 << 14);
  require_field("num_res_blocks", blocks, 1, 64);
  require_field("block_num_heads", block_heads, 1, 512);
  require_field("hidden_size", width, 1, 1 << 14);
  require_field("num_hidden_layers", layers, 1, 512);
  require_field("num_attention_heads", heads, 1, 512);
  require_field("intermediate_size", hidden, 1, 1 << 16);
  require_field("encoder_hidden_size", text_width, 1, 1 << 14);
  require_field("cond_embed_dim", pooled_width, 1, 1 << 14);
  require_field("micro_cond_encode_dim", micro_width, 2, 1 << 12);
  require(micro_width % 2 == 0, "denoiser: micro_cond_encode_dim is {}, expected an even number", micro_width);
  require(channels % block_heads == 0,
          "denoiser: block_out_channels is {}, expected a multiple of block_num_heads ({})", channels, block_heads);
  require(width % heads == 0, "denoiser: hidden_size is {}, expected a multiple of num_attention_heads ({})", width,
          heads);
  require(epsilon > 0 && epsilon < 1, "denoiser: layer_norm_eps is {}, expected above 0, below 1", epsilon);
  require(!halves || (grid.h % 2 == 0 && grid.w % 2 == 0),
          "denoiser: a grid of {}x{} cells with downsample, expected even sides", grid.h, grid.w);
}

nlohmann::json UVitOptions::to_config() const {
  return {{"_class_name", "UVit2DModel"},
          {"hidden_size", width},
          {"use_bias", false},
          {"hidden_dropout", 0.0},
          {"cond_embed_dim", pooled_width},
          {"micro_cond_encode_dim", micro_width},
          {"micro_cond_embed_dim", 5 * micro_width},
          {"encoder_hidden_size", text_width},
          {"vocab_size", vocabulary},
          {"codebook_size", codebook_size},
          {"in_channels", embedding},
          {"block_out_channels", channels},
          {"num_res_blocks", blocks},
          {"downsample", halves},
          {"upsample", halves},
          {"block_num_heads", block_heads},
          {"num_hidden_layers", layers},
          {"num_attention_heads", heads},
          {"attention_dropout", 0.0},
          {"intermediate_size", hidden},
          {"layer_norm_eps", epsilon},
          {"ln_elementwise_affine", true},
          {"sample_size", std::max(grid.h, grid.w)},
          {"tessera", {{"format", 1}, {"grid", {grid.h, grid.w}}, {"picture", {picture.h, picture.w}}}}};
}

UVitOptions UVitOptions::from_config(const nlohmann::json& config) {
  UVitOptions options;
  try {
    const auto own = config.value("tessera", nlohmann::json::object());
    expect_value(config, "use_bias", false);
    expect_value(config, "ln_elementwise_affine", true);
    const auto whole = [&](const char* field) { return config.at(field).get<std::int64_t>(); };
    options.width = whole("hidden_size");
    options.pooled_width = whole("cond_embed_dim");
    options.micro_width = whole("micro_cond_encode_dim");
    options.text_width = whole("encoder_hidden_size");
    options.vocabulary = whole("vocab_size");
    options.codebook_size = whole("codebook_size");
    options.embedding = whole("in_channels");
    options.channels = whole("block_out_channels");
    options.blocks = whole("num_res_blocks");
    options.block_heads = whole("block_num_heads");
    options.layers = whole("num_hidden_layers");
    options.heads = whole("num_attention_heads");
    options.hidden = whole("intermediate_size");
    options.epsilon = config.value("layer_norm_eps", 1e-6);
    options.halves = config.value("downsample", false);
    expect_value(config, "upsample", options.halves);
    expect_value(config, "micro_cond_embed_dim", 5 * options.micro_width);
    const auto size = whole("sample_size");
    options.grid = own.contains("grid") ? extent_of(own["grid"]) : Extent{size, size};
    require_field("sample_size", std::max(options.grid.h, options.grid.w), 1, 1 << 12);
    options.picture = own.contains("picture") ? extent_of(own["picture"])
                                              : Extent{options.grid.h * kCodecFactor, options.grid.w * kCodecFactor};
  } catch (const nlohmann::json::exception& error) {
    fail("denoiser config: {}", error.what());
  }
  options.validate();
  return options;
}

}  // namespace tessera
