#include "kernels/packed_weight.h"

#include "runtime/mapped_file.h"

namespace tessera {

bool PackedWeight::Kept::update(const torch::Tensor& from, const std::function<torch::Tensor()>& pack, int wanted) {
  const auto now = static_cast<std::uint32_t>(from._version());
  if (packed.defined() && data == from.data_ptr() && version == now && form == wanted) return false;
  packed = pack();
  data = from.data_ptr();
  version = now;
  form = wanted;
  return true;
}

const torch::Tensor& PackedWeight::get(const torch::Tensor& weight, const std::function<torch::Tensor()>& pack,
                                       int form) {
  if (weight_.update(weight, pack, form) && mapped_version_ == static_cast<std::int64_t>(weight_.version)) {
    MappedFile::give_back(weight_.data, weight.nbytes());
  }
  return weight_.packed;
}

const torch::Tensor& PackedWeight::get_bias(const torch::Tensor& bias, const std::function<torch::Tensor()>& pack,
                                            int form) {
  bias_.update(bias, pack, form);
  return bias_.packed;
}

}  // namespace tessera
