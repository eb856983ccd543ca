/// The steps of an image's way through transformer blocks, as transformer_blocks.h cuts them into shards.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/parallel/staged_tasks.h"
#include "kernels/transformer/packed_block.h"

namespace tessera {

/// What a step computes, and what its tasks are.
enum class BlockWork {
  enter,             // the stream as it comes, and its first norm; 32 of the shard's own rows
  norm,              // the sums of both shards, and a norm of them; the same
  qkv,               // queries, keys and values of some of the shard's heads; panels of channels
  pack,              // their keys and values as attention reads them; the heads
  attention,         // 64 rows of one of them
  quantise_context,  // what attention gave, for int8; 32 rows
  output,            // its product, added to the shard's sums; panels
  up,                // a piece of the hidden features; panels
  quantise_hidden,   // it, for int8; 32 rows
  down,              // its product, added to the shard's sums; panels
  leave,             // the sums of both shards; 32 of the shard's own rows
};

struct BlockStep {
  BlockWork work;
  std::int64_t tasks;
  std::int64_t shard;
  std::int64_t piece = 0;                   // of the hidden features, or of the shard's heads
  const PackedBlock::Norm* norm = nullptr;  // for enter and norm
  const PackedParts* weight = nullptr;      // for products: of its part `part` the channels from `channel` on
  std::int64_t part = 0, channel = 0;
  const float* bias = nullptr;          // of the first of them
  const std::uint8_t* after = nullptr;  // weights that the shard reads next
};

/// Rows of a head that are a task.
inline constexpr std::int64_t kAttentionRows = 64;

/// heads_together: of a shard, that go through their steps together; one after the other, a head's queries, keys and
/// values stay in the cache, all together more threads find work. The blocks are referred to.
StagedTasks<BlockStep> steps_through(const std::vector<PackedBlock>& blocks, const BlockShape& shape,
                                     std::int64_t heads_together);

}  // namespace tessera
