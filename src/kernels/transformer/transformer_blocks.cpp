#include "kernels/ops/transformer_blocks.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>

#include "kernels/ops/isa.h"
#include "kernels/ops/row_layout.h"
#include "kernels/parallel/staged_tasks.h"
#include "kernels/transformer/block_passage.h"
#include "kernels/transformer/packed_block.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// Images are shared out among teams of threads; a team takes one image through all blocks, then the next.
std::int64_t teams_for(std::int64_t images) {
  return std::clamp<std::int64_t>(at::get_num_threads() / kShards, 1, std::max<std::int64_t>(1, images));
}

std::int64_t threads_of_team(std::int64_t team, std::int64_t teams) {
  return (at::get_num_threads() - team + teams - 1) / teams;
}

}  // namespace

bool transformer_blocks_apply(const torch::Tensor& x, std::int64_t images, std::int64_t heads, Precision precision,
                              const TransformerBlock& block) {
  const bool low = (precision == Precision::bfloat16 && cpu_has_avx512_bf16()) ||
                   (precision == Precision::int8 && cpu_has_avx512_bf16() && cpu_has_avx512_vnni());
  if (!low || torch::GradMode::is_enabled() || !x.is_cpu() || x.numel() == 0 || x.dim() != 2) return false;
  if (x.scalar_type() != torch::kFloat || images < 1 || x.size(0) % images != 0) return false;
  const auto width = x.size(1), hidden = block.up.weight.size(0);
  const BlockShape shape{x.size(0) / images, width, heads, hidden, precision == Precision::int8};
  const auto plain = [](const torch::Tensor& tensor) {
    return tensor.defined() && tensor.scalar_type() == torch::kFloat && tensor.is_contiguous();
  };
  const auto readable = [&](const TransformerBlock::Dense& layer) {
    const auto type = layer.weight.scalar_type();
    return layer.prepacked != nullptr && plain(layer.bias) && (type == torch::kFloat || type == torch::kHalf);
  };
  const bool weights = readable(block.qkv) && readable(block.output) && readable(block.up) && readable(block.down);
  const bool norms =
      plain(block.norm1.weight) && plain(block.norm1.bias) && plain(block.norm2.weight) && plain(block.norm2.bias);
  const bool even = heads % kShards == 0 && width % heads == 0 && shape.head_width() % kPanel == 0 &&
                    hidden % (kShards * kPanel) == 0 && hidden / kShards % shape.pieces() == 0 &&
                    shape.piece() % kPanel == 0;
  return weights && norms && even;
}

torch::Tensor transformer_blocks(const torch::Tensor& given, std::int64_t images, std::int64_t heads, double scale,
                                 bool causal, double eps, Precision precision,
                                 const std::vector<TransformerBlock>& blocks) {
  if (blocks.empty()) return given;
  require(transformer_blocks_apply(given, images, heads, precision, blocks.front()),
          "transformer_blocks: expected what transformer_blocks_apply accepts");
  const auto x = given.contiguous();
  const BlockShape shape{x.size(0) / images, x.size(1), heads, blocks.front().up.weight.size(0),
                         precision == Precision::int8};
  const BlockOptions options{static_cast<float>(scale), causal, eps};
  std::vector<PackedBlock> packed;
  packed.reserve(blocks.size());
  for (const auto& block : blocks) packed.emplace_back(block, shape);
  auto result = fresh_rows(x.size(0), x.size(1), torch::kFloat);
  const std::int64_t teams = teams_for(images), threads = at::get_num_threads();
  std::vector<std::unique_ptr<BlockPassage>> passages;
  for (std::int64_t team = 0; team < teams; ++team) {
    passages.push_back(std::make_unique<BlockPassage>(shape, options, packed, threads_of_team(team, teams)));
  }
  const auto passage_of = [&](std::int64_t image) { return passages[static_cast<std::size_t>(image % teams)].get(); };
  std::vector<std::vector<StepProgress>> progress;  // of each image
  for (std::int64_t image = 0; image < images; ++image) progress.emplace_back(passage_of(image)->steps());
  const auto size = shape.cells * shape.width;
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto thread = begin; thread < end; ++thread) {
      for (auto image = thread % teams; image < images; image += teams) {
        passage_of(image)->go(x.data_ptr<float>() + image * size, result.data_ptr<float>() + image * size,
                              progress[static_cast<std::size_t>(image)], thread / teams);
      }
    }
  });
  return result;
}

}  // namespace tessera
