#include "denoiser/maskgit_transformer.h"

#include <cmath>

#include "nn/rms_norm.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kRmsEpsilon = 1e-5;

/// rms_norm(x, weight, bias) (1 + scale) + shift. In: x [N, S, C], weight and bias [C] (bias may be undefined), shift
/// and scale [N, 1, C].
torch::Tensor modulated(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                        const torch::Tensor& shift, const torch::Tensor& scale) {
  const auto gain = 1 + scale;
  return rms_norm(x, weight * gain, kRmsEpsilon, bias.defined() ? torch::addcmul(shift, bias, gain) : shift);
}

/// Of each row, for x [N, S, C] or, with rows [M] of N * S, for [M, C]. In: values [N, C].
torch::Tensor spread_over(const torch::Tensor& values, const torch::Tensor& rows, std::int64_t places) {
  return rows.defined() ? values.index_select(0, torch::div(rows, places, "floor")) : values.unsqueeze(1);
}

}  // namespace

Linear MaskGitTransformerImpl::product(const std::string& name, std::int64_t in, std::int64_t out) {
  const auto [holder, own] = holder_of(name);
  return holder->register_module(own, Linear(in, out, false));
}

MaskGitTransformerImpl::MaskGitTransformerImpl(const MaskGitOptions& options) : options_(options) {
  options_.validate();
  const auto width = options_.width, inner = options_.heads * options_.head_width;
  classes_ = add("cls_emb.weight", {options_.classes + 1, width});
  tokens_ = add("tok_emb.weight", {options_.codebook_size + 1, width});
  positions_ = add("pos_emb.weight", {options_.grid.cells(), width});
  if (options_.registers > 0) registers_ = add("reg_tokens.weight", {options_.registers, width});
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const auto name = fmt::format("transformer.layers.{}.", i);
    Block block;
    block.condition = add_linear(*this, name + "mlp.1", width, 6 * width);
    block.norm1 = add(name + "ln1.weight", {width});
    block.query = product(name + "attn.wq", width, inner);
    block.key = product(name + "attn.wk", width, inner);
    block.value = product(name + "attn.wv", width, inner);
    block.output = product(name + "attn.wo", inner, width);
    block.norm2 = add(name + "ln2.weight", {width});
    block.gate = product(name + "ff.w1", width, options_.hidden);
    block.down = product(name + "ff.w2", options_.hidden, width);
    block.up = product(name + "ff.w3", width, options_.hidden);
    blocks_.push_back(std::move(block));
  }
  last_norm_weight_ = add("last_norm.norm_final.weight", {width});
  last_norm_bias_ = add("last_norm.norm_final.bias", {width});
  last_condition_ = add_linear(*this, "last_norm.mlp.1", width, 2 * width);
  head_bias_ = add("head.bias", {options_.codebook_size + 1});
}

std::vector<Linear> MaskGitTransformerImpl::layers_of_condition() const {
  std::vector<Linear> layers = {last_condition_};
  for (const auto& block : blocks_) layers.push_back(block.condition);
  return layers;
}

void MaskGitTransformerImpl::set_precision(Precision precision) {
  precision_ = precision;
  set_layers_precision(*this, precision);
  for (auto& layer : layers_of_condition()) layer->precision = Precision::float32;
}

void MaskGitTransformerImpl::note(const std::string& name, const torch::Tensor& x) const {
  if (record_) (*record_)[name] = x.detach().clone();
}

torch::Tensor MaskGitTransformerImpl::apply(Block& block, const torch::Tensor& x, const torch::Tensor& condition,
                                            const torch::Tensor& rows, const std::string& name) {
  const auto six = block.condition->forward_unrounded(condition).chunk(6, -1);  // [N, C] each
  const auto places = x.size(1);
  auto normed = modulated(x, block.norm1, {}, six[0].unsqueeze(1), six[1].unsqueeze(1));
  const auto ones = torch::ones({1}, x.options().dtype(torch::kFloat32));
  const auto value = block.value->forward(normed);
  const auto query = rms_norm(block.query->forward(normed), ones, kRmsEpsilon).to(value.scalar_type());
  const auto key = rms_norm(block.key->forward(normed), ones, kRmsEpsilon).to(value.scalar_type());
  const double scale = 1.0 / std::sqrt(static_cast<double>(options_.head_width));
  auto context = attention(query, key, value, options_.heads, scale, false, precision_);
  auto residual = x;
  if (rows.defined()) {
    context = context.flatten(0, 1).index_select(0, rows);
    residual = x.flatten(0, 1).index_select(0, rows);
  }
  const auto attended = block.output->forward_unrounded(context);
  note(name + "_attention", attended);
  residual = torch::addcmul(residual, spread_over(six[2], rows, places), attended);
  normed = modulated(residual, block.norm2, {}, spread_over(six[3], rows, places), spread_over(six[4], rows, places));
  const auto hidden = torch::silu(block.gate->forward(normed)) * block.up->forward(normed);
  const auto fed = block.down->forward_unrounded(hidden);
  note(name + "_mlp", fed);
  return torch::addcmul(residual, spread_over(six[5], rows, places), fed);
}

torch::Tensor MaskGitTransformerImpl::forward(const torch::Tensor& given, const torch::Tensor& classes,
                                              const torch::Tensor& wanted) {
  const auto count = given.size(0), cells = options_.grid.cells(), width = options_.width;
  require(given.dim() == 2 && given.size(1) == cells && given.scalar_type() == torch::kInt64,
          "denoiser: expected tokens [N, {}] int64", cells);
  require(classes.dim() == 1 && classes.size(0) == count && classes.min().item<std::int64_t>() >= -1 &&
              classes.max().item<std::int64_t>() < options_.classes,
          "denoiser: expected a class below {} for each of {} rows", options_.classes, count);
  const auto labels = classes.to(device());
  const auto own = torch::embedding(classes_, torch::where(labels < 0, options_.classes, labels));
  const auto condition = torch::silu(own);  // [N, C]
  auto x = torch::embedding(tokens_, given.to(device())) + positions_;
  if (options_.registers > 0) x = torch::cat({x, registers_.expand({count, options_.registers, width})}, 1);
  note("embedded", x);
  const auto places = x.size(1);
  // The cells' places among cells and registers.
  auto rows = wanted.defined() ? wanted.to(device()) : wanted;
  if (rows.defined()) rows = torch::div(rows, cells, "floor") * places + torch::remainder(rows, cells);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const bool is_last = i + 1 == blocks_.size();
    x = apply(blocks_[i], x, condition, is_last ? rows : torch::Tensor(), fmt::format("block{}", i));
    note(fmt::format("block{}_out", i), x);
  }
  note("transformer_out", x);
  if (!rows.defined()) x = x.narrow(1, 0, cells);
  const auto two = last_condition_->forward_unrounded(condition).chunk(2, -1);  // shift, scale
  x = modulated(x, last_norm_weight_, last_norm_bias_, spread_over(two[0], rows, places),
                spread_over(two[1], rows, places));
  note("normed", x);
  return linear_unrounded(x, tokens_, head_bias_, precision_, &head_);
}

void MaskGitTransformerImpl::load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading) {
  auto packed = packed_by_weight(*this);
  for (const auto& layer : layers_of_condition()) packed.erase(layer->weight.unsafeGetTensorImpl());
  load(tensors, where, [&](const torch::Tensor& parameter, const torch::Tensor& given) {
    const auto layer = packed.find(parameter.unsafeGetTensorImpl());
    load_parameter(parameter, given, loading, layer == packed.end() ? nullptr : layer->second);
  });
}

MaskGitTransformer load_maskgit(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
                                WeightLoading loading) {
  const auto options = MaskGitOptions::from_config(config);
  match_network<MaskGitTransformer>(options, tensors, where);
  const UnsetParameters unset;
  MaskGitTransformer network(options);
  network->load_weights(tensors, where, loading);
  network->eval();
  return network;
}

}  // namespace tessera
