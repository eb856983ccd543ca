/// A weight as the fast GEMMs read it, prepacked and held between calls.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

namespace tessera {

/// What a weight is packed for.
struct PackedForm {
  enum class For : std::uint8_t {
    bf16_gemm,   // cpu/gemm/bf16_gemm.h
    int8_gemm,   // cpu/gemm/int8_gemm.h
    float_gemm,  // cpu/gemm/float_gemm.h; detail: columns of a panel
    byte_gemm,   // cpu/gemm/byte_gemm.h
    block_bf16,  // transformer/packed_block.h
    block_int8,  // the same
    library      // an operation of LibTorch; detail: its type
  };
  For user = For::bf16_gemm;
  int detail = 0;
  bool operator==(const PackedForm&) const = default;
};

/// Belongs to the layer that owns the weight. Inference packs a weight once, on however many threads; in training it is
/// packed again after every update, by one thread.
class PackedWeight {
 public:
  /// Memory for a packed form of `weight` that will be kept: uninitialised elements [count].
  static torch::Tensor allocate(const torch::Tensor& weight, std::int64_t count, torch::ScalarType type);

  /// The packed form of `weight`, made by `pack` where there is none yet or the weight or `form` has changed since. A
  /// change of the weight is seen by the tensor's version: code that writes through data_ptr bumps it.
  const torch::Tensor& get(const torch::Tensor& weight, const std::function<torch::Tensor()>& pack,
                           PackedForm form = {});
  /// The same for the layer's bias, where it is kept in another form, too.
  const torch::Tensor& get_bias(const torch::Tensor& bias, const std::function<torch::Tensor()>& pack, PackedForm form);

  /// Lets go of the packed forms, which are made again where they are asked for.
  void forget() { weight_ = bias_ = {}; }

  /// The weight lies in a file's map that nobody writes to: from now on its pages are given back whenever it has been
  /// packed (MappedFile::give_back).
  void weight_is_mapped(const torch::Tensor& weight) { mapped_version_ = weight._version(); }

 private:
  struct Kept {
    torch::Tensor packed;
    const void* data = nullptr;
    std::uint32_t version = 0;
    PackedForm form;
    bool is_of(const torch::Tensor& from, PackedForm form) const;
    /// true: it was made anew.
    bool update(const torch::Tensor& from, const std::function<torch::Tensor()>& pack, PackedForm form);
  };
  std::int64_t mapped_version_ = -1;  // of the weight as it lies in the file; -1: it does not
  Kept weight_, bias_;
};

}  // namespace tessera
