/// attention and attention_qkv: autograd around the bfloat16 kernels, LibTorch's products where they cannot be used.
#include <fmt/ostream.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/attention/bf16_attention.h"
#include "kernels/cpu/attention/float_attention.h"
#include "kernels/cpu/gemm/float_gemm.h"
#include "kernels/cuda/fused_attention.h"
#include "kernels/ops/isa.h"
#include "kernels/ops/layers.h"
#include "kernels/ops/operands.h"
#include "kernels/ops/plain_attention.h"
#include "kernels/ops/row_layout.h"
#include "kernels/parallel/tasks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

uint16_t* bits(const torch::Tensor& tensor) {
  return static_cast<uint16_t*>(tensor.data_ptr());
}

/// A matrix of tokens [N, L, heads * D] whose rows may lie apart, as in a slice of [N, L, 3 * heads * D].
struct Tokens {
  /// Part 0, 1 or 2 of q, k and v side by side.
  Tokens(const torch::Tensor& qkv, int64_t part)
      : data(bits(qkv) + part * qkv.size(2) / 3),
        image(qkv.stride(0)),
        row(qkv.stride(1)),
        cells(qkv.size(1)),
        width(qkv.size(2) / 3) {}
  explicit Tokens(const torch::Tensor& tensor)
      : data(bits(tensor)),
        image(tensor.stride(0)),
        row(tensor.stride(1)),
        cells(tensor.size(1)),
        width(tensor.size(2)) {}
  uint16_t* head(int64_t index, int64_t heads) const {
    return data + index / heads * image + index % heads * (width / heads);
  }
  uint16_t* data;
  int64_t image, row, cells, width;  // elements
};

torch::Tensor readable(const torch::Tensor& tensor) {
  const torch::Tensor t = in_type(tensor, torch::kBFloat16);
  return t.stride(2) == 1 ? t : t.contiguous();
}

bf16::Attention describe(const Tokens& q, const Tokens& k, const Tokens& v, int64_t index, int64_t heads, double scale,
                         bool causal) {
  bf16::Attention head;
  head.queries = q.cells;
  head.keys = k.cells;
  head.width = q.width / heads;
  head.scale = float(scale);
  head.causal = causal;
  head.query = q.head(index, heads);
  head.key = k.head(index, heads);
  head.value = v.head(index, heads);
  head.query_row = q.row;
  head.key_row = k.row;
  head.value_row = v.row;
  return head;
}

/// Fills output, shaped as q with unit stride in the last dimension, and normaliser [N * heads, queries], if defined.
void forward_heads(const Tokens& tq, const Tokens& tk, const Tokens& tv, int64_t heads, double scale, bool causal,
                   const torch::Tensor& output, const torch::Tensor& normaliser) {
  const Tokens to(output);
  // With fewer heads than threads each is cut into blocks of queries.
  const int64_t images = output.size(0), wanted = (at::get_num_threads() + images * heads - 1) / (images * heads);
  const int64_t block = (tq.cells + 32 * wanted - 1) / (32 * wanted) * 32, parts = (tq.cells + block - 1) / block;
  run_tasks(images * parts * heads, [&] {
    const torch::Tensor scratch =
        torch::empty({bf16::attention_scratch(describe(tq, tk, tv, 0, heads, scale, causal))}, torch::kBFloat16);
    return [&, scratch](int64_t task) {
      const int64_t i = task / (parts * heads) * heads + task % heads, first = task / heads % parts * block;
      bf16::Attention head = describe(tq, tk, tv, i, heads, scale, causal);
      head.query += first * head.query_row;
      head.queries = std::min(block, tq.cells - first);
      if (causal) head.keys -= tq.cells - first - head.queries;  // none of these queries sees the last keys
      bf16::attention_forward(head, to.head(i, heads) + first * to.row, to.row,
                              normaliser.defined() ? normaliser.data_ptr<float>() + i * tq.cells + first : nullptr,
                              bits(scratch));
    };
  });
}

torch::Tensor room_for_normaliser(const torch::Tensor& q, int64_t heads) {
  return torch::empty({q.size(0) * heads, q.size(1)}, torch::kFloat);
}

/// What a product reads next.
torch::Tensor mixed_rows(int64_t images, const Tokens& q, const Tokens& k, const Tokens& v, int64_t heads, double scale,
                         bool causal) {
  const torch::Tensor output = rows_for_gemm(images * q.cells, q.width).view({images, q.cells, q.width});
  forward_heads(q, k, v, heads, scale, causal, output, {});
  return output;
}

/// Fills dq, dk, dv, tensors shaped as q, k and v with unit stride in the last dimension.
void backward_heads(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, int64_t heads, double scale,
                    bool causal, const torch::Tensor& output, const torch::Tensor& gradient,
                    const torch::Tensor& normaliser, const torch::Tensor& dq, const torch::Tensor& dk,
                    const torch::Tensor& dv) {
  const Tokens tq(q), tk(k), tv(v), to(output), tg(gradient), rq(dq), rk(dk), rv(dv);
  run_tasks(q.size(0) * heads, [&] {
    const torch::Tensor scratch = torch::empty(
        {bf16::attention_backward_scratch(describe(tq, tk, tv, 0, heads, scale, causal))}, torch::kBFloat16);
    return [&, scratch](int64_t i) {
      bf16::AttentionGradient job;
      job.output = to.head(i, heads);
      job.gradient_output = tg.head(i, heads);
      job.output_row = to.row;
      job.gradient_output_row = tg.row;
      job.normaliser = normaliser.data_ptr<float>() + i * tq.cells;
      job.query = rq.head(i, heads);
      job.key = rk.head(i, heads);
      job.value = rv.head(i, heads);
      job.query_row = rq.row;
      job.key_row = rk.row;
      job.value_row = rv.row;
      bf16::attention_backward(describe(tq, tk, tv, i, heads, scale, causal), job, bits(scratch));
    };
  });
}

void remember(AutogradContext* context, int64_t heads, double scale, bool causal) {
  context->saved_data["heads"] = heads;
  context->saved_data["scale"] = scale;
  context->saved_data["causal"] = causal;
}

struct Attention : public Function<Attention> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& raw_q, const torch::Tensor& raw_k,
                               const torch::Tensor& raw_v, int64_t heads, double scale, bool causal) {
    const torch::Tensor q = readable(raw_q), k = readable(raw_k), v = readable(raw_v);
    const torch::Tensor output = torch::empty(q.sizes(), torch::kBFloat16), normaliser = room_for_normaliser(q, heads);
    forward_heads(Tokens(q), Tokens(k), Tokens(v), heads, scale, causal, output, normaliser);
    context->save_for_backward({q, k, v, output, normaliser});
    remember(context, heads, scale, causal);
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list s = context->get_saved_variables();
    const auto empty = [](const torch::Tensor& like) { return torch::empty(like.sizes(), torch::kBFloat16); };
    const torch::Tensor dq = empty(s[0]), dk = empty(s[1]), dv = empty(s[2]);
    backward_heads(s[0], s[1], s[2], context->saved_data["heads"].toInt(), context->saved_data["scale"].toDouble(),
                   context->saved_data["causal"].toBool(), s[3], readable(gradients[0]), s[4], dq, dk, dv);
    return {dq, dk, dv, Variable(), Variable(), Variable()};
  }
};

struct AttentionQkv : public Function<AttentionQkv> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& raw_qkv, int64_t heads, double scale,
                               bool causal) {
    const torch::Tensor qkv = readable(raw_qkv);
    const torch::Tensor output = torch::empty({qkv.size(0), qkv.size(1), qkv.size(2) / 3}, torch::kBFloat16),
                        normaliser = room_for_normaliser(output, heads);
    forward_heads({qkv, 0}, {qkv, 1}, {qkv, 2}, heads, scale, causal, output, normaliser);
    context->save_for_backward({qkv, output, normaliser});
    remember(context, heads, scale, causal);
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list s = context->get_saved_variables();
    const torch::Tensor result = torch::empty(s[0].sizes(), torch::kBFloat16);
    const auto parts = s[0].chunk(3, 2), to = result.chunk(3, 2);
    backward_heads(parts[0], parts[1], parts[2], context->saved_data["heads"].toInt(),
                   context->saved_data["scale"].toDouble(), context->saved_data["causal"].toBool(), s[1],
                   readable(gradients[0]), s[2], to[0], to[1], to[2]);
    return {result, Variable(), Variable(), Variable()};
  }
};

/// [N, L, heads * D] as [N, heads, L, D].
torch::Tensor split_heads(const torch::Tensor& t, int64_t heads) {
  return t.view({t.size(0), t.size(1), heads, -1}).transpose(1, 2);
}

torch::Tensor plain_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, int64_t heads,
                              double scale, bool causal) {
  torch::Tensor scores =
      torch::matmul(split_heads(q, heads) * scale, split_heads(k, heads).transpose(2, 3));  // [N, heads, queries, keys]
  if (causal) {
    const int64_t queries = q.size(1), keys = k.size(1);
    const auto hidden = torch::ones({queries, keys}, scores.options().dtype(torch::kBool)).triu(keys - queries + 1);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return torch::matmul(torch::softmax(scores, -1), split_heads(v, heads)).transpose(1, 2).flatten(2);
}

bool tiles_apply(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                 Precision precision) {
  return precision == Precision::bfloat16 && cpu_has_avx512_bf16() && q.is_cpu() && q.numel() > 0 && k.numel() > 0 &&
         v.numel() > 0 && scale > 0;
}

bool float_kernels_apply(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                         Precision precision) {
  const auto readable_here = [](const torch::Tensor& t) {
    return t.scalar_type() == torch::kFloat && t.is_cpu() && t.numel() > 0;
  };
  return precision == Precision::float32 && float32::is_available() && readable_here(q) && readable_here(k) &&
         readable_here(v) && scale > 0 && !asks_gradient(q, k, v);
}

/// q [N, queries, C], k and v [N, keys, C] float32; rows may be slices of a wider tensor.
torch::Tensor float_attention(const torch::Tensor& given_q, const torch::Tensor& given_k, const torch::Tensor& given_v,
                              int64_t heads, double scale, bool causal) {
  const auto in_rows = [](const torch::Tensor& t) { return t.stride(2) == 1 ? t : t.contiguous(); };
  const auto q = in_rows(given_q), k = in_rows(given_k), v = in_rows(given_v);
  const torch::Tensor output = torch::empty(q.sizes(), q.options());
  const int64_t width = q.size(2) / heads, images = q.size(0);
  const auto head_of = [&](const torch::Tensor& t, int64_t index) {
    return t.data_ptr<float>() + index / heads * t.stride(0) + index % heads * width;
  };
  float32::Attention all;
  all.query_ld = q.stride(1);
  all.key_ld = k.stride(1);
  all.value_ld = v.stride(1);
  all.output_ld = output.stride(1);
  all.queries = q.size(1);
  all.keys = k.size(1);
  all.width = width;
  all.scale = static_cast<float>(scale);
  all.causal = causal;
  run_tasks(images * heads, [&] {
    return [&, workspace = torch::empty({float32::attention_workspace(all)}, torch::kFloat)](int64_t index) {
      auto head = all;
      head.query = head_of(q, index);
      head.key = head_of(k, index);
      head.value = head_of(v, index);
      head.output = head_of(output, index);
      float32::attention(head, workspace.data_ptr<float>());
    };
  });
  return output;
}

}  // namespace

torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, int64_t heads,
                        double scale, bool causal, Precision given) {
  const auto precision = of_activations(given);
  require(q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && k.sizes() == v.sizes() && q.size(0) == k.size(0) &&
              q.size(2) == k.size(2),
          "attention: q {}, k {}, v {}: expected [N, queries, C], [N, keys, C], [N, keys, C]", fmt::streamed(q.sizes()),
          fmt::streamed(k.sizes()), fmt::streamed(v.sizes()));
  require(heads > 0 && q.size(2) % heads == 0, "attention: {} features do not divide into {} heads", q.size(2), heads);
  require(!causal || k.size(1) >= q.size(1),
          "attention: {} queries but {} keys; causal attention expects at least as many keys", q.size(1), k.size(1));
  if (tiles_apply(q, k, v, scale, precision)) {
    if (asks_gradient(q, k, v)) return Attention::apply(q, k, v, heads, scale, causal);
    const auto low_q = readable(q), low_k = readable(k), low_v = readable(v);
    return mixed_rows(q.size(0), Tokens(low_q), Tokens(low_k), Tokens(low_v), heads, scale, causal);
  }
  if (float_kernels_apply(q, k, v, scale, precision)) return float_attention(q, k, v, heads, scale, causal);
  const auto type = type_of_activations(precision, q.scalar_type());
  if (precision == Precision::float32) return plain_attention(q, k, v, heads, scale, causal);
  if (emulates(q, precision)) {
    return attention(rounded_operand(q), rounded_operand(k), rounded_operand(v), heads, scale, causal,
                     Precision::float32)
        .to(torch::kBFloat16);
  }
  const auto low_q = q.to(type), low_k = k.to(type), low_v = v.to(type);
  if (fused_attention_applies(low_q) && (!causal || q.size(1) == k.size(1))) {
    return fused_attention(split_heads(low_q, heads), split_heads(low_k, heads), split_heads(low_v, heads), scale,
                           causal);
  }
  return plain_attention(low_q, low_k, low_v, heads, scale, causal);
}

torch::Tensor attention_qkv(const torch::Tensor& qkv, int64_t heads, double scale, bool causal, Precision given) {
  const auto precision = of_activations(given);
  require(qkv.dim() == 3 && heads > 0 && qkv.size(2) % (3 * heads) == 0,
          "attention_qkv: qkv is {}, expected [N, L, 3 * C] with C a multiple of {} heads", fmt::streamed(qkv.sizes()),
          heads);
  if (tiles_apply(qkv, qkv, qkv, scale, precision)) {
    if (asks_gradient(qkv)) return AttentionQkv::apply(qkv, heads, scale, causal);
    const auto low = readable(qkv);
    return mixed_rows(low.size(0), {low, 0}, {low, 1}, {low, 2}, heads, scale, causal);
  }
  if (float_kernels_apply(qkv, qkv, qkv, scale, precision)) {
    const auto parts = qkv.chunk(3, 2);
    return float_attention(parts[0], parts[1], parts[2], heads, scale, causal);
  }
  const auto by_heads = [&](const torch::Tensor& rows) {
    return rows.reshape({qkv.size(0), qkv.size(1), 3, heads, qkv.size(2) / (3 * heads)});
  };
  if (emulates(qkv, precision)) {
    return attention_qkv(rounded_operand(qkv), heads, scale, causal, Precision::float32).to(torch::kBFloat16);
  }
  const auto split = by_heads(qkv.to(type_of_activations(precision, qkv.scalar_type())));
  if (fused_attention_applies(split)) {
    const auto parts = split.permute({2, 0, 3, 1, 4}).unbind(0);  // [N, H, L, D]
    return fused_attention(parts[0], parts[1], parts[2], scale, causal);
  }
  return plain_attention_qkv(split, scale, causal);
}

}  // namespace tessera
