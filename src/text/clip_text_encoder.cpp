#include "text/clip_text_encoder.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops/float_linear.h"
#include "kernels/ops/weight_loading.h"
#include "runtime/error.h"
#include "runtime/mapped_file.h"

namespace tessera {
namespace {

constexpr const char* kWithProjection = "CLIPTextModelWithProjection";
constexpr const char* kPositionIds = "text_model.embeddings.position_ids";

void require_range(const char* field, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  require(value >= lowest && value <= highest, "text encoder: {} is {}, expected {} to {}", field, value, lowest,
          highest);
}

}  // namespace

void ClipTextOptions::validate() const {
  require_range("vocab_size", vocabulary, 2, 1 << 22);
  require_range("max_position_embeddings", length, 2, 1 << 14);
  require_range("hidden_size", width, 1, 1 << 14);
  require_range("num_hidden_layers", layers, 1, 512);
  require_range("num_attention_heads", heads, 1, 512);
  require_range("intermediate_size", hidden, 1, 1 << 16);
  require(width % heads == 0, "text encoder: hidden_size is {}, expected a multiple of num_attention_heads ({})", width,
          heads);
  require_range("projection_dim", projection, 0, 1 << 14);
  require(layer_norm_epsilon > 0 && layer_norm_epsilon < 1, "text encoder: layer_norm_eps is {}, expected 0 to 1",
          layer_norm_epsilon);
}

nlohmann::json ClipTextOptions::to_config() const {
  nlohmann::json config = {{"architectures", {projection > 0 ? kWithProjection : "CLIPTextModel"}},
                           {"model_type", "clip_text_model"},
                           {"vocab_size", vocabulary},
                           {"max_position_embeddings", length},
                           {"hidden_size", width},
                           {"num_hidden_layers", layers},
                           {"num_attention_heads", heads},
                           {"intermediate_size", hidden},
                           {"hidden_act", exact_gelu ? "gelu" : "quick_gelu"},
                           {"layer_norm_eps", layer_norm_epsilon}};
  if (projection > 0) {
    config["projection_dim"] = projection;
    config["eos_token_id"] = end_token;
  }
  return config;
}

ClipTextOptions ClipTextOptions::from_config(const nlohmann::json& whole) {
  ClipTextOptions options;
  try {
    // Configs of the whole CLIP model hold the text part's under text_config.
    const auto& config = whole.contains("hidden_size") || !whole.contains("text_config") ? whole : whole["text_config"];
    options.vocabulary = config.at("vocab_size").get<std::int64_t>();
    options.length = config.value("max_position_embeddings", std::int64_t{77});
    options.width = config.at("hidden_size").get<std::int64_t>();
    options.layers = config.at("num_hidden_layers").get<std::int64_t>();
    options.heads = config.at("num_attention_heads").get<std::int64_t>();
    options.hidden = config.value("intermediate_size", 4 * options.width);
    options.layer_norm_epsilon = config.value("layer_norm_eps", 1e-5);
    const auto activation = config.value("hidden_act", std::string("quick_gelu"));
    require(activation == "quick_gelu" || activation == "gelu",
            "text encoder: hidden_act '{}': expected one of quick_gelu, gelu", activation);
    options.exact_gelu = activation == "gelu";
    // projection_dim stands in the plain encoder's file as well.
    const auto classes = whole.value("architectures", nlohmann::json::array());
    if (std::find(classes.begin(), classes.end(), kWithProjection) != classes.end()) {
      options.projection = config.at("projection_dim").get<std::int64_t>();
      options.end_token = config.value("eos_token_id", std::int64_t{2});
    }
  } catch (const nlohmann::json::exception& error) {
    fail("text encoder config: {}", error.what());
  }
  options.validate();
  return options;
}

ClipTextEncoderImpl::Norm ClipTextEncoderImpl::norm(const std::string& name) {
  return {add(name + ".weight", {options_.width}), add(name + ".bias", {options_.width})};
}

ClipTextEncoderImpl::ClipTextEncoderImpl(const ClipTextOptions& options) : options_(options) {
  options_.validate();
  const auto width = options_.width;
  tokens_ = add("text_model.embeddings.token_embedding.weight", {options_.vocabulary, width});
  positions_ = add("text_model.embeddings.position_embedding.weight", {options_.length, width});
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const auto name = fmt::format("text_model.encoder.layers.{}.", i);
    Layer layer;
    layer.norm1 = norm(name + "layer_norm1");
    layer.norm2 = norm(name + "layer_norm2");
    layer.query = add_linear(*this, name + "self_attn.q_proj", width, width);
    layer.key = add_linear(*this, name + "self_attn.k_proj", width, width);
    layer.value = add_linear(*this, name + "self_attn.v_proj", width, width);
    layer.output = add_linear(*this, name + "self_attn.out_proj", width, width);
    layer.up = add_linear(*this, name + "mlp.fc1", width, options_.hidden);
    layer.down = add_linear(*this, name + "mlp.fc2", options_.hidden, width);
    layers_.push_back(std::move(layer));
  }
  final_ = norm("text_model.final_layer_norm");
  if (options_.projection > 0)
    projection_ = register_module("text_projection", Linear(width, options_.projection, false));
}

void ClipTextEncoderImpl::set_precision(Precision precision) {
  precision_ = precision;
  set_layers_precision(*this, precision);
}

torch::Tensor ClipTextEncoderImpl::apply(const Norm& layer, const torch::Tensor& x) const {
  return layer_norm(x, layer.weight, layer.bias, options_.layer_norm_epsilon, precision_);
}

torch::Tensor ClipTextEncoderImpl::computed(Layer& layer, const torch::Tensor& x) const {
  const auto head_width = options_.width / options_.heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  const auto normed = apply(layer.norm1, x);
  const auto context = attention(layer.query->forward(normed), layer.key->forward(normed), layer.value->forward(normed),
                                 options_.heads, scale, true, precision_);
  const auto attended = layer.output->forward_add(context, x);
  const auto hidden = layer.up->forward(apply(layer.norm2, attended));
  const auto activated = options_.exact_gelu ? gelu_activation(hidden) : hidden * torch::sigmoid(1.702 * hidden);
  return layer.down->forward_add(activated, attended);
}

torch::Tensor ClipTextEncoderImpl::forward(const torch::Tensor& ids, std::vector<torch::Tensor>* hidden_states) {
  require(ids.dim() == 2 && ids.scalar_type() == torch::kInt64 && ids.size(1) <= options_.length,
          "text encoder: expected ids [N, at most {}] int64", options_.length);
  auto x = torch::embedding(tokens_, ids.to(tokens_.device())) + positions_.narrow(0, 0, ids.size(1));
  for (auto& layer : layers_) {
    if (hidden_states) hidden_states->push_back(x);
    x = computed(layer, x);
    if (!in_passing_) continue;
    for (auto* linear : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.up, &layer.down}) {
      (*linear)->packed()->forget();
    }
  }
  if (hidden_states) hidden_states->push_back(x);
  return layer_norm(x, final_.weight, final_.bias, options_.layer_norm_epsilon);
}

torch::Tensor ClipTextEncoderImpl::pooled(const torch::Tensor& ids, const torch::Tensor& states) {
  constexpr std::int64_t kOlderFiles = 2;
  require(options_.projection > 0, "text encoder: found no text_projection, expected CLIPTextModelWithProjection");
  const auto given = ids.to(states.device());
  const auto is_end = options_.end_token == kOlderFiles ? given.eq(given.amax(1, true)) : given.eq(options_.end_token);
  const auto end = is_end.to(torch::kInt64).argmax(1);  // of equal ones the first
  return projection_->forward_unrounded(states.index({torch::arange(end.size(0), end.options()), end}));
}

void ClipTextEncoderImpl::load_hub(TensorMap tensors, const std::string& where) {
  tensors.erase(kPositionIds);
  load(tensors, where);
}

void ClipTextEncoderImpl::load_in_passing(const TensorMap& tensors, const std::string& where) {
  in_passing_ = packs_float_weights();
  const auto loading = in_passing_ ? WeightLoading::share_halves : WeightLoading::copy;
  const auto packed = packed_by_weight(*this);
  load(tensors, where, [&](const torch::Tensor& parameter, const torch::Tensor& given) {
    const auto layer = packed.find(parameter.unsafeGetTensorImpl());
    load_parameter(parameter, given, loading, layer == packed.end() ? nullptr : layer->second);
    const bool copied = parameter.data_ptr() != given.data_ptr();
    if (copied) MappedFile::give_back(given.data_ptr(), given.nbytes());
  });
}

ClipTextEncoder load_text_encoder(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
                                  bool in_passing) {
  const auto options = ClipTextOptions::from_config(config);
  auto own = tensors;
  own.erase(kPositionIds);
  match_network<ClipTextEncoder>(options, own, where);
  ClipTextEncoder encoder(options);
  in_passing ? encoder->load_in_passing(own, where) : encoder->load(own, where);
  return encoder;
}

void ClipTextEncoderImpl::initialise(Seed seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  for (const auto& item : named_parameters()) {
    auto value = item.value();
    if (value.dim() == 2) {
      value.normal_(0, 0.02, generator);
    } else {
      value.fill_(item.key().find("norm") != std::string::npos && item.key().ends_with("weight") ? 1.0 : 0.0);
    }
  }
}

torch::Tensor unit_positions(const torch::Tensor& states) {
  return states / states.norm(2, -1, true);
}

}  // namespace tessera
