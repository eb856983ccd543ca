#include "kernels/block_passage.h"

#include <algorithm>
#include <cstring>

#include "kernels/row_layout.h"

namespace tessera {
namespace {

std::int64_t pitch_of(std::int64_t features) {
  return row_pitch(features * std::int64_t(sizeof(std::uint16_t))) / std::int64_t(sizeof(std::uint16_t));
}

}  // namespace

BlockPassage::BlockPassage(const BlockShape& shape, const BlockOptions& options, const std::vector<PackedBlock>& blocks,
                           std::int64_t threads)
    : shape_(shape),
      options_(options),
      heads_together_(threads <= kLanes ? 1 : shape.heads / kLanes),
      steps_(steps_through(blocks, shape, heads_together_)),
      sums_row_(row_pitch(shape.width * std::int64_t(sizeof(float))) / std::int64_t(sizeof(float))),
      heads_pitch_(pitch_of(shape.qkv_of_head(heads_together_))),
      workers_(static_cast<std::size_t>(threads)) {
  normed_ = operand(shape.width, !shape.int8);
  clear_padding(normed_);
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    sums_[lane] = room<float>(shape.rows() * sums_row_);
    context_[lane] = operand(shape.lane_width(), true);
    hidden_[lane] = operand(shape.piece(), true);
    heads_[lane] = room<std::uint16_t>(shape.rows() * heads_pitch_);
    packed_[lane] = room<std::uint16_t>(heads_together_ * bf16::attention_packed(attention(lane, 0)));
  }
  for (auto& worker : workers_) {
    worker.scratch = room<std::uint16_t>(bf16::attention_scratch(attention(0, 0)));
    if (shape.int8) worker.normed = room<std::uint16_t>(kRowsTogether * pitch_of(shape.width));
  }
}

void BlockPassage::go(const float* x, float* result, std::vector<StepProgress>& progress, std::int64_t thread) {
  const auto& worker = workers_[static_cast<std::size_t>(thread)];
  steps_.work(
      progress, thread, static_cast<std::int64_t>(workers_.size()),
      [&](const BlockStep& step, std::int64_t begin, std::int64_t end) { run(step, begin, end, worker, x, result); });
}

// -----------------------------------------------------------------------------------------------------------
// memory

template <typename Element>
Element* BlockPassage::room(std::int64_t count) {
  constexpr std::int64_t kAlignment = 64;  // bytes
  const auto bytes = count * std::int64_t(sizeof(Element));
  memory_.push_back(fresh_rows(1, bytes + kAlignment, torch::kUInt8));
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.back().data_ptr());
  return reinterpret_cast<Element*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

BlockPassage::Operand BlockPassage::operand(std::int64_t features, bool values) {
  Operand made;
  if (values) {
    made.pitch = pitch_of(features);
    made.values = room<std::uint16_t>(shape_.rows() * made.pitch);
  }
  if (shape_.int8) {
    made.bytes_pitch = row_pitch(features);
    made.bytes = room<std::uint8_t>(shape_.rows() * made.bytes_pitch);
    made.scale = room<float>(shape_.rows());
  }
  return made;
}

/// The rows behind the last cell are multiplied with the others: what they hold changes nothing, but is to be a number.
void BlockPassage::clear_padding(const Operand& of) const {
  for (auto row = shape_.cells; row < shape_.rows(); ++row) {
    if (of.values != nullptr) std::memset(of.values + row * of.pitch, 0, std::size_t(of.pitch) * sizeof(*of.values));
    if (of.bytes == nullptr) continue;
    std::memset(of.bytes + row * of.bytes_pitch, 0, std::size_t(of.bytes_pitch));
    of.scale[row] = 1;
  }
}

// -----------------------------------------------------------------------------------------------------------
// what a step does

void BlockPassage::run(const BlockStep& step, std::int64_t begin, std::int64_t end, const Worker& worker,
                       const float* x, float* result) const {
  const auto own_row = [&](std::int64_t task) { return shape_.begin(step.lane) + task * kRowsTogether; };
  switch (step.work) {
    case BlockWork::enter:
    case BlockWork::norm:
      for (auto task = begin; task < end; ++task) normalise(step, own_row(task), worker, x);
      return;
    case BlockWork::qkv:
      return project(step, begin, end);
    case BlockWork::pack:
      for (auto head = begin; head < end; ++head) {
        const auto given = attention(step.lane, head);
        bf16::pack_keys(given, packed_[step.lane] + head * bf16::attention_packed(given));
      }
      return;
    case BlockWork::attention:
      return attend(step, begin, end, worker);
    case BlockWork::quantise_context:
      return quantise(context_[step.lane], shape_.lane_width(), begin * kRowsTogether, end * kRowsTogether);
    case BlockWork::quantise_hidden:
      return quantise(hidden_[step.lane], shape_.piece(), begin * kRowsTogether, end * kRowsTogether);
    case BlockWork::up:
      return raise(step, begin, end);
    case BlockWork::output:
    case BlockWork::down:
      return add(step, begin, end);
    case BlockWork::leave:
      for (auto task = begin; task < end; ++task) leave(step.lane, own_row(task), result);
      return;
  }
}

/// 32 of the lane's rows from `row` on.
void BlockPassage::normalise(const BlockStep& step, std::int64_t row, const Worker& worker, const float* x) const {
  auto sum = sum_of_lanes(step.lane, row);
  if (step.work == BlockWork::enter) {
    sum.first = x + row * shape_.width;
    sum.first_row = shape_.width;
    sum.second = nullptr;
  }
  auto* const to = shape_.int8 ? worker.normed : normed_.values + row * normed_.pitch;
  const auto pitch = shape_.int8 ? pitch_of(shape_.width) : normed_.pitch;
  avx512::layer_norm_of_sum(sum, options_.eps, step.norm->weight, step.norm->bias, to, pitch);
  if (!shape_.int8) return;
  int8::quantise_rows(to, pitch, sum.rows, shape_.width, normed_.bytes + row * normed_.bytes_pitch,
                      normed_.scale + row);
}

/// Panels [begin, end) of queries, keys and values.
void BlockPassage::project(const BlockStep& step, std::int64_t begin, std::int64_t end) const {
  const auto base = shape_.qkv_of_head(shape_.head(step.lane, step.piece * heads_together_));
  ProductOutput to;
  to.output = heads_[step.lane] + begin * kPanel;
  to.output_pixel = heads_pitch_;
  to.bias = step.block->qkv_bias + base + begin * kPanel;
  multiply(to, normed_, channels(step, step.block->qkv, 0, base, begin, end, step.tasks));
}

/// Parts [begin, end) of what attention makes of the heads, kAttentionRows rows each, head after head.
void BlockPassage::attend(const BlockStep& step, std::int64_t begin, std::int64_t end, const Worker& worker) const {
  const auto parts = step.tasks / heads_together_;  // of a head
  while (begin < end) {
    const auto head = begin / parts, part = begin % parts, count = std::min(parts - part, end - begin);
    const auto row = part * kAttentionRows, last = std::min(row + count * kAttentionRows, shape_.cells);
    auto given = attention(step.lane, head);
    given.packed = packed_[step.lane] + head * bf16::attention_packed(given);
    given.packed_keys = given.keys;
    given.query += row * given.query_row;
    given.queries = last - row;
    if (options_.causal) given.keys = last;  // none of these queries sees the keys behind
    const auto& context = context_[step.lane];
    const auto to = row * context.pitch + (step.piece * heads_together_ + head) * shape_.head_width();
    bf16::attention_forward(given, context.values + to, context.pitch, nullptr, worker.scratch);
    begin += count;
  }
}

void BlockPassage::quantise(const Operand& of, std::int64_t features, std::int64_t begin, std::int64_t end) const {
  int8::quantise_rows(of.values + begin * of.pitch, of.pitch, std::min(end, shape_.cells) - begin, features,
                      of.bytes + begin * of.bytes_pitch, of.scale + begin);
}

/// Panels [begin, end) of a piece of the lane's hidden features.
void BlockPassage::raise(const BlockStep& step, std::int64_t begin, std::int64_t end) const {
  const auto base = shape_.part(step.lane, step.piece) * shape_.piece();
  const auto& hidden = hidden_[step.lane];
  ProductOutput to;
  to.gelu = hidden.values + begin * kPanel;
  to.output_pixel = hidden.pitch;
  to.bias = step.block->up_bias + base + begin * kPanel;
  multiply(to, normed_, channels(step, step.block->up, 0, base, begin, end, step.tasks));
}

/// Panels [begin, end) of a product, added to the lane's sums. The first of a sublayer finds nothing yet in the other
/// lane's rows, which begin with its bias.
void BlockPassage::add(const BlockStep& step, std::int64_t begin, std::int64_t end) const {
  const bool output = step.work == BlockWork::output, first = output || step.piece == 0;
  const auto& left = output ? context_[step.lane] : hidden_[step.lane];
  const auto panels =
      output ? channels(step, step.block->output, step.lane, 0, begin, end, step.tasks)
             : channels(step, step.block->down, shape_.part(step.lane, step.piece), 0, begin, end, step.tasks);
  const auto* const bias = (output ? step.block->output_bias : step.block->down_bias) + panels.first;
  const auto other = 1 - step.lane, fresh = first ? shape_.begin(other) : 0, fresh_end = first ? shape_.end(other) : 0;
  ProductOutput to;
  to.sum = sums_[step.lane] + panels.first;
  to.output_pixel = sums_row_;
  to.channels = panels.count;
  if (!shape_.int8) {
    to.bias = bias;
    return bf16::multiply_onto(describe(to, left, panels), fresh, fresh_end);
  }
  const auto rows = [&](std::int64_t from, std::int64_t until, bool hold_nothing) {
    if (from == until) return;
    auto product = describe_int8(to, left, panels);
    product.input += from * left.bytes_pitch;
    product.row_scale += from;
    product.rows = until - from;
    product.sum += from * sums_row_;
    product.bias = hold_nothing ? bias : nullptr;
    product.residual = hold_nothing ? nullptr : product.sum;
    int8::multiply(product);
  };
  rows(0, fresh, false);
  rows(fresh, fresh_end, true);
  rows(fresh_end, shape_.rows(), false);
}

/// 32 of the lane's rows from `row` on.
void BlockPassage::leave(std::int64_t lane, std::int64_t row, float* result) const {
  auto sum = sum_of_lanes(lane, row);
  sum.sum = result + row * shape_.width;
  sum.sum_row = shape_.width;
  avx512::layer_norm_of_sum(sum, options_.eps, nullptr, nullptr, nullptr, 0);
}

// -----------------------------------------------------------------------------------------------------------
// what the kernels are told

/// The two lanes' sums of up to 32 of the lane's own rows, added up in its own.
avx512::SumOfRows BlockPassage::sum_of_lanes(std::int64_t lane, std::int64_t row) const {
  avx512::SumOfRows sum;
  sum.first = sum.sum = sums_[lane] + row * sums_row_;
  sum.second = sums_[1 - lane] + row * sums_row_;
  sum.first_row = sum.second_row = sum.sum_row = sums_row_;
  sum.rows = std::min(kRowsTogether, shape_.cells - row);
  sum.features = shape_.width;
  return sum;
}

/// One of the heads together.
bf16::Attention BlockPassage::attention(std::int64_t lane, std::int64_t index) const {
  const auto* const heads = heads_[lane] + shape_.qkv_of_head(index);
  bf16::Attention head;
  head.queries = head.keys = shape_.cells;
  head.width = shape_.head_width();
  head.scale = options_.scale;
  head.causal = options_.causal;
  head.query = heads;
  head.key = heads + head.width;
  head.value = heads + 2 * head.width;
  head.query_row = head.key_row = head.value_row = heads_pitch_;
  return head;
}

/// Panels [begin, end) of the `panels` that lie from channel `base` on.
BlockPassage::Channels BlockPassage::channels(const BlockStep& step, const PackedParts& weight, std::int64_t part,
                                              std::int64_t base, std::int64_t begin, std::int64_t end,
                                              std::int64_t panels) const {
  return {&weight, part, base + begin * kPanel, (end - begin) * kPanel,
          end < panels ? weight.tiles(part, base + end * kPanel) : step.after};
}

void BlockPassage::multiply(ProductOutput to, const Operand& left, const Channels& channels) const {
  to.channels = channels.count;
  if (shape_.int8) {
    int8::multiply(describe_int8(to, left, channels));
  } else {
    bf16::multiply(describe(to, left, channels));
  }
}

bf16::Product BlockPassage::describe(const ProductOutput& to, const Operand& left, const Channels& channels) const {
  bf16::Product product;
  static_cast<ProductOutput&>(product) = to;
  product.input = left.values;
  product.input_pixel = left.pitch;
  product.depth = channels.weight->inputs() / bf16::kDepth;
  product.weights = reinterpret_cast<const std::uint16_t*>(channels.weight->tiles(channels.part, channels.first));
  product.weights_after = reinterpret_cast<const std::uint16_t*>(channels.after);
  product.far_weights = true;
  product.rows = 1;
  product.columns = shape_.rows();
  return product;
}

int8::Product BlockPassage::describe_int8(const ProductOutput& to, const Operand& left,
                                          const Channels& channels) const {
  const auto& weight = *channels.weight;
  int8::Product product;
  static_cast<ProductOutput&>(product) = to;
  product.input = left.bytes;
  product.input_row = left.bytes_pitch;
  product.row_scale = left.scale;
  product.rows = shape_.rows();
  product.depth = int8::padded(weight.inputs(), int8::kDepth) / int8::kDepth;
  product.weights = reinterpret_cast<const std::int8_t*>(weight.tiles(channels.part, channels.first));
  product.weights_after = reinterpret_cast<const std::int8_t*>(channels.after);
  product.channel_scale = weight.scale(channels.part, channels.first);
  product.channel_sum = weight.sum(channels.part, channels.first);
  return product;
}

}  // namespace tessera
