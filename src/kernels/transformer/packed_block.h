/// The parameters of a transformer block as transformer_blocks.h reads them: cut in two shards and packed.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "kernels/cpu/gemm/bf16_gemm.h"
#include "kernels/cpu/gemm/int8_gemm.h"
#include "kernels/ops/transformer_blocks.h"
#include "kernels/parallel/staged_tasks.h"

namespace tessera {

inline constexpr std::int64_t kRowsTogether = 32;  // that are multiplied together
inline constexpr std::int64_t kPanel = 32;         // channels that are
static_assert(kPanel == bf16::kPanel && kPanel == int8::kPanel);

/// The sizes of a block and of an image's way through it. For how the shards are cut see transformer_blocks.h.
struct BlockShape {
  std::int64_t cells, width, heads, hidden;  // of an image: L, C, heads, H
  bool int8;

  /// Rows of the image's matrices: the cells, and some behind them that are multiplied with the others.
  std::int64_t rows() const { return int8::padded(cells, kRowsTogether); }
  std::int64_t head_width() const { return width / heads; }
  std::int64_t shard_width() const { return width / kShards; }
  /// Most hidden features at a time: 32 channels of the weights for so many fit the first-level cache.
  static constexpr std::int64_t kMost = 512;
  /// Pieces that a shard's hidden features are cut into, and the features of one.
  std::int64_t pieces() const { return (hidden / kShards + kMost - 1) / kMost; }
  std::int64_t piece() const { return hidden / kShards / pieces(); }
  std::int64_t head(std::int64_t shard, std::int64_t index) const { return shard * heads / kShards + index; }
  /// The channel of the packed qkv with which a head begins.
  std::int64_t qkv_of_head(std::int64_t head) const { return head * 3 * head_width(); }
  /// The part of `down`, and of the hidden features, that is a shard's piece.
  std::int64_t part(std::int64_t shard, std::int64_t index) const { return shard * pieces() + index; }
  /// The first row that a shard keeps the residual stream of, and the one behind the last.
  std::int64_t begin(std::int64_t shard) const { return int8::padded(rows() * shard / kShards, kRowsTogether); }
  std::int64_t end(std::int64_t shard) const { return begin(shard + 1); }
};

/// A weight whose inputs are cut into parts, each packed by itself: its panels of 32 channels, and in int8 the
/// channels' scales and sums of its own.
class PackedParts {
 public:
  PackedParts() = default;
  PackedParts(const torch::Tensor& packed, bool int8, std::int64_t outputs, std::int64_t inputs, std::int64_t parts)
      : int8_(int8), outputs_(outputs), inputs_(inputs / parts), parts_(parts) {
    data_ = static_cast<std::uint8_t*>(packed.data_ptr());
  }

  static std::int64_t bytes(bool int8, std::int64_t outputs, std::int64_t inputs, std::int64_t parts) {
    const PackedParts layout(int8, outputs, inputs, parts);
    return layout.tables() + parts * outputs / kPanel * layout.panel();
  }

  /// Bytes of 32 channels.
  std::int64_t panel() const {
    return int8_ ? int8::packed_size(kPanel, inputs_)
                 : bf16::packed_size(kPanel, inputs_, 1) * std::int64_t(sizeof(std::uint16_t));
  }
  std::uint8_t* tiles(std::int64_t part, std::int64_t channel) const {
    return data_ + tables() + (part * outputs_ + channel) / kPanel * panel();
  }
  float* scale(std::int64_t part, std::int64_t channel) const {
    return reinterpret_cast<float*>(data_) + part * outputs_ + channel;
  }
  std::int32_t* sum(std::int64_t part, std::int64_t channel) const {
    return reinterpret_cast<std::int32_t*>(data_) + (parts_ + part) * outputs_ + channel;
  }
  std::int64_t inputs() const { return inputs_; }

  /// 32 channels from the rows of a weight, `row` elements apart.
  void pack(const float* weight, std::int64_t row, std::int64_t part, std::int64_t channel) const {
    const float* const from = weight + part * inputs_;
    if (int8_) {
      int8::pack(from, row, kPanel, inputs_, reinterpret_cast<std::int8_t*>(tiles(part, channel)), scale(part, channel),
                 sum(part, channel));
    } else {
      bf16::pack_forward(from, kPanel, inputs_, 1, row, 0, reinterpret_cast<std::uint16_t*>(tiles(part, channel)));
    }
  }

 private:
  PackedParts(bool int8, std::int64_t outputs, std::int64_t inputs, std::int64_t parts)
      : int8_(int8), outputs_(outputs), inputs_(inputs / parts), parts_(parts) {}

  /// Bytes of the scales and sums.
  std::int64_t tables() const {
    return int8_ ? int8::padded(parts_ * outputs_ * std::int64_t(sizeof(float) + sizeof(std::int32_t)), 64) : 0;
  }

  bool int8_ = false;
  std::int64_t outputs_ = 0, inputs_ = 0, parts_ = 1;
  std::uint8_t* data_ = nullptr;
};

/// The parameters of a block as they are read here.
struct PackedBlock {
  PackedBlock(const TransformerBlock& block, const BlockShape& shape);

  struct Norm {
    const float *weight, *bias;
  };
  Norm norm1, norm2;
  PackedParts qkv, output, up, down;
  const float *output_bias, *up_bias, *down_bias, *qkv_bias = nullptr;
};

}  // namespace tessera
