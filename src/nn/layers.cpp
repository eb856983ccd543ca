#include "nn/layers.h"

#include <cmath>
#include <limits>

#include "checkpoint/named_module.h"
#include "kernels/ops/operands.h"
#include "kernels/ops/weight_loading.h"

namespace tessera {

torch::Tensor new_parameter(at::IntArrayRef shape) {
  return ShapesOnly::active() ? torch::empty(shape, torch::kMeta) : parameter_of_zeros(shape);
}

LinearImpl::LinearImpl(std::int64_t in, std::int64_t out, bool with_bias) {
  weight = register_parameter("weight", new_parameter({out, in}));
  if (with_bias) bias = register_parameter("bias", new_parameter({out}));
}

Linear add_linear(NamedModule& network, const std::string& name, std::int64_t in, std::int64_t out) {
  const auto [holder, own] = network.holder_of(name);
  return holder->register_module(own, Linear(in, out));
}

void set_layers_precision(torch::nn::Module& network, Precision precision) {
  for (const auto& module : network.modules(false)) {
    if (auto* layer = module->as<LinearImpl>()) layer->precision = precision;
    if (auto* norm = module->as<LayerNormImpl>()) norm->precision = precision;
  }
}

std::map<const c10::TensorImpl*, PackedWeight*> packed_by_weight(torch::nn::Module& network) {
  std::map<const c10::TensorImpl*, PackedWeight*> packed;
  for (const auto& module : network.modules(false)) {
    if (auto* layer = module->as<LinearImpl>()) packed[layer->weight.unsafeGetTensorImpl()] = layer->packed();
  }
  return packed;
}

LayerNormImpl::LayerNormImpl(std::int64_t width) {
  weight = register_parameter("weight", new_parameter({width}));
  bias = register_parameter("bias", new_parameter({width}));
  const torch::NoGradGuard no_grad;
  weight.fill_(1);
}

torch::Tensor attend(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, bool causal,
                     double dropout, const std::optional<torch::Generator>& generator) {
  const auto queries = q.size(2), keys = k.size(2);
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(3)));
  auto scores = torch::matmul(q * scale, k.transpose(2, 3));  // [N, H, A, B]
  if (causal && queries > 1) {
    const auto hidden = torch::ones({queries, keys}, scores.options().dtype(torch::kBool)).triu(keys - queries + 1);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  // In bfloat16 and float16 the exponentials and their sums are still float32.
  const auto type = scores.scalar_type();
  const auto weights =
      drop_out(is_low(type) ? torch::softmax(scores, -1, torch::kFloat32).to(type) : torch::softmax(scores, -1),
               dropout, generator);
  return torch::matmul(weights, v).transpose(1, 2).flatten(2);
}

torch::Tensor drop_out(const torch::Tensor& x, double p, const std::optional<torch::Generator>& generator) {
  if (p <= 0) return x;
  auto kept = torch::empty_like(x, at::MemoryFormat::Contiguous);
  if (generator) {
    kept.bernoulli_(1 - p, *generator);
  } else {
    kept.bernoulli_(1 - p);
  }
  return x * kept.div_(1 - p);
}

}  // namespace tessera
