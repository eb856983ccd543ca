#include "kernels/cuda/fused_attention.h"

#include <torch/version.h>

#include "kernels/ops/operands.h"
#include "runtime/error.h"

#define TESSERA_HAS_FUSED_ATTENTION (TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1))

namespace tessera {

#if TESSERA_HAS_FUSED_ATTENTION

bool fused_attention_applies(const torch::Tensor& q) {
  return q.is_cuda() && is_low(q.scalar_type());
}

torch::Tensor fused_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                              bool causal) {
  return at::scaled_dot_product_attention(q, k, v, {}, 0.0, causal, scale).transpose(1, 2).flatten(2);
}

#else

bool fused_attention_applies(const torch::Tensor&) {
  return false;
}

torch::Tensor fused_attention(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&, double, bool) {
  fail("attention: this LibTorch has no fused form");
}

#endif

}  // namespace tessera
