#include "kernels/ops/plain_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "kernels/ops/operands.h"

namespace tessera {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kScoresAtOnce = 1 << 19;  // elements: 2 MiB of float32

/// The images first..first+count-1 as operands of batched products, [count * H, L, D] copies of a part of the cache's
/// size.
struct Operands {
  Operands(const torch::Tensor& qkv, std::int64_t first, std::int64_t count) {
    const auto cells = qkv.size(1), heads = qkv.size(3), depth = qkv.size(4);
    const auto parts = qkv.narrow(0, first, count).permute({2, 0, 3, 1, 4}).contiguous();
    const auto flat = parts.view({3, count * heads, cells, depth});
    q = flat[0];
    k = flat[1];
    v = flat[2];
  }
  torch::Tensor q, k, v;
};

/// softmax(scale q k^T), [B, L, L], float32 for bfloat16 and float16 operands.
torch::Tensor attention_weights(const Operands& at, double scale, const torch::Tensor& hidden) {
  auto scores = torch::bmm(at.q, at.k.transpose(1, 2));
  if (is_low(scores.scalar_type())) scores = scores.to(torch::kFloat32);
  scores.mul_(scale);
  if (hidden.defined()) scores.masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  return torch::softmax(scores, -1);
}

torch::Tensor hidden_cells(const torch::Tensor& qkv, bool causal) {
  if (!causal) return {};
  return torch::ones({qkv.size(1), qkv.size(1)}, qkv.options().dtype(torch::kBool)).triu(1);
}

/// Calls body(first, count) for pieces of the images, several pieces at once where the products themselves would run on
/// one thread each. OpenBLAS (float32) has threads of its own, which must not be entered from several others.
template <typename Body>
void for_pieces(const torch::Tensor& qkv, const Body& body) {
  const auto images = qkv.size(0);
  const auto scores = std::max<std::int64_t>(1, qkv.size(3) * qkv.size(1) * qkv.size(1));
  const auto size = qkv.is_cpu() ? std::max<std::int64_t>(1, kScoresAtOnce / scores) : images;
  const auto pieces = (images + size - 1) / std::max<std::int64_t>(1, size);
  const auto run = [&](std::int64_t from, std::int64_t to) {
    const torch::NoGradGuard no_grad;
    for (auto piece = from; piece < to; ++piece) body(piece * size, std::min(size, images - piece * size));
  };
  if (qkv.is_cpu() && qkv.scalar_type() == torch::kBFloat16 && pieces >= at::get_num_threads()) {
    at::parallel_for(0, pieces, 1, run);
  } else {
    run(0, pieces);
  }
}

/// kept: [N * H, L, L] for the softmax, or undefined.
torch::Tensor attend_all(const torch::Tensor& qkv, double scale, bool causal, const torch::Tensor& kept) {
  const auto images = qkv.size(0), cells = qkv.size(1), heads = qkv.size(3), depth = qkv.size(4);
  auto result = torch::empty({images, cells, heads, depth}, qkv.options().requires_grad(false));
  const auto hidden = hidden_cells(qkv, causal);
  for_pieces(qkv, [&](std::int64_t first, std::int64_t count) {
    const Operands at(qkv, first, count);
    const auto weights = attention_weights(at, scale, hidden);
    if (kept.defined()) kept.narrow(0, first * heads, count * heads).copy_(weights);
    const auto context = torch::bmm(weights.to(qkv.scalar_type()), at.v);
    result.narrow(0, first, count).copy_(context.view({count, heads, cells, depth}).transpose(1, 2));
  });
  return result.flatten(2);
}

class SelfAttention : public torch::autograd::Function<SelfAttention> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& qkv, double scale, bool causal,
                               bool keep) {
    const auto cells = qkv.size(1);
    const auto dtype = is_low(qkv.scalar_type()) ? torch::kFloat32 : qkv.scalar_type();
    torch::Tensor kept;
    if (keep) kept = torch::empty({qkv.size(0) * qkv.size(3), cells, cells}, qkv.options().dtype(dtype));
    context->save_for_backward({qkv, kept});
    context->saved_data["scale"] = scale;
    context->saved_data["causal"] = causal;
    return attend_all(qkv, scale, causal, kept);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto& qkv = saved[0];
    const auto& kept = saved[1];
    const auto cells = qkv.size(1), heads = qkv.size(3), depth = qkv.size(4);
    const auto hidden = hidden_cells(qkv, context->saved_data["causal"].toBool());
    const auto gradient = gradients[0].view({qkv.size(0), cells, heads, depth});
    const double scale = context->saved_data["scale"].toDouble();
    auto result = torch::empty(qkv.sizes(), qkv.options());
    for_pieces(qkv, [&](std::int64_t first, std::int64_t count) {
      const Operands at(qkv, first, count);
      const auto upper =
          gradient.narrow(0, first, count).transpose(1, 2).contiguous().view({count * heads, cells, depth});
      const auto weights = kept.defined() ? kept.narrow(0, first * heads, count * heads)
                                          : attention_weights(at, scale, hidden);  // [B, L, L]
      const auto d_weights = torch::bmm(upper, at.v.transpose(1, 2)).to(weights.scalar_type());
      const auto d_scores =
          at::_softmax_backward_data(d_weights, weights, -1, weights.scalar_type()).mul_(scale).to(qkv.scalar_type());
      const auto write = [&](std::int64_t part, const torch::Tensor& value) {
        result.narrow(0, first, count).select(2, part).copy_(value.view({count, heads, cells, depth}).transpose(1, 2));
      };
      write(0, torch::bmm(d_scores, at.k));
      write(1, torch::bmm(d_scores.transpose(1, 2), at.q));
      write(2, torch::bmm(weights.to(qkv.scalar_type()).transpose(1, 2), upper));
    });
    return {result, torch::Tensor(), torch::Tensor(), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor plain_attention_qkv(const torch::Tensor& qkv, double scale, bool causal, std::int64_t keep_at_most) {
  if (!torch::GradMode::is_enabled() || !qkv.requires_grad()) return attend_all(qkv, scale, causal, {});
  const auto scores = qkv.size(0) * qkv.size(3) * qkv.size(1) * qkv.size(1);
  return SelfAttention::apply(qkv, scale, causal, scores <= keep_at_most);
}

}  // namespace tessera
