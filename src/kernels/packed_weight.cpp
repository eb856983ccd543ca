#include "kernels/packed_weight.h"

#include "runtime/mapped_file.h"

namespace tessera {

const torch::Tensor& PackedWeight::get(const torch::Tensor& weight, const std::function<torch::Tensor()>& pack,
                                       int form) {
  const auto version = static_cast<std::uint32_t>(weight._version());
  if (!packed_.defined() || data_ != weight.data_ptr() || version_ != version || form_ != form) {
    packed_ = pack();
    data_ = weight.data_ptr();
    version_ = version;
    form_ = form;
    if (mapped_version_ == static_cast<std::int64_t>(version)) MappedFile::give_back(data_, weight.nbytes());
  }
  return packed_;
}

}  // namespace tessera
