#include "kernels/ops/weight_loading.h"

namespace tessera {

namespace {

thread_local int depth = 0;  // of UnsetParameters within each other

}  // namespace

UnsetParameters::UnsetParameters() {
  ++depth;
}

UnsetParameters::~UnsetParameters() {
  --depth;
}

bool UnsetParameters::active() {
  return depth > 0;
}

torch::Tensor parameter_of_zeros(at::IntArrayRef shape) {
  return UnsetParameters::active() ? torch::empty(shape) : torch::zeros(shape);
}

void load_parameter(torch::Tensor parameter, const torch::Tensor& given, WeightLoading loading, PackedWeight* packed) {
  const torch::NoGradGuard no_grad;
  const bool as_it_is = given.scalar_type() == torch::kFloat32 ||
                        (packed && loading == WeightLoading::share_halves && given.scalar_type() == torch::kFloat16);
  if (loading == WeightLoading::copy || !as_it_is || !given.is_cpu() || !given.is_contiguous()) {
    parameter.copy_(given);
    return;
  }
  parameter.set_data(given.detach());
  if (packed) packed->weight_is_mapped(parameter);
}

}  // namespace tessera
