#include "denoiser/uvit.h"

#include <cmath>

#include "kernels/ops/rms_norm.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kMicro = 5;           // numbers that the network is told beside the text
constexpr std::int64_t kResidualFactor = 4;  // the residual blocks' MLPs are C, 4 C, C
constexpr double kResponseEpsilon = 1e-6;    // of the global response norm

/// gamma x n + beta + x, n the share of each channel in the response of the whole map (Woo et al., ConvNeXt V2,
/// arXiv:2301.00808, section 3.2). x: [N, h, w, C].
torch::Tensor response_norm(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta) {
  const auto wide = x.scalar_type() == torch::kFloat64 ? x : x.to(torch::kFloat32);
  const auto response = wide.norm(2, {1, 2}, true);
  const auto share = response / (response.mean(-1, true) + kResponseEpsilon);
  return torch::addcmul(beta, wide, gamma * share + 1);
}

/// What [U, C] says of each row: [N, C], or [C] where all rows are told the same.
torch::Tensor of_rows(const torch::Tensor& values, const torch::Tensor& texts) {
  return values.size(0) == 1 ? values[0] : values.index_select(0, texts);
}

/// The same for x [N, h, w, C].
torch::Tensor of_maps(const torch::Tensor& values, const torch::Tensor& texts) {
  const auto own = of_rows(values, texts);
  return own.dim() == 1 ? own : own.unsqueeze(1).unsqueeze(1);
}

torch::Tensor channels_first(const torch::Tensor& x) {
  return x.permute({0, 3, 1, 2});
}

torch::Tensor channels_last(const torch::Tensor& x) {
  return x.permute({0, 2, 3, 1});
}

}  // namespace

torch::Tensor micro_embedding(const torch::Tensor& micro, std::int64_t width) {
  const auto half = width / 2;
  const auto steps = torch::arange(half, torch::TensorOptions().dtype(torch::kFloat32).device(micro.device()));
  const auto frequencies = torch::exp(steps * (-std::log(10000.0) / static_cast<double>(half)));
  const auto angles = micro.to(torch::kFloat32).unsqueeze(-1) * frequencies;  // [U, 5, half]
  return torch::cat({angles.cos(), angles.sin()}, -1).flatten(1);
}

torch::Tensor UVitImpl::Pointwise::apply(const torch::Tensor& x, Precision precision) {
  return linear_unrounded(x, weight.flatten(1), {}, precision, &packed);
}

Linear UVitImpl::product(const std::string& name, std::int64_t in, std::int64_t out) {
  const auto [holder, own] = holder_of(name);
  return holder->register_module(own, Linear(in, out, false));
}

UVitImpl::Attention UVitImpl::attention_of(const std::string& name, std::int64_t width) {
  return {product(name + ".to_q", width, width), product(name + ".to_k", width, width),
          product(name + ".to_v", width, width), product(name + ".to_out.0", width, width)};
}

UVitImpl::AdaptiveNorm UVitImpl::adaptive(const std::string& name) {
  const auto width = options_.width;
  return {add(name + ".norm.weight", {width}), product(name + ".linear", width, 2 * width)};
}

UVitImpl::Stage UVitImpl::stage(const std::string& name) {
  const auto channels = options_.channels, wide = kResidualFactor * options_.channels;
  Stage made;
  for (std::int64_t i = 0; i < options_.blocks; ++i) {
    const auto residual = fmt::format("{}.res_blocks.{}.", name, i);
    ResidualBlock block;
    block.depthwise = add(residual + "depthwise.weight", {channels, 1, 3, 3});
    block.norm = add(residual + "norm.weight", {channels});
    block.up = product(residual + "channelwise_linear_1", channels, wide);
    block.gamma = add(residual + "channelwise_norm.gamma", {1, 1, 1, wide});
    block.beta = add(residual + "channelwise_norm.beta", {1, 1, 1, wide});
    block.down = product(residual + "channelwise_linear_2", wide, channels);
    block.condition = product(residual + "cond_embeds_mapper", options_.width, 2 * channels);
    made.residual.push_back(std::move(block));
    const auto attention = fmt::format("{}.attention_blocks.{}.", name, i);
    TextBlock text;
    if (options_.width != channels) text.text = product(attention + "kv_mapper", options_.width, channels);
    text.norm1 = add(attention + "norm1.weight", {channels});
    text.first = attention_of(attention + "attn1", channels);
    text.norm2 = add(attention + "norm2.weight", {channels});
    text.second = attention_of(attention + "attn2", channels);
    made.attention.push_back(std::move(text));
  }
  return made;
}

UVitImpl::UVitImpl(const UVitOptions& options) : options_(options) {
  options_.validate();
  const auto width = options_.width, channels = options_.channels, embedding = options_.embedding;
  text_ = product("encoder_proj", options_.text_width, width);
  text_norm_ = add("encoder_proj_layer_norm.weight", {width});
  pooled_ = product("cond_embed.linear_1", options_.pooled_width + kMicro * options_.micro_width, width);
  condition_ = product("cond_embed.linear_2", width, width);
  tokens_ = add("embed.embeddings.weight", {options_.vocabulary, embedding});
  token_norm_ = add("embed.layer_norm.weight", {embedding});
  token_mix_.weight = add("embed.conv.weight", {channels, embedding, 1, 1});
  if (options_.halves) {
    half_norm_ = add("down_block.downsample.norm.weight", {channels});
    half_ = add("down_block.downsample.conv.weight", {channels, channels, 2, 2});
    double_norm_ = add("up_block.upsample.norm.weight", {channels});
    double_ = add("up_block.upsample.conv.weight", {channels, channels, 2, 2});
  }
  before_ = stage("down_block");
  inward_norm_ = add("project_to_hidden_norm.weight", {channels});
  inward_ = product("project_to_hidden", channels, width);
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const auto name = fmt::format("transformer_layers.{}.", i);
    Layer layer;
    layer.norm1 = adaptive(name + "norm1");
    layer.self = attention_of(name + "attn1", width);
    layer.norm2 = adaptive(name + "norm2");
    layer.cross = attention_of(name + "attn2", width);
    layer.norm3 = adaptive(name + "norm3");
    layer.up = product(name + "ff.net.0.proj", width, 2 * options_.hidden);
    layer.down = product(name + "ff.net.2", options_.hidden, width);
    layers_.push_back(std::move(layer));
  }
  outward_norm_ = add("project_from_hidden_norm.weight", {width});
  outward_ = product("project_from_hidden", width, channels);
  after_ = stage("up_block");
  head1_.weight = add("mlm_layer.conv1.weight", {embedding, channels, 1, 1});
  head_norm_ = add("mlm_layer.layer_norm.weight", {embedding});
  head2_.weight = add("mlm_layer.conv2.weight", {options_.codebook_size, embedding, 1, 1});
}

void UVitImpl::set_precision(Precision precision) {
  precision_ = precision;
  set_layers_precision(*this, precision);
}

void UVitImpl::note(const std::string& name, const torch::Tensor& x) const {
  if (record_) (*record_)[name] = x.detach().clone();  // x may be written over
}

void UVitImpl::read_attention(Attention& layer, const torch::Tensor& states, UVitTexts& out) {
  out.keys.push_back(layer.key->forward(states));
  out.values.push_back(layer.value->forward(states));
}

void UVitImpl::read_stage(Stage& stage, const torch::Tensor& states, const torch::Tensor& activated, UVitTexts& out) {
  for (std::size_t i = 0; i < stage.residual.size(); ++i) {
    const auto both = stage.residual[i].condition->forward_unrounded(activated).chunk(2, -1);  // scale, shift
    out.gains.push_back(1 + both[0]);
    out.shifts.push_back(both[1]);
    auto& block = stage.attention[i];
    const auto own = block.text.is_empty() ? states : block.text->forward(torch::silu(states));
    read_attention(block.first, own, out);
    read_attention(block.second, own, out);
  }
}

UVitTexts UVitImpl::read(const torch::Tensor& given, const torch::Tensor& pooled, const torch::Tensor& micro) {
  require(given.dim() == 3 && given.size(2) == options_.text_width, "denoiser: expected text states [U, P, {}]",
          options_.text_width);
  require(pooled.dim() == 2 && pooled.size(0) == given.size(0) && pooled.size(1) == options_.pooled_width,
          "denoiser: expected a text as one vector [{}, {}]", given.size(0), options_.pooled_width);
  require(micro.dim() == 2 && micro.size(0) == given.size(0) && micro.size(1) == kMicro,
          "denoiser: expected width, height, crop and score [{}, {}]", given.size(0), kMicro);
  const auto states =
      rms_norm(text_->forward_unrounded(given.to(device())), text_norm_, options_.epsilon);  // [U, P, width]
  note("text_projected", states);
  const auto numbers = micro_embedding(micro.to(device()), options_.micro_width);
  note("micro_embedding", numbers);
  const auto vector = torch::cat({pooled.to(device()).to(numbers.scalar_type()), numbers}, 1);
  const auto condition = condition_->forward_unrounded(torch::silu(pooled_->forward_unrounded(vector)));
  note("condition", condition);
  const auto activated = torch::silu(condition);  // once more
  UVitTexts out;
  read_stage(before_, states, activated, out);
  for (auto& layer : layers_) {
    for (auto* norm : {&layer.norm1, &layer.norm2, &layer.norm3}) {
      const auto both = norm->linear->forward_unrounded(activated).chunk(2, -1);
      out.gains.push_back(norm->weight * (1 + both[0]));
      out.shifts.push_back(both[1].contiguous());
    }
    read_attention(layer.cross, states, out);
  }
  read_stage(after_, states, activated, out);
  return out;
}

torch::Tensor UVitImpl::to_text(Attention& layer, const torch::Tensor& normed, const torch::Tensor& x,
                                std::int64_t heads, const UVitTexts& read, const torch::Tensor& texts, Place& at) {
  const auto& keys = read.keys[at.attention];
  const auto& values = read.values[at.attention++];
  const bool alone = keys.size(0) == 1 && normed.size(0) == 1;
  const auto head_width = normed.size(2) / heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  const auto context = attention(layer.query->forward(normed), alone ? keys : keys.index_select(0, texts),
                                 alone ? values : values.index_select(0, texts), heads, scale, false, precision_);
  return layer.output->forward_add_onto(context, x);
}

torch::Tensor UVitImpl::walk(Stage& stage, torch::Tensor x, const UVitTexts& read, const torch::Tensor& texts,
                             Place& at, const char* name) {
  const auto shape = x.sizes().vec();
  const auto channels = options_.channels;
  for (std::size_t i = 0; i < stage.residual.size(); ++i) {
    auto& block = stage.residual[i];
    const auto mixed = at::conv2d(channels_first(x), block.depthwise.to(x.scalar_type()), {}, 1, 1, 1, channels);
    const auto normed = rms_norm(channels_last(mixed).contiguous(), block.norm, options_.epsilon, {}, precision_);
    const auto hidden = response_norm(block.up->forward_gelu(normed), block.gamma, block.beta);
    x = block.down->forward_add(hidden, x);
    const auto& gain = read.gains[at.shift];
    const auto& shift = read.shifts[at.shift++];
    x = torch::addcmul(of_maps(shift, texts), x, of_maps(gain, texts));
    if (i == 0) note(fmt::format("{}_res0", name), channels_first(x));
    auto& text = stage.attention[i];
    x = x.flatten(1, 2);  // [N, L, C]
    x = to_text(text.first, rms_norm(x, text.norm1, options_.epsilon, {}, precision_), x, options_.block_heads, read,
                texts, at);
    x = to_text(text.second, rms_norm(x, text.norm2, options_.epsilon, {}, precision_), x, options_.block_heads, read,
                texts, at);
    if (i == 0) note(fmt::format("{}_attention0", name), x);
    x = x.reshape(shape);
  }
  return x;
}

torch::Tensor UVitImpl::apply(Layer& layer, torch::Tensor x, const UVitTexts& read, const torch::Tensor& texts,
                              Place& at, const std::string& name, ContextPass* context) {
  const auto next = [&](const torch::Tensor& of) {
    const auto place = at.shift++;
    return rms_norm(of, of_rows(read.gains[place], texts), options_.epsilon, of_rows(read.shifts[place], texts),
                    precision_);
  };
  const auto head_width = options_.width / options_.heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  auto normed = next(x);
  note(name + "_norm1", normed);
  const auto query = layer.self.query->forward(normed), key = layer.self.key->forward(normed),
             value = layer.self.value->forward(normed);
  const auto mixed = context ? context->attend(query, key, value, options_.heads, scale, precision_)
                             : attention(query, key, value, options_.heads, scale, false, precision_);
  x = layer.self.output->forward_add_onto(mixed, x);
  x = to_text(layer.cross, next(x), x, options_.heads, read, texts, at);
  // The third norm removes the mean.
  const auto place = at.shift++;
  normed = layer_norm(x, of_rows(read.gains[place], texts), of_rows(read.shifts[place], texts), options_.epsilon,
                      precision_);
  const auto both = layer.up->forward(normed).chunk(2, -1);
  const auto hidden = gated_activation(Gated::gelu, both[1], both[0]);
  if (record_) note(name + "_mlp", layer.down->forward(hidden));
  x = layer.down->forward_add_onto(hidden, x);
  note(name, x);
  return x;
}

torch::Tensor UVitImpl::forward(const torch::Tensor& given, const UVitTexts& read, const torch::Tensor& of_each,
                                const torch::Tensor& rows, ContextPass* context) {
  require(given.dim() == 3 && given.scalar_type() == torch::kInt64, "denoiser: expected tokens [N, h, w] int64");
  require(of_each.dim() == 1 && of_each.size(0) == given.size(0), "denoiser: expected the text of each of {} rows",
          given.size(0));
  require(!options_.halves || (given.size(1) % 2 == 0 && given.size(2) % 2 == 0),
          "denoiser: a grid of {}x{} cells, expected even sides", given.size(1), given.size(2));
  const auto texts = of_each.to(device());
  const auto tokens = given.to(device());
  const auto ids = tokens.masked_fill(tokens == options_.codebook_size, options_.vocabulary - 1);
  auto x = rms_norm(torch::embedding(tokens_, ids), token_norm_, options_.epsilon, {}, precision_);
  x = token_mix_.apply(x, precision_);  // [N, h, w, C]
  note("embed", channels_first(x));
  Place at;
  if (options_.halves)
    x = channels_last(
            at::conv2d(channels_first(rms_norm(x, half_norm_, options_.epsilon)), half_.to(x.scalar_type()), {}, 2))
            .contiguous();
  x = walk(before_, x, read, texts, at, "down");
  note("down", channels_first(x));
  const auto shape = x.sizes().vec();
  x = x.flatten(1, 2);
  if (context) x = context->taken(x);
  auto y = inward_->forward_unrounded(rms_norm(x, inward_norm_, options_.epsilon, {}, precision_));
  for (std::size_t i = 0; i < layers_.size(); ++i)
    y = apply(layers_[i], y, read, texts, at, fmt::format("layer{}", i), context);
  if (context) y = context->whole(y);
  x = outward_->forward_unrounded(rms_norm(y, outward_norm_, options_.epsilon, {}, precision_)).view(shape);
  x = walk(after_, x, read, texts, at, "up");
  if (options_.halves)
    x = channels_last(at::conv_transpose2d(channels_first(rms_norm(x, double_norm_, options_.epsilon)),
                                           double_.to(x.scalar_type()), {}, 2))
            .contiguous();
  note("up", channels_first(x));
  if (rows.defined()) x = x.flatten(0, 2).index_select(0, rows.to(device()));
  x = rms_norm(head1_.apply(x, precision_), head_norm_, options_.epsilon, {}, precision_);
  return head2_.apply(x, precision_);
}

void UVitImpl::initialise(Seed seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  for (const auto& item : named_parameters()) {
    auto value = item.value();
    const auto& name = item.key();
    if (name.ends_with(".gamma") || name.ends_with(".beta")) {
      value.zero_();
    } else if (value.dim() == 1) {
      value.fill_(1);
    } else {
      value.normal_(0, 0.02, generator);
    }
  }
}

void UVitImpl::load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading) {
  const auto packed = packed_by_weight(*this);
  load(tensors, where, [&](const torch::Tensor& parameter, const torch::Tensor& given) {
    const auto layer = packed.find(parameter.unsafeGetTensorImpl());
    load_parameter(parameter, given, loading, layer == packed.end() ? nullptr : layer->second);
  });
}

UVit load_uvit(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
               WeightLoading loading) {
  const auto options = UVitOptions::from_config(config);
  match_network<UVit>(options, tensors, where);
  const UnsetParameters unset;
  UVit network(options);
  network->load_weights(tensors, where, loading);
  network->eval();
  return network;
}

}  // namespace tessera
