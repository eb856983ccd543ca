#include "kernels/transformer/packed_block.h"

#include "kernels/parallel/tasks.h"

namespace tessera {
namespace {

PackedForm form_of(bool int8) {
  return {int8 ? PackedForm::For::block_int8 : PackedForm::For::block_bf16};
}

/// The row of qkv that channel `channel` of the packed weight holds: a head's queries, keys and values side by side.
std::int64_t source_of_qkv(const BlockShape& shape, std::int64_t channel) {
  const auto head = channel / (3 * shape.head_width()), within = channel % (3 * shape.head_width());
  return within / shape.head_width() * shape.width + head * shape.head_width() + within % shape.head_width();
}

/// source(channel): the row of the weight; 32 channels from a multiple of 32 on lie together in it.
template <typename Source>
PackedParts packed_parts(const TransformerBlock::Dense& layer, bool int8, std::int64_t parts, const Source& source) {
  const auto outputs = layer.weight.size(0), inputs = layer.weight.size(1);
  const auto pack = [&] {
    const auto weight = layer.weight.to(torch::kFloat).contiguous();
    auto packed = PackedWeight::allocate(layer.weight, PackedParts::bytes(int8, outputs, inputs, parts), torch::kUInt8);
    const PackedParts to(packed, int8, outputs, inputs, parts);
    for_each_task(parts * outputs / kPanel, [&](std::int64_t task) {
      const auto part = task / (outputs / kPanel), channel = task % (outputs / kPanel) * kPanel;
      to.pack(weight.data_ptr<float>() + source(channel) * inputs, inputs, part, channel);
    });
    return packed;
  };
  return {layer.prepacked->get(layer.weight, pack, form_of(int8)), int8, outputs, inputs, parts};
}

std::int64_t same_channel(std::int64_t channel) {
  return channel;
}

}  // namespace

PackedBlock::PackedBlock(const TransformerBlock& block, const BlockShape& shape)
    : norm1{block.norm1.weight.data_ptr<float>(), block.norm1.bias.data_ptr<float>()},
      norm2{block.norm2.weight.data_ptr<float>(), block.norm2.bias.data_ptr<float>()},
      qkv(packed_parts(block.qkv, shape.int8, 1, [&](std::int64_t channel) { return source_of_qkv(shape, channel); })),
      output(packed_parts(block.output, shape.int8, kShards, same_channel)),
      up(packed_parts(block.up, shape.int8, 1, same_channel)),
      down(packed_parts(block.down, shape.int8, kShards * shape.pieces(), same_channel)),
      output_bias(block.output.bias.data_ptr<float>()),
      up_bias(block.up.bias.data_ptr<float>()),
      down_bias(block.down.bias.data_ptr<float>()) {
  const auto by_heads = [&] {
    return block.qkv.bias.view({3, shape.heads, shape.head_width()}).transpose(0, 1).contiguous();
  };
  qkv_bias = block.qkv.prepacked->get_bias(block.qkv.bias, by_heads, form_of(shape.int8)).data_ptr<float>();
}

}  // namespace tessera
