/// The steps of an image's way through transformer blocks, as transformer_blocks.h cuts them into lanes.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/packed_block.h"
#include "kernels/staged_tasks.h"

namespace tessera {

/// What a step computes, and what its tasks are.
enum class BlockWork {
  enter,             // the stream as it comes, and its first norm; 32 of the lane's own rows
  norm,              // the sums of both lanes, and a norm of them; the same
  heads,             // queries, keys, values and attention; the lane's heads
  qkv,               // queries, keys and values of all of the lane's heads; panels of channels
  attention,         // 32 rows of one of the lane's heads
  quantise_context,  // what attention gave, for int8; 32 rows
  output,            // its product, added to the lane's sums; panels
  up,                // a piece of the hidden features; panels
  quantise_hidden,   // it, for int8; 32 rows
  down,              // its product, added to the lane's sums; panels
  leave,             // the sums of both lanes; 32 of the lane's own rows
};

struct BlockStep {
  BlockWork work;
  std::int64_t tasks;
  std::int64_t share;  // as in StagedTasks
  std::int64_t lane;
  const PackedBlock* block = nullptr;
  const PackedBlock::Norm* norm = nullptr;
  std::int64_t piece = 0;               // of the hidden features
  const std::uint8_t* after = nullptr;  // weights that the lane reads next
};

/// by_heads: a head's queries, keys and values go from their product to attention at once; otherwise those of all of a
/// lane's heads lie side by side, which more threads than heads can share. The blocks are referred to.
StagedTasks<BlockStep> steps_through(const std::vector<PackedBlock>& blocks, const BlockShape& shape, bool by_heads);

}  // namespace tessera
