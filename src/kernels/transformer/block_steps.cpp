#include "kernels/transformer/block_steps.h"

#include <array>
#include <utility>

namespace tessera {
namespace {

class StepsThrough {
 public:
  StepsThrough(const BlockShape& shape, std::int64_t heads_together) : shape_(shape), together_(heads_together) {}

  void add(const PackedBlock& block, bool first) {
    const auto norm = [&](BlockWork work, const PackedBlock::Norm& parameters) {
      phase([&](std::int64_t shard, auto& steps) { steps.push_back({work, own_rows(shard), shard, 0, &parameters}); });
    };
    norm(first ? BlockWork::enter : BlockWork::norm, block.norm1);
    phase([&](std::int64_t shard, auto& steps) { attention(shard, block, steps); });
    norm(BlockWork::norm, block.norm2);
    phase([&](std::int64_t shard, auto& steps) { feed_forward(shard, block, steps); });
  }

  StagedTasks<BlockStep> finish() {
    phase([&](std::int64_t shard, auto& steps) { steps.push_back({BlockWork::leave, own_rows(shard), shard}); });
    link();
    return std::move(tasks_);
  }

 private:
  template <typename AddSteps>
  void phase(const AddSteps& add_steps) {
    auto& shards = tasks_.phases.emplace_back();
    for (std::int64_t shard = 0; shard < kShards; ++shard) add_steps(shard, shards[static_cast<std::size_t>(shard)]);
  }

  void attention(std::int64_t shard, const PackedBlock& block, std::vector<BlockStep>& steps) const {
    const auto panels = shape_.qkv_of_head(together_) / kPanel,
               parts = together_ * ((shape_.cells + kAttentionRows - 1) / kAttentionRows);
    for (std::int64_t piece = 0; piece * together_ < shape_.heads / kShards; ++piece) {
      const auto channel = shape_.qkv_of_head(shape_.head(shard, piece * together_));
      steps.push_back(
          {BlockWork::qkv, panels, shard, piece, nullptr, &block.qkv, 0, channel, block.qkv_bias + channel});
      steps.push_back({BlockWork::pack, together_, shard, piece});
      steps.push_back({BlockWork::attention, parts, shard, piece});
    }
    if (shape_.int8) steps.push_back({BlockWork::quantise_context, all_rows(), shard});
    steps.push_back(
        {BlockWork::output, shape_.width / kPanel, shard, 0, nullptr, &block.output, shard, 0, block.output_bias});
  }

  void feed_forward(std::int64_t shard, const PackedBlock& block, std::vector<BlockStep>& steps) const {
    for (std::int64_t piece = 0; piece < shape_.pieces(); ++piece) {
      const auto part = shape_.part(shard, piece), channel = part * shape_.piece();
      steps.push_back({BlockWork::up, shape_.piece() / kPanel, shard, piece, nullptr, &block.up, 0, channel,
                       block.up_bias + channel});
      if (shape_.int8) steps.push_back({BlockWork::quantise_hidden, all_rows(), shard, piece});
      steps.push_back(
          {BlockWork::down, shape_.width / kPanel, shard, piece, nullptr, &block.down, part, 0, block.down_bias});
    }
  }

  /// Tells every step what its shard reads next.
  void link() {
    std::array<const std::uint8_t*, kShards> next = {};
    for (auto phase = tasks_.phases.rbegin(); phase != tasks_.phases.rend(); ++phase) {
      for (std::size_t shard = 0; shard < next.size(); ++shard) {
        auto& steps = (*phase)[shard];
        for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
          step->after = next[shard];
          if (step->weight != nullptr) next[shard] = step->weight->tiles(step->part, step->channel);
        }
      }
    }
  }

  std::int64_t own_rows(std::int64_t shard) const { return (shape_.end(shard) - shape_.begin(shard)) / kRowsTogether; }
  std::int64_t all_rows() const { return shape_.rows() / kRowsTogether; }

  const BlockShape shape_;
  const std::int64_t together_;
  StagedTasks<BlockStep> tasks_;
};

}  // namespace

StagedTasks<BlockStep> steps_through(const std::vector<PackedBlock>& blocks, const BlockShape& shape,
                                     std::int64_t heads_together) {
  StepsThrough steps(shape, heads_together);
  for (const auto& block : blocks) steps.add(block, &block == &blocks.front());
  return steps.finish();
}

}  // namespace tessera
