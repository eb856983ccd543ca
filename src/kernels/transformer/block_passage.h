/// One image's way through transformer blocks: the memory that it needs, and what each step does with it.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "kernels/cpu/attention/bf16_attention.h"
#include "kernels/cpu/gemm/bf16_gemm.h"
#include "kernels/cpu/gemm/int8_gemm.h"
#include "kernels/cpu/norm/layer_norm_avx512.h"
#include "kernels/parallel/staged_tasks.h"
#include "kernels/transformer/block_steps.h"
#include "kernels/transformer/packed_block.h"

namespace tessera {

/// How transformer_blocks.h's blocks compute, beside their shape and parameters.
struct BlockOptions {
  float scale = 1;  // of the scores
  bool causal = false;
  double eps = 0;  // of the norms
};

/// For one image at a time, on some threads together. The blocks are referred to.
class BlockPassage {
 public:
  BlockPassage(const BlockShape& shape, const BlockOptions& options, const std::vector<PackedBlock>& blocks,
               std::int64_t threads);

  std::size_t steps() const { return steps_.steps(); }

  /// What thread `thread` does for an image: x [L, C] -> result [L, C], both contiguous. progress: as in StagedTasks.
  void go(const float* x, float* result, std::vector<StepProgress>& progress, std::int64_t thread);

 private:
  /// The left operand of a product: rows of bfloat16, or of int8's bytes with their scales, or both.
  struct Operand {
    std::uint16_t* values = nullptr;
    std::int64_t ld = 0;  // elements
    std::uint8_t* bytes = nullptr;
    std::int64_t bytes_ld = 0;
    float* scale = nullptr;
  };
  /// A thread's own.
  struct Worker {
    std::uint16_t *scratch = nullptr, *normed = nullptr;
  };

  template <typename Element>
  Element* workspace(std::int64_t count);
  Operand operand(std::int64_t features, bool values);
  void clear_padding(const Operand& of) const;

  void run(const BlockStep& step, std::int64_t begin, std::int64_t end, const Worker& worker, const float* x,
           float* result) const;
  void normalise(const BlockStep& step, std::int64_t row, const Worker& worker, const float* x) const;
  void project(const BlockStep& step, std::int64_t begin, std::int64_t end) const;
  void attend(const BlockStep& step, std::int64_t begin, std::int64_t end, const Worker& worker) const;
  void quantise(const Operand& of, std::int64_t features, std::int64_t begin, std::int64_t end) const;
  void raise(const BlockStep& step, std::int64_t begin, std::int64_t end) const;
  void add(const BlockStep& step, std::int64_t begin, std::int64_t end) const;
  void leave(std::int64_t shard, std::int64_t row, float* result) const;

  avx512::SumOfRows sum_of_lanes(std::int64_t shard, std::int64_t row) const;
  bf16::Attention attention(std::int64_t shard, std::int64_t head) const;
  GemmOutput output_of(const BlockStep& step, std::int64_t begin, std::int64_t end) const;
  const std::uint8_t* after(const BlockStep& step, std::int64_t end) const;
  void multiply(const BlockStep& step, std::int64_t begin, std::int64_t end, const Operand& left,
                const GemmOutput& to) const;
  bf16::Gemm describe(const BlockStep& step, std::int64_t begin, std::int64_t end, const Operand& left,
                      const GemmOutput& to) const;
  int8::Gemm describe_int8(const BlockStep& step, std::int64_t begin, std::int64_t end, const Operand& left,
                           const GemmOutput& to) const;

  const BlockShape shape_;
  const BlockOptions options_;
  const std::int64_t heads_together_;  // as in steps_through
  const StagedTasks<BlockStep> steps_;
  std::vector<torch::Tensor> memory_;
  std::int64_t sums_row_ = 0, heads_ld_ = 0;  // elements between rows
  Operand normed_;
  // Each shard keeps the residual stream of its own rows, and of the other's what it adds to them.
  float* sums_[kShards] = {};
  Operand context_[kShards], hidden_[kShards];  // of the shard's heads, and a piece of its hidden features
  // Queries, keys and values of the heads together, and the keys and values packed.
  std::uint16_t *heads_[kShards] = {}, *packed_[kShards] = {};
  std::vector<Worker> workers_;
};

}  // namespace tessera
