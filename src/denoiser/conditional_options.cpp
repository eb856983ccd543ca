#include "denoiser/conditional_transformer.h"
#include "runtime/error.h"

namespace tessera {
namespace {

void require_range(const char* field, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  require(value >= lowest && value <= highest, "denoiser: {} is {}, expected {} to {}", field, value, lowest, highest);
}

/// A field that may be there only with one of some values: others would be another network.
void expect(const nlohmann::json& config, const char* field, const nlohmann::json& allowed, const char* expected) {
  const auto found = config.find(field);
  if (found == config.end() || found->is_null() || *found == allowed) return;
  fail("denoiser config: {} is {}, expected {}", field,
       found->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), expected);
}

}  // namespace

void ConditionalOptions::validate() const {
  require_range("codebook size", codebook_size, 1, 1 << 20);
  require_range("grid height", grid.h, 1, 1 << 12);
  require_range("grid width", grid.w, 1, 1 << 12);
  require_range("num_layers", layers, 1, 512);
  require_range("num_attention_heads", heads, 1, 512);
  require_range("attention_head_dim", head_width, 1, 4096);
  require_range("num_embeds_ada_norm", total_steps, 1, 1 << 16);
  require_range("cross_attention_dim", condition_width, 0, 1 << 16);
  require_range("classes", classes, 0, 1 << 20);
  require_range("hidden factor", hidden_factor, 1, 64);
  require(condition_width == 0 || classes == 0, "denoiser: both text and classes, expected one of them");
  require(dropout >= 0 && dropout < 1, "denoiser: dropout is {}, expected 0 <= dropout < 1", dropout);
}

nlohmann::json ConditionalOptions::to_config() const {
  return {
      {"_class_name", "Transformer2DModel"},
      {"activation_fn", exact_gelu ? "gelu" : "geglu-approximate"},
      {"attention_bias", true},
      {"attention_head_dim", head_width},
      {"cross_attention_dim", condition_width > 0 ? nlohmann::json(condition_width) : nlohmann::json()},
      {"dropout", dropout},
      {"num_attention_heads", heads},
      {"num_embeds_ada_norm", total_steps},
      {"num_layers", layers},
      {"num_vector_embeds", codebook_size + 1},
      {"sample_size", std::max(grid.h, grid.w)},
      {"tessera", {{"format", 1}, {"grid", {grid.h, grid.w}}, {"classes", classes}, {"hidden_factor", hidden_factor}}}};
}

ConditionalOptions ConditionalOptions::from_config(const nlohmann::json& config) {
  ConditionalOptions options;
  try {
    const auto own = config.value("tessera", nlohmann::json::object());
    expect(config, "attention_bias", true, "true");
    expect(config, "norm_type", "ada_norm", "\"ada_norm\" or nothing");
    expect(config, "double_self_attention", false, "false");
    expect(config, "only_cross_attention", false, "false");
    options.codebook_size = config.at("num_vector_embeds").get<std::int64_t>() - 1;
    const auto size = config.at("sample_size").get<std::int64_t>();
    options.grid = {size, size};
    if (own.contains("grid"))
      options.grid = {own["grid"].at(0).get<std::int64_t>(), own["grid"].at(1).get<std::int64_t>()};
    options.layers = config.at("num_layers").get<std::int64_t>();
    options.heads = config.at("num_attention_heads").get<std::int64_t>();
    options.head_width = config.at("attention_head_dim").get<std::int64_t>();
    require(config.contains("num_embeds_ada_norm") && !config["num_embeds_ada_norm"].is_null(),
            "denoiser config: num_embeds_ada_norm is missing, expected the number of time steps");
    options.total_steps = config["num_embeds_ada_norm"].get<std::int64_t>();
    const auto width = config.find("cross_attention_dim");
    options.condition_width = width == config.end() || width->is_null() ? 0 : width->get<std::int64_t>();
    options.classes = own.value("classes", std::int64_t{0});
    options.hidden_factor = own.value("hidden_factor", std::int64_t{4});
    const auto activation = config.value("activation_fn", std::string("geglu"));
    require(activation == "geglu-approximate" || activation == "gelu",
            "denoiser config: activation_fn '{}': expected one of geglu-approximate, gelu", activation);
    options.exact_gelu = activation == "gelu";
    options.dropout = config.value("dropout", 0.0);
  } catch (const nlohmann::json::exception& error) {
    fail("denoiser config: {}", error.what());
  }
  options.validate();
  return options;
}

bool is_conditional_config(const nlohmann::json& config) {
  return config.is_object() && config.value("_class_name", nlohmann::json()) == "Transformer2DModel";
}

}  // namespace tessera
