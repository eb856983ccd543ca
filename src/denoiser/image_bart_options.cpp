#include <algorithm>

#include "denoiser/image_bart.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kMostPlaces = 1 << 16, kMostRows = 1 << 20, kMostScales = 64;

void require_within(const char* field, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  require(value >= lowest && value <= highest, "imagebart: {} is {}, expected {} to {}", field, value, lowest, highest);
}

nlohmann::json config_of_scale(const ScaleOptions& scale) {
  return {{"width", scale.width},
          {"head_width", scale.head_width},
          {"vocabulary", scale.vocabulary},
          {"encoder_layers", scale.encoder_layers},
          {"encoder_heads", scale.encoder_heads},
          {"decoder_layers", scale.decoder_layers},
          {"decoder_heads", scale.decoder_heads},
          {"residual", scale.residual},
          {"open_start", scale.open_start}};
}

ScaleOptions scale_from_config(const nlohmann::json& config) {
  ScaleOptions scale;
  scale.width = config.at("width").get<std::int64_t>();
  scale.head_width = config.at("head_width").get<std::int64_t>();
  scale.vocabulary = config.at("vocabulary").get<std::int64_t>();
  scale.encoder_layers = config.at("encoder_layers").get<std::int64_t>();
  scale.encoder_heads = config.at("encoder_heads").get<std::int64_t>();
  scale.decoder_layers = config.at("decoder_layers").get<std::int64_t>();
  scale.decoder_heads = config.at("decoder_heads").get<std::int64_t>();
  scale.residual = config.value("residual", false);
  scale.open_start = config.value("open_start", false);
  return scale;
}

}  // namespace

void ImageBartOptions::validate() const {
  require_within("codebook_size", codebook_size, 1, kMostRows);
  require_within("grid height", grid.h, 1, kMostPlaces);
  require_within("grid width", grid.w, 1, kMostPlaces / grid.h);
  require_within("classes", classes, 0, kMostRows);
  require_within("scales", total_steps(), 1, kMostScales);
  for (const auto& scale : scales) {
    require_within("width", scale.width, 1, 1 << 16);
    require_within("head_width", scale.head_width, 1, 1 << 12);
    require_within("vocabulary", scale.vocabulary, std::max({codebook_size, classes, total_steps() + 1}),
                   2 * kMostRows);
    require_within("encoder_layers", scale.encoder_layers, 0, 512);
    require_within("encoder_heads", scale.encoder_heads, scale.has_encoder() ? 1 : 0, 512);
    require_within("decoder_layers", scale.decoder_layers, 1, 512);
    require_within("decoder_heads", scale.decoder_heads, 1, 512);
    require(scale.has_encoder() || !scale.residual, "imagebart: residual without an encoder, expected one");
  }
}

nlohmann::json ImageBartOptions::to_config() const {
  auto each = nlohmann::json::array();
  for (const auto& scale : scales) each.push_back(config_of_scale(scale));
  return {{"_class_name", "TesseraImageBart"},
          {"tessera",
           {{"format", 1},
            {"codebook_size", codebook_size},
            {"grid", {grid.h, grid.w}},
            {"classes", classes},
            {"scales", each}}}};
}

ImageBartOptions ImageBartOptions::from_config(const nlohmann::json& config) {
  ImageBartOptions options;
  try {
    const auto& own = config.at("tessera");
    const auto format = own.at("format").get<std::int64_t>();
    require(format == 1, "imagebart config: format {}, expected 1", format);
    options.codebook_size = own.at("codebook_size").get<std::int64_t>();
    const auto& grid = own.at("grid");
    require(grid.is_array() && grid.size() == 2, "imagebart config: grid is {}, expected [h, w]", grid.dump());
    options.grid = {grid[0].get<std::int64_t>(), grid[1].get<std::int64_t>()};
    options.classes = own.value("classes", std::int64_t{0});
    const auto& scales = own.at("scales");
    require(scales.is_array() && scales.size() <= kMostScales, "imagebart config: scales: expected a list of 1 to {}",
            kMostScales);
    for (const auto& scale : scales) options.scales.push_back(scale_from_config(scale));
  } catch (const nlohmann::json::exception& error) {
    fail("imagebart config: {}", error.what());
  }
  options.validate();
  return options;
}

}  // namespace tessera
