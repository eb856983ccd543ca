#include "denoiser/image_bart.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "denoiser/guided_decoding.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "runtime/error.h"

namespace tessera {

AttentionStackImpl::AttentionStackImpl(const Options& options) : options_(options) {
  const auto width = options.width;
  const auto all = register_module("layers", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < options.layers; ++i) {
    const auto own = all->register_module(std::to_string(i), std::make_shared<torch::nn::Module>());
    auto& layer = layers_.emplace_back();
    layer.norm1 = own->register_module("norm1", LayerNorm(width));
    layer.self = add_attention(*own, "self");
    if (options.cross) {
      layer.norm2 = own->register_module("norm2", LayerNorm(width));
      layer.cross = add_attention(*own, "cross");
    }
    layer.norm3 = own->register_module("norm3", LayerNorm(width));
    layer.up = own->register_module("up", Linear(width, 4 * width));
    layer.down = own->register_module("down", Linear(4 * width, width));
  }
  norm_ = register_module("norm", LayerNorm(width));
}

AttentionStackImpl::Attention AttentionStackImpl::add_attention(torch::nn::Module& layer, const std::string& name) {
  const auto own = layer.register_module(name, std::make_shared<torch::nn::Module>());
  const auto inner = options_.heads * options_.head_width;
  Attention attention;
  attention.query = own->register_module("query", Linear(options_.width, inner, options_.biased));
  attention.key = own->register_module("key", Linear(options_.width, inner, options_.biased));
  attention.value = own->register_module("value", Linear(options_.width, inner, options_.biased));
  attention.output = own->register_module("output", Linear(inner, options_.width));
  return attention;
}

/// [N, A, H D] as [N, H, A, D].
torch::Tensor AttentionStackImpl::split(const torch::Tensor& x) const {
  return x.view({x.size(0), x.size(1), options_.heads, options_.head_width}).transpose(1, 2);
}

torch::Tensor AttentionStackImpl::attend_self(Layer& layer, const torch::Tensor& x, bool causal, std::size_t number,
                                              StackCache* cache) {
  const auto q = split(layer.self.query->forward(x));
  auto k = split(layer.self.key->forward(x)), v = split(layer.self.value->forward(x));
  if (cache) {
    if (number == cache->keys.size()) {
      cache->keys.push_back(torch::empty({k.size(0), k.size(1), cache->most, k.size(3)}, k.options()));
      cache->values.push_back(torch::empty_like(cache->keys.back()));
    }
    auto &keys = cache->keys[number], &values = cache->values[number];
    const auto after = cache->places + k.size(2);
    keys.slice(2, cache->places, after).copy_(k);
    values.slice(2, cache->places, after).copy_(v);
    k = keys.slice(2, 0, after);
    v = values.slice(2, 0, after);
  }
  return attend(q, k, v, causal);
}

torch::Tensor AttentionStackImpl::attend_cross(Layer& layer, const torch::Tensor& x, const torch::Tensor& context,
                                               std::size_t number, StackCache* cache) {
  const auto q = split(layer.cross.query->forward(x));
  if (cache && number < cache->cross_keys.size())
    return attend(q, cache->cross_keys[number], cache->cross_values[number], false);
  const auto k = split(layer.cross.key->forward(context)), v = split(layer.cross.value->forward(context));
  if (cache) {
    cache->cross_keys.push_back(k);
    cache->cross_values.push_back(v);
  }
  return attend(q, k, v, false);
}

torch::Tensor AttentionStackImpl::forward(torch::Tensor x, bool causal, const torch::Tensor& context,
                                          StackCache* cache) {
  const auto places = x.size(1);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto& layer = layers_[i];
    x = layer.self.output->forward_add(attend_self(layer, layer.norm1->forward(x), causal, i, cache), x);
    if (options_.cross)
      x = layer.cross.output->forward_add(attend_cross(layer, layer.norm2->forward(x), context, i, cache), x);
    x = layer.down->forward_add(layer.up->forward_gelu(layer.norm3->forward(x)), x);
  }
  if (cache) cache->places += places;
  return norm_->forward(x);
}

ImageBartImpl::ImageBartImpl(const ImageBartOptions& options) : options_(options) {
  options_.validate();
  const auto cells = options_.grid.cells(), codes = options_.codebook_size;
  const std::int64_t told = options_.classes > 0 ? 2 : 1;
  std::int64_t time = 0;
  for (const auto& own : options_.scales) {
    auto& scale = scales_.emplace_back();
    const auto name = fmt::format("scales.{}.", ++time);
    const auto embedding = [&](const std::string& part, std::int64_t rows, std::int64_t places) {
      const auto tokens = holder_of(name + part + ".token_embedding.weight");
      const auto positions = holder_of(name + part + ".position_embedding");
      return std::pair{tokens.first->register_parameter(tokens.second, new_parameter({rows, own.width})),
                       positions.first->register_parameter(positions.second, new_parameter({places, own.width}))};
    };
    const auto stack = [&](const std::string& part, std::int64_t layers, std::int64_t heads, bool cross) {
      const auto holder = holder_of(name + part + ".stack");
      return holder.first->register_module(
          holder.second, AttentionStack(AttentionStackImpl::Options{layers, heads, own.width, own.head_width, cross,
                                                                    !own.has_encoder()}));
    };
    if (own.has_encoder()) {
      std::tie(scale.encoder_tokens, scale.encoder_places) = embedding("encoder", own.vocabulary, told + cells);
      scale.encoder = stack("encoder", own.encoder_layers, own.encoder_heads, false);
    }
    std::tie(scale.decoder_tokens, scale.decoder_places) =
        embedding("decoder", own.has_encoder() ? codes : own.vocabulary, own.has_encoder() ? cells : told + cells - 1);
    scale.decoder = stack("decoder", own.decoder_layers, own.decoder_heads, own.has_encoder());
    const auto head = holder_of(name + "head");
    scale.head = head.first->register_module(head.second, Linear(own.width, codes, own.has_encoder()));
    if (own.residual) {
      const auto factor = holder_of(name + "log_scale");
      scale.log_scale = factor.first->register_parameter(factor.second, new_parameter({1}));
    }
  }
}

void ImageBartImpl::initialise(Seed seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  for (auto& item : named_parameters()) {
    // Norms keep their ones, biases and the residual's factor (the logarithm of 1) their zeros.
    if (item.value().dim() == 2) item.value().normal_(0, 0.02, generator);
  }
}

void ImageBartImpl::load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading) {
  const auto packed = packed_by_weight(*this);
  load(tensors, where, [&](const torch::Tensor& parameter, const torch::Tensor& given) {
    const auto layer = packed.find(parameter.unsafeGetTensorImpl());
    load_parameter(parameter, given, loading, layer == packed.end() ? nullptr : layer->second);
  });
}

void ImageBartImpl::check(const StepLook& look, const torch::Tensor& classes) const {
  const auto cells = options_.grid.cells();
  require(look.noised.dim() == 2 && look.noised.size(1) == cells && look.noised.scalar_type() == torch::kInt64,
          "imagebart: x_t is {}, expected [N, {}] int64", shape_text(look.noised), cells);
  require(look.time >= 1 && look.time <= options_.total_steps(), "imagebart: time {}, expected 1 to {}", look.time,
          options_.total_steps());
  if (options_.classes == 0) return;
  require(classes.defined() && classes.size(0) == look.noised.size(0) &&
              classes.max().item<std::int64_t>() < options_.classes,
          "imagebart: expected a class label below {} for each of {} rows", options_.classes, look.noised.size(0));
}

torch::Tensor ImageBartImpl::told(const torch::Tensor& table, std::int64_t time, std::int64_t count,
                                  const torch::Tensor& classes) {
  const auto own = table[time].expand({count, 1, table.size(1)});
  if (options_.classes == 0) return own;
  const auto labels = classes.to(table.device());
  const auto known = torch::embedding(table, labels.clamp_min(0));
  const auto none = table.slice(0, 0, options_.classes).mean(0, true);
  return torch::cat({own, torch::where(labels.unsqueeze(1) < 0, none, known).unsqueeze(1)}, 1);
}

torch::Tensor ImageBartImpl::encode(const StepLook& look, const torch::Tensor& classes) {
  check(look, classes);
  auto& scale = at(look.time);
  require(options_at(look.time).has_encoder(), "imagebart: no encoder at time {}", look.time);
  const auto tokens = torch::embedding(scale.encoder_tokens, look.noised.to(device()));
  const auto x = torch::cat({told(scale.encoder_tokens, look.time, tokens.size(0), classes), tokens}, 1);
  return scale.encoder->forward(x + scale.encoder_places, false);
}

torch::Tensor ImageBartImpl::logits_of(const StepLook& look, const torch::Tensor& decoded, std::int64_t first) {
  auto& scale = at(look.time);
  const auto logits = scale.head->forward_unrounded(decoded.contiguous());
  if (!options_at(look.time).residual) return logits;
  const auto same = look.noised.to(device()).slice(1, first, first + decoded.size(1)).unsqueeze(2);
  const auto step = torch::full_like(logits, look.log_other).scatter(2, same, look.log_same);
  return logits * scale.log_scale.exp() + step;
}

torch::Tensor ImageBartImpl::step_logits(const StepLook& look, const torch::Tensor& before,
                                         const torch::Tensor& classes) {
  check(look, classes);
  auto& scale = at(look.time);
  const auto count = look.noised.size(0), cells = options_.grid.cells();
  require(before.sizes() == look.noised.sizes(), "imagebart: x_{{t-1}} is {}, expected [{}, {}]", shape_text(before),
          count, cells);
  const auto tokens = torch::embedding(scale.decoder_tokens, before.to(device()).slice(1, 0, cells - 1));
  if (!options_at(look.time).has_encoder()) {
    const auto start = told(scale.decoder_tokens, look.time, count, classes);
    const auto x = torch::cat({start, tokens}, 1) + scale.decoder_places;
    return logits_of(look, scale.decoder->forward(x, true).slice(1, start.size(1) - 1), 0);
  }
  // The decoder starts from code 0.
  const auto start = scale.decoder_tokens[0].expand({count, 1, scale.decoder_tokens.size(1)});
  const auto x = torch::cat({start, tokens}, 1) + scale.decoder_places;
  return logits_of(look, scale.decoder->forward(x, true, encode(look, classes)), 0);
}

class StepDecoding : public Decoding {
 public:
  StepDecoding(std::shared_ptr<ImageBartImpl> network, StepLook look, torch::Tensor classes)
      : network_(std::move(network)), look_(std::move(look)), classes_(std::move(classes)) {
    const torch::NoGradGuard no_grad;
    network_->check(look_, classes_);
    cache_.most = network_->at(look_.time).decoder_places.size(0);
    if (network_->options_at(look_.time).has_encoder()) context_ = network_->encode(look_, classes_);
  }

  torch::Tensor advance(const torch::Tensor& previous) override {
    const torch::NoGradGuard no_grad;
    auto& scale = network_->at(look_.time);
    const auto& own = network_->options_at(look_.time);
    const auto cells = network_->options().grid.cells(), count = look_.noised.size(0);
    require(cell_ < cells, "imagebart: asked for cell {}, expected at most {}", cell_, cells - 1);
    require(previous.defined() == (cell_ > 0), "imagebart: decoding needs the previous tokens from the second cell on");
    torch::Tensor x;
    if (previous.defined()) {
      x = torch::embedding(scale.decoder_tokens, previous.to(network_->device())).unsqueeze(1);
    } else {
      x = own.has_encoder() ? scale.decoder_tokens[0].expand({count, 1, own.width})
                            : network_->told(scale.decoder_tokens, look_.time, count, classes_);
    }
    require(x.size(0) == count, "imagebart: {} previous tokens, expected {}", x.size(0), count);
    x = x + scale.decoder_places.slice(0, cache_.places, cache_.places + x.size(1));
    const auto decoded = scale.decoder->forward(x, !own.open_start, context_, &cache_).slice(1, -1);
    return network_->logits_of(look_, decoded, cell_++).squeeze(1);
  }

 private:
  std::shared_ptr<ImageBartImpl> network_;
  StepLook look_;
  torch::Tensor classes_, context_;
  StackCache cache_;
  std::int64_t cell_ = 0;
};

namespace {

class ImageBartEvaluator : public StepEvaluator {
 public:
  ImageBartEvaluator(std::shared_ptr<ImageBartImpl> network, std::vector<Condition> conditions)
      : network_(std::move(network)), conditions_(std::move(conditions)) {}

  std::unique_ptr<Decoding> decode_step(const StepLook& look) override {
    const auto count = look.noised.size(0);
    auto rows = rows_to_decode(conditions_, count, look.conditions);
    auto own = look;
    if (!rows.guided.empty())
      own.noised = torch::cat({look.noised, look.noised.index_select(0, torch::tensor(rows.guided))});
    auto inner = std::make_unique<StepDecoding>(network_, std::move(own), rows.classes(conditions_));
    return with_guidance(std::move(inner), std::move(rows));
  }

  torch::Tensor step_logits(const StepLook& look, const torch::Tensor& before) override {
    const auto rows = rows_to_decode(conditions_, look.noised.size(0), look.conditions);
    return network_->step_logits(look, before, rows.classes(conditions_).slice(0, 0, look.noised.size(0)));
  }

 private:
  std::shared_ptr<ImageBartImpl> network_;
  std::vector<Condition> conditions_;  // at least one
};

}  // namespace

std::unique_ptr<Evaluator> ImageBartImpl::begin(const std::vector<Condition>& conditions) {
  auto own = conditions.empty() ? std::vector<Condition>{Condition{}} : conditions;
  for (const auto& condition : own) check_condition(condition, options_.classes, 0);
  return std::make_unique<ImageBartEvaluator>(std::static_pointer_cast<ImageBartImpl>(shared_from_this()),
                                              std::move(own));
}

ShapeMap image_bart_shapes(const ImageBartOptions& options) {
  const ShapesOnly shapes_only;
  return shapes_of(*ImageBart(options));
}

namespace {

NetworkFacts facts_of_image_bart(const nlohmann::json& config) {
  const auto options = ImageBartOptions::from_config(config);
  const auto& first = options.scales.front();
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = first.decoder_layers;
  facts.heads = first.decoder_heads;
  facts.width = first.width;
  facts.total_steps = options.total_steps();
  facts.classes = options.classes;
  facts.autoregressive = true;
  return facts;
}

std::shared_ptr<Denoiser> load_image_bart(const NetworkInput& input) {
  const auto options = ImageBartOptions::from_config(input.config);
  match_parameters(input.tensors, image_bart_shapes(options), input.where);
  const UnsetParameters unset;
  ImageBart network(options);
  network->load_weights(input.tensors, input.where, input.loading);
  network->eval();
  network->set_precision(input.precision);
  network->to(input.device);
  return network.ptr();
}

}  // namespace

NetworkEntry image_bart_network() {
  return {"imagebart", "a transformer for each time step of a short chain, cell by cell; takes a class",
          "TesseraImageBart", facts_of_image_bart, load_image_bart};
}

}  // namespace tessera
