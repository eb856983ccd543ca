#include "denoiser/conditional_transformer.h"

#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kEpsilon = 1e-5;

}  // namespace

ConditionalTransformerImpl::AdaptiveNorm ConditionalTransformerImpl::adaptive(const std::string& name,
                                                                              std::int64_t rows) {
  const auto width = options_.width();
  return {add(name + ".emb.weight", {rows, width}), add_linear(*this, name + ".linear", width, 2 * width)};
}

ConditionalTransformerImpl::Attention ConditionalTransformerImpl::attention_of(const std::string& name,
                                                                               std::int64_t keys) {
  const auto width = options_.width();
  return {add_linear(*this, name + ".to_q", width, width), add_linear(*this, name + ".to_k", keys, width),
          add_linear(*this, name + ".to_v", keys, width), add_linear(*this, name + ".to_out.0", width, width)};
}

ConditionalTransformerImpl::ConditionalTransformerImpl(const ConditionalOptions& options) : options_(options) {
  options_.validate();
  const auto width = options_.width();
  tokens_ = add("latent_image_embedding.emb.weight", {options_.codebook_size + 1, width});
  heights_ = add("latent_image_embedding.height_emb.weight", {options_.grid.h, width});
  widths_ = add("latent_image_embedding.width_emb.weight", {options_.grid.w, width});
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const auto name = fmt::format("transformer_blocks.{}.", i);
    Block block;
    block.norm1 = adaptive(name + "norm1", options_.total_steps);
    block.self = attention_of(name + "attn1", width);
    if (options_.condition_width > 0) {
      block.norm2 = adaptive(name + "norm2", options_.total_steps);
      block.cross = attention_of(name + "attn2", options_.condition_width);
    }
    if (options_.classes > 0) {
      block.norm3 = adaptive(name + "norm3", options_.classes);
    } else {
      block.norm3_weight = add(name + "norm3.weight", {width});
      block.norm3_bias = add(name + "norm3.bias", {width});
    }
    block.up = add_linear(*this, name + "ff.net.0.proj", width, options_.hidden_factor * width);
    block.down = add_linear(*this, name + "ff.net.2", options_.hidden_factor * width, width);
    blocks_.push_back(std::move(block));
  }
  norm_out_weight_ = add("norm_out.weight", {width});
  norm_out_bias_ = add("norm_out.bias", {width});
  head_ = add_linear(*this, "out", width, options_.codebook_size);
}

void ConditionalTransformerImpl::set_precision(Precision precision) {
  recorded_.forget();
  precision_ = precision;
  set_layers_precision(*this, precision);
  for (auto& layer : layers_of_norms()) layer->precision = Precision::float32;
}

std::vector<Linear> ConditionalTransformerImpl::layers_of_norms() const {
  std::vector<Linear> layers;
  for (const auto& block : blocks_) {
    for (const auto* norm : {&block.norm1, &block.norm2, &block.norm3}) {
      if (!norm->linear.is_empty()) layers.push_back(norm->linear);
    }
  }
  return layers;
}

torch::Tensor ConditionalTransformerImpl::add_to(Linear& layer, const torch::Tensor& x, const torch::Tensor& residual,
                                                 double dropout) {
  if (dropout > 0) return residual + drop_out(layer->forward(x), dropout, dropout_generator_);
  return layer->forward_add_onto(x, residual);
}

torch::Tensor ConditionalTransformerImpl::apply(AdaptiveNorm& layer, const torch::Tensor& x,
                                                const torch::Tensor& embedded) {
  const auto both = layer.linear->forward_unrounded(torch::silu(embedded));
  const auto parts = both.chunk(2, -1);  // scale, shift
  if (both.size(0) == 1) {
    return layer_norm(x, (1 + parts[0]).flatten(), parts[1].flatten(), kEpsilon, precision_);
  }
  return layer_norm(x, 1 + parts[0], parts[1], kEpsilon, precision_);
}

torch::Tensor ConditionalTransformerImpl::self_attention(Attention& layer, const torch::Tensor& x,
                                                         ContextPass* context) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(options_.head_width));
  if (context) {
    return context->attend(layer.query->forward(x), layer.key->forward(x), layer.value->forward(x), options_.heads,
                           scale, precision_);
  }
  if (!torch::GradMode::is_enabled()) {  // the packed weights of the three are kept
    return attention(layer.query->forward(x), layer.key->forward(x), layer.value->forward(x), options_.heads, scale,
                     false, precision_);
  }
  // In training one product and one gradient of x instead of three.
  const auto weight = torch::cat({layer.query->weight, layer.key->weight, layer.value->weight});
  const auto bias = torch::cat({layer.query->bias, layer.key->bias, layer.value->bias});
  return attention_qkv(linear(x, weight, bias, precision_), options_.heads, scale, false, precision_);
}

torch::Tensor ConditionalTransformerImpl::embed_classes(const AdaptiveNorm& layer, const torch::Tensor& classes) const {
  const auto none = (classes < 0).unsqueeze(1);
  const auto mean = layer.embedding.mean(0, true);
  return torch::where(none, mean, torch::embedding(layer.embedding, classes.clamp_min(0)));
}

void ConditionalTransformerImpl::note(const std::string& name, const torch::Tensor& x) const {
  if (record_) (*record_)[name] = x.detach().clone();  // x may be written over
}

torch::Tensor ConditionalTransformerImpl::forward(const torch::Tensor& given, const torch::Tensor& times,
                                                  const ConditionBatch& condition, const torch::Tensor& rows,
                                                  ContextPass* context) {
  const auto count = given.size(0), cells = options_.grid.cells();
  require(given.dim() == 2 && given.size(1) == cells && given.scalar_type() == torch::kInt64,
          "denoiser: expected tokens [N, {}] int64", cells);
  require(times.dim() == 1 && (times.size(0) == 1 || times.size(0) == count),
          "denoiser: expected one time, or one for each of {} rows, got {}", count, times.size(0));
  require(times.min().item<std::int64_t>() >= 1 && times.max().item<std::int64_t>() <= options_.total_steps,
          "denoiser: time {}, expected 1 to {}", times.max().item<std::int64_t>(), options_.total_steps);
  const auto tokens = given.to(device());
  const auto at = times.to(device()) - 1;
  ConditionBatch on;
  if (options_.condition_width > 0 && condition.keys_and_values.defined()) {
    require(condition.texts.defined() && condition.texts.size(0) == count,
            "denoiser: expected the text of each of {} rows", count);
    on.keys_and_values = condition.keys_and_values;
    on.texts = condition.texts.to(device());
  } else if (options_.condition_width > 0) {
    require(condition.states.defined() && condition.states.dim() == 3 &&
                condition.states.size(2) == options_.condition_width,
            "denoiser: expected text states [N, P, {}]", options_.condition_width);
    on.states = condition.states.to(device()).expand({count, condition.states.size(1), options_.condition_width});
  }
  if (options_.classes > 0) {
    require(condition.classes.defined() && condition.classes.max().item<std::int64_t>() < options_.classes,
            "denoiser: expected class labels below {}", options_.classes);
    on.classes = condition.classes.to(device());
  }
  const auto wanted = rows.defined() ? rows.to(device()) : rows;
  if (context) {
    require(rows.defined(), "denoiser: expected the rows asked for, where keys and values are kept");
    return evaluate(tokens, at, on, wanted, context);
  }
  const bool otherwise = is_training() || record_ != nullptr || tokens.numel() > kMostRecordedCells;
  if (!recorded_.applies(tokens_, otherwise)) return evaluate(tokens, at, on, wanted);
  // Every cell, so that one recording serves whatever cells are asked for.
  const auto all =
      recorded_({tokens, at, on.states, on.classes, on.keys_and_values, on.texts}, {tokens_}, [this](const auto& kept) {
        return evaluate(kept[0], kept[1], {kept[2], kept[3], kept[4], kept[5]}, {});
      });
  return rows.defined() ? all.flatten(0, 1).index_select(0, wanted) : all;
}

torch::Tensor ConditionalTransformerImpl::keys_and_values(const torch::Tensor& states) {
  require(options_.condition_width > 0 && states.dim() == 3 && states.size(2) == options_.condition_width,
          "denoiser: expected text states [U, P, {}]", options_.condition_width);
  const auto given = states.to(device());
  std::vector<torch::Tensor> blocks;
  for (auto& block : blocks_)
    blocks.push_back(torch::stack({block.cross.key->forward(given), block.cross.value->forward(given)}));
  return torch::stack(blocks);
}

std::pair<torch::Tensor, torch::Tensor> ConditionalTransformerImpl::text_of(std::size_t block, std::int64_t count,
                                                                            const ConditionBatch& condition) {
  auto& cross = blocks_[block].cross;
  if (condition.states.defined()) return {cross.key->forward(condition.states), cross.value->forward(condition.states)};
  const auto both = condition.keys_and_values[static_cast<std::int64_t>(block)];  // [2, U, P, C]
  if (both.size(1) == 1 && count == 1) return {both[0], both[1]};
  return {both[0].index_select(0, condition.texts), both[1].index_select(0, condition.texts)};
}

torch::Tensor ConditionalTransformerImpl::evaluate(const torch::Tensor& tokens, const torch::Tensor& at,
                                                   const ConditionBatch& condition, const torch::Tensor& wanted,
                                                   ContextPass* context) {
  const auto cells = options_.grid.cells(), width = options_.width();
  const double dropout = is_training() ? options_.dropout : 0;
  const double scale = 1.0 / std::sqrt(static_cast<double>(options_.head_width));
  const auto positions = (heights_.unsqueeze(1) + widths_.unsqueeze(0)).view({cells, width});
  auto x = torch::embedding(tokens_, tokens) + positions;  // [N, L, C]
  auto rows = wanted;
  if (context) {
    rows = context->rows(rows, cells);
    x = context->taken(x);
  }
  x = x.to(type_of_residuals(precision_, x.scalar_type()));
  note("latent_image_embedding", x);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    auto& block = blocks_[i];
    const auto name = fmt::format("block{}", i);
    auto normed = apply(block.norm1, x, torch::embedding(block.norm1.embedding, at));
    note(name + ".norm1", normed);
    auto mixed = self_attention(block.self, normed, context);
    if (record_) note(name + ".attn1", block.self.output->forward(mixed));
    x = add_to(block.self.output, mixed, x, dropout);
    if (options_.condition_width > 0) {
      normed = apply(block.norm2, x, torch::embedding(block.norm2.embedding, at));
      note(name + ".norm2", normed);
      const auto [keys, values] = text_of(i, tokens.size(0), condition);
      mixed = attention(block.cross.query->forward(normed), keys, values, options_.heads, scale, false, precision_);
      if (record_) note(name + ".attn2", block.cross.output->forward(mixed));
      x = add_to(block.cross.output, mixed, x, dropout);
    }
    if (options_.classes > 0) {
      normed = apply(block.norm3, x, embed_classes(block.norm3, condition.classes));
    } else {
      normed = layer_norm(x, block.norm3_weight, block.norm3_bias, kEpsilon, precision_);
    }
    note(name + ".norm3", normed);
    if (rows.defined() && i + 1 == blocks_.size()) {
      normed = normed.flatten(0, 1).index_select(0, rows);
      x = x.flatten(0, 1).index_select(0, rows);
    }
    torch::Tensor activated;
    if (options_.exact_gelu) {
      activated = block.up->forward_gelu(normed);
    } else {
      const auto hidden = block.up->forward(normed);
      activated = hidden * torch::sigmoid(1.702 * hidden);
    }
    if (record_) note(name + ".ff", block.down->forward(activated));
    x = add_to(block.down, activated, x, dropout);
    note(name, x);
  }
  x = layer_norm(x, norm_out_weight_, norm_out_bias_, kEpsilon, precision_);
  note("norm_out", x);
  const auto logits = head_->forward_unrounded(x);
  note("logits", logits);
  return logits;
}

void ConditionalTransformerImpl::initialise(Seed seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  for (const auto& item : named_parameters()) {
    auto value = item.value();
    if (value.dim() == 2) {
      // States of a text have length 1, normalised hidden states have sqrt(width): keys and values of a text would
      // begin so much smaller than those of the cells, and for thousands of steps the network would not listen to it.
      const bool of_text =
          item.key().find("attn2.to_k") != std::string::npos || item.key().find("attn2.to_v") != std::string::npos;
      value.normal_(0, of_text ? 0.02 * std::sqrt(static_cast<double>(value.size(1))) : 0.02, generator);
    } else {
      const bool is_norm =
          item.key().find("norm") != std::string::npos && item.key().find(".linear.") == std::string::npos;
      value.fill_(is_norm && item.key().ends_with("weight") ? 1.0 : 0.0);
    }
  }
}

void ConditionalTransformerImpl::load_weights(const TensorMap& tensors, const std::string& where,
                                              WeightLoading loading) {
  auto packed = packed_by_weight(*this);
  for (const auto& layer : layers_of_norms()) packed.erase(layer->weight.unsafeGetTensorImpl());
  load(tensors, where, [&](const torch::Tensor& parameter, const torch::Tensor& given) {
    const auto layer = packed.find(parameter.unsafeGetTensorImpl());
    load_parameter(parameter, given, loading, layer == packed.end() ? nullptr : layer->second);
  });
}

void ConditionalTransformerImpl::seed_dropout(std::uint64_t bits) {
  if (!dropout_generator_) dropout_generator_ = at::globalContext().defaultGenerator(device()).clone();
  dropout_generator_->set_current_seed(bits);
}

ConditionalTransformer load_conditional(const nlohmann::json& config, const TensorMap& tensors,
                                        const std::string& where, WeightLoading loading) {
  const auto options = ConditionalOptions::from_config(config);
  match_network<ConditionalTransformer>(options, tensors, where);
  const UnsetParameters unset;
  ConditionalTransformer network(options);
  network->load_weights(tensors, where, loading);
  network->eval();
  return network;
}

}  // namespace tessera
