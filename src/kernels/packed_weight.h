/// A weight in the form that the fast products read, kept between calls.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

namespace tessera {

/// Belongs to the layer that owns the weight. Inference packs a weight once, on however many threads; in training it is
/// packed again after every update, by one thread.
class PackedWeight {
 public:
  /// Memory for a packed form of `weight` that will be kept: uninitialised elements [count].
  static torch::Tensor room(const torch::Tensor& weight, std::int64_t count, torch::ScalarType type);

  /// The packed form of `weight`, made by `pack` where there is none yet or the weight or `form` (the bits of an
  /// element) has changed since. A change of the weight is seen by the tensor's version: code that writes through
  /// data_ptr bumps it.
  const torch::Tensor& get(const torch::Tensor& weight, const std::function<torch::Tensor()>& pack, int form = 16);
  /// The same for the layer's bias, where it is kept in another form, too.
  const torch::Tensor& get_bias(const torch::Tensor& bias, const std::function<torch::Tensor()>& pack, int form);

  /// The weight lies in a file's map that nobody writes to: from now on its pages are given back whenever it has been
  /// packed (MappedFile::give_back).
  void weight_is_mapped(const torch::Tensor& weight) { mapped_version_ = weight._version(); }

 private:
  struct Kept {
    torch::Tensor packed;
    const void* data = nullptr;
    std::uint32_t version = 0;
    int form = 0;
    bool is_of(const torch::Tensor& from, int form) const;
    /// true: it was made anew.
    bool update(const torch::Tensor& from, const std::function<torch::Tensor()>& pack, int form);
  };
  std::int64_t mapped_version_ = -1;  // of the weight as it lies in the file; -1: it does not
  Kept weight_, bias_;
};

}  // namespace tessera
