#include "denoiser/maskgit_transformer.h"

#include <cmath>

#include "kernels/ops/rms_norm.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kRmsEpsilon = 1e-5;

/// The row of `values` [U, C] that each of N rows is told, or with rows [M] of N * places each of these.
class OfEachRow {
 public:
  OfEachRow(torch::Tensor of_each, std::int64_t known) : of_each_(std::move(of_each)) {
    const auto in_order = torch::arange(of_each_.size(0), of_each_.options());
    if (of_each_.size(0) == known && of_each_.equal(in_order)) as_they_are_ = true;
  }
  /// From now on for the flat rows [M].
  void narrow(const torch::Tensor& rows, std::int64_t places) {
    of_each_ = of_each_.index_select(0, torch::div(rows, places, "floor"));
    as_they_are_ = false;
  }
  torch::Tensor operator()(const torch::Tensor& values) const {
    return as_they_are_ ? values : values.index_select(0, of_each_);
  }

 private:
  torch::Tensor of_each_;  // [N] or [M] int64
  bool as_they_are_ = false;
};

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

MaskGitClasses MaskGitTransformerImpl::read(const torch::Tensor& classes) {
  require(classes.dim() == 1 && classes.min().item<std::int64_t>() >= -1 &&
              classes.max().item<std::int64_t>() < options_.classes,
          "denoiser: expected classes below {}", options_.classes);
  const auto labels = classes.to(device());
  const auto condition =
      torch::silu(torch::embedding(classes_, torch::where(labels < 0, options_.classes, labels)));  // [U, C]
  MaskGitClasses read;
  for (auto& block : blocks_) {
    // Shift, scale, gate of attention, then of the feed-forward layer.
    const auto six = block.condition->forward_unrounded(condition).chunk(6, -1);
    const auto own = [](const torch::Tensor& part) { return part.contiguous(); };
    read.blocks.push_back(
        {block.norm1 * (1 + six[1]), own(six[0]), own(six[2]), block.norm2 * (1 + six[4]), own(six[3]), own(six[5])});
  }
  const auto two = last_condition_->forward_unrounded(condition).chunk(2, -1);  // shift, scale
  read.last_gain = last_norm_weight_ * (1 + two[1]);
  read.last_shift = torch::addcmul(two[0], last_norm_bias_, 1 + two[1]);
  return read;
}

torch::Tensor MaskGitTransformerImpl::mix(Block& block, const torch::Tensor& normed, ContextPass* context) {
  const auto value = block.value->forward(normed);
  const auto query = rms_norm(block.query->forward(normed), {}, kRmsEpsilon, {}, precision_);
  const auto key = rms_norm(block.key->forward(normed), {}, kRmsEpsilon, {}, precision_);
  const double scale = 1.0 / std::sqrt(static_cast<double>(options_.head_width));
  if (context) return context->attend(query, key, value, options_.heads, scale, precision_);
  return attention(query, key, value, options_.heads, scale, false, precision_);
}

torch::Tensor MaskGitTransformerImpl::forward(const torch::Tensor& tokens, const torch::Tensor& classes,
                                              const torch::Tensor& rows) {
  require(classes.dim() == 1 && classes.size(0) == tokens.size(0), "denoiser: expected a class for each of {} rows",
          tokens.size(0));
  return forward(tokens, read(classes), torch::arange(tokens.size(0)), rows);
}

torch::Tensor MaskGitTransformerImpl::forward(const torch::Tensor& given, const MaskGitClasses& read,
                                              const torch::Tensor& of_each, const torch::Tensor& wanted,
                                              ContextPass* context) {
  const auto count = given.size(0), cells = options_.grid.cells(), width = options_.width;
  require(given.dim() == 2 && given.size(1) == cells && given.scalar_type() == torch::kInt64,
          "denoiser: expected tokens [N, {}] int64", cells);
  require(of_each.dim() == 1 && of_each.size(0) == count, "denoiser: expected a class for each of {} rows", count);
  OfEachRow own(of_each.to(device()), read.last_gain.size(0));
  auto x = torch::embedding(tokens_, given.to(device())) + positions_;
  if (options_.registers > 0) x = torch::cat({x, registers_.expand({count, options_.registers, width})}, 1);
  note("embedded", x);
  // The cells' places among cells and registers.
  auto rows = wanted.defined() ? wanted.to(device()) : wanted;
  if (rows.defined()) rows = torch::div(rows, cells, "floor") * x.size(1) + torch::remainder(rows, cells);
  if (context) {
    require(rows.defined(), "denoiser: expected the rows asked for, where keys and values are kept");
    rows = context->rows(rows, x.size(1));
    x = context->taken(x);
  }
  const auto& first = read.blocks.front();
  auto normed = rms_norm(x, own(first.gain1), kRmsEpsilon, own(first.shift1), precision_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto name = fmt::format("block{}", i);
    const bool is_last = i + 1 == blocks_.size();
    auto& block = blocks_[i];
    const auto& told = read.blocks[i];
    auto mixed = mix(block, normed, context);
    if (is_last && rows.defined()) {
      mixed = mixed.flatten(0, 1).index_select(0, rows);
      own.narrow(rows, x.size(1));
      x = x.flatten(0, 1).index_select(0, rows);
    }
    const auto attended = block.output->forward_unrounded(mixed);
    note(name + "_attention", attended);
    auto both =
        rms_norm_of_gated_sum(x, own(told.gate1), attended, own(told.gain2), kRmsEpsilon, own(told.shift2), precision_);
    const auto hidden = gated_activation(Gated::silu, block.gate->forward(both.norm), block.up->forward(both.norm));
    const auto fed = block.down->forward_unrounded(hidden);
    note(name + "_mlp", fed);
    const auto& gain = is_last ? read.last_gain : read.blocks[i + 1].gain1;
    const auto& shift = is_last ? read.last_shift : read.blocks[i + 1].shift1;
    both = rms_norm_of_gated_sum(both.sum, own(told.gate2), fed, own(gain), kRmsEpsilon, own(shift), precision_);
    x = both.sum;
    normed = both.norm;
    note(name + "_out", x);
  }
  note("transformer_out", x);
  if (!rows.defined()) normed = normed.narrow(1, 0, cells);
  note("normed", normed);
  return linear_unrounded(normed, tokens_, head_bias_, precision_, &head_);
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
