#include "kernels/packed_weight.h"

namespace tessera {

const torch::Tensor& PackedWeight::get(const torch::Tensor& weight, const std::function<torch::Tensor()>& pack,
                                       int form) {
  const auto version = static_cast<std::uint32_t>(weight._version());
  if (!packed_.defined() || data_ != weight.data_ptr() || version_ != version || form_ != form) {
    packed_ = pack();
    data_ = weight.data_ptr();
    version_ = version;
    form_ = form;
  }
  return packed_;
}

}  // namespace tessera
