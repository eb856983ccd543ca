#include "denoiser/transformer.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kMostCells = 1 << 16;
constexpr std::int64_t kMostCodes = 1 << 20;

void require_range(const char* field, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  require(value >= lowest && value <= highest, "transformer: {} is {}, expected {} to {}", field, value, lowest,
          highest);
}

}  // namespace

void TransformerOptions::validate() const {
  require_range("codebook_size", codebook_size, 1, kMostCodes);
  require_range("grid height", grid.h, 1, kMostCells);
  require_range("grid width", grid.w, 1, kMostCells / grid.h);
  require_range("layers", layers, 1, 512);
  require_range("heads", heads, 1, 512);
  require_range("width", width, 1, 1 << 16);
  require(width % heads == 0, "transformer: width is {}, expected a multiple of heads ({})", width, heads);
  require_range("classes", classes, 0, kMostCodes);
  require_range("condition_width", condition_width, 0, 1 << 16);
  require_range("condition_length", condition_length, condition_width > 0 ? 1 : 0, 1 << 12);
  require(classes == 0 || condition_width == 0, "transformer: both text and classes, expected one of them");
  require(!is_told() || kind == TransformerKind::autoregressive,
          "transformer: a bidirectional one with a condition, expected none");
  require(!class_starts || classes > 0, "transformer: class_starts without classes, expected some");
  require_range("attention_block", attention_block, 0, kMostCells);
  require(attention_block == 0 || kind == TransformerKind::bidirectional,
          "transformer: an autoregressive one with attention in blocks, expected a bidirectional one");
  require(dropout >= 0 && dropout < 1, "transformer: dropout is {}, expected 0 <= dropout < 1", dropout);
}

nlohmann::json TransformerOptions::to_config() const {
  nlohmann::json config = {{"_class_name", "TesseraTransformer"},
                           {"tessera",
                            {{"format", 1},
                             {"kind", kind == TransformerKind::bidirectional ? "bidirectional" : "autoregressive"},
                             {"codebook_size", codebook_size},
                             {"grid", {grid.h, grid.w}},
                             {"layers", layers},
                             {"heads", heads},
                             {"width", width},
                             {"dropout", dropout}}}};
  if (attention_block > 0) config["tessera"]["attention_block"] = attention_block;
  if (classes > 0) config["tessera"]["classes"] = classes;
  if (class_starts) config["tessera"]["class_starts"] = true;
  if (condition_width > 0) {
    config["tessera"]["condition_width"] = condition_width;
    config["tessera"]["condition_length"] = condition_length;
  }
  return config;
}

TransformerOptions TransformerOptions::from_config(const nlohmann::json& config) {
  TransformerOptions options;
  try {
    const auto& own = config.at("tessera");
    const auto format = own.at("format").get<std::int64_t>();
    require(format == 1, "transformer config: format {}, expected 1", format);
    const auto kind = own.at("kind").get<std::string>();
    require(kind == "bidirectional" || kind == "autoregressive",
            "transformer config: kind '{}': expected one of bidirectional, autoregressive", kind);
    options.kind = kind == "bidirectional" ? TransformerKind::bidirectional : TransformerKind::autoregressive;
    options.codebook_size = own.at("codebook_size").get<std::int64_t>();
    const auto& grid = own.at("grid");
    require(grid.is_array() && grid.size() == 2, "transformer config: grid is {}, expected [h, w]", grid.dump());
    options.grid = {grid[0].get<std::int64_t>(), grid[1].get<std::int64_t>()};
    options.layers = own.at("layers").get<std::int64_t>();
    options.heads = own.at("heads").get<std::int64_t>();
    options.width = own.at("width").get<std::int64_t>();
    options.dropout = own.value("dropout", 0.0);
    options.attention_block = own.value("attention_block", std::int64_t{0});
    options.classes = own.value("classes", std::int64_t{0});
    options.class_starts = own.value("class_starts", false);
    options.condition_width = own.value("condition_width", std::int64_t{0});
    options.condition_length = own.value("condition_length", std::int64_t{0});
  } catch (const nlohmann::json::exception& error) {
    fail("transformer config: {}", error.what());
  }
  options.validate();
  return options;
}

}  // namespace tessera
