#include "kernels/ops/packed_weight.h"

#include <mutex>
#include <shared_mutex>

#include "kernels/weights/huge_pages.h"
#include "runtime/mapped_file.h"

namespace tessera {
/// Matrices, read in every evaluation, lie on large pages: the packed weights of a transformer are more than what the
/// processor's tables of small pages cover. In training, where they are made anew in every step, they do not.
torch::Tensor PackedWeight::allocate(const torch::Tensor& weight, std::int64_t count, torch::ScalarType type) {
  constexpr std::size_t kLarge = std::size_t{64} << 10;  // bytes
  const bool earns = !torch::GradMode::is_enabled() && weight.dim() == 2 &&
                     static_cast<std::size_t>(count) * torch::elementSize(type) >= kLarge;
  return earns ? empty_on_huge_pages(count, type) : torch::empty({count}, type);
}

namespace {

/// Held while any weight is packed, and shared by those who look whether theirs is: evaluations of one network on
/// several threads pack a weight once. Packing is rare, so one lock serves all weights.
std::shared_mutex packing;

}  // namespace

bool PackedWeight::Kept::is_of(const torch::Tensor& from, PackedForm wanted) const {
  return packed.defined() && data == from.data_ptr() && version == static_cast<std::uint32_t>(from._version()) &&
         form == wanted;
}

bool PackedWeight::Kept::update(const torch::Tensor& from, const std::function<torch::Tensor()>& pack,
                                PackedForm wanted) {
  {
    const std::shared_lock lock(packing);
    if (is_of(from, wanted)) return false;
  }
  const std::unique_lock lock(packing);
  if (is_of(from, wanted)) return false;
  packed = pack();
  data = from.data_ptr();
  version = static_cast<std::uint32_t>(from._version());
  form = wanted;
  return true;
}

const torch::Tensor& PackedWeight::get(const torch::Tensor& weight, const std::function<torch::Tensor()>& pack,
                                       PackedForm form) {
  if (weight_.update(weight, pack, form) && mapped_version_ == static_cast<std::int64_t>(weight_.version)) {
    MappedFile::give_back(weight_.data, weight.nbytes());
  }
  return weight_.packed;
}

const torch::Tensor& PackedWeight::get_bias(const torch::Tensor& bias, const std::function<torch::Tensor()>& pack,
                                            PackedForm form) {
  bias_.update(bias, pack, form);
  return bias_.packed;
}

}  // namespace tessera
