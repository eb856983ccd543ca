#include "kernels/transformer/block_passage.h"

#include <algorithm>
#include <cstring>

#include "kernels/ops/row_layout.h"

namespace tessera {

BlockPassage::BlockPassage(const BlockShape& shape, const BlockOptions& options, const std::vector<PackedBlock>& blocks,
                           std::int64_t threads)
    : shape_(shape),
      options_(options),
      heads_together_(threads <= kShards ? 1 : shape.heads / kShards),
      steps_(steps_through(blocks, shape, heads_together_)),
      sums_row_(elements_apart<float>(shape.width)),
      heads_ld_(elements_apart<std::uint16_t>(shape.qkv_of_head(heads_together_))),
      workers_(static_cast<std::size_t>(threads)) {
  normed_ = operand(shape.width, !shape.int8);
  clear_padding(normed_);
  for (std::int64_t shard = 0; shard < kShards; ++shard) {
    sums_[shard] = workspace<float>(shape.rows() * sums_row_);
    context_[shard] = operand(shape.shard_width(), true);
    hidden_[shard] = operand(shape.piece(), true);
    heads_[shard] = workspace<std::uint16_t>(shape.rows() * heads_ld_);
    packed_[shard] = workspace<std::uint16_t>(heads_together_ * bf16::attention_packed(attention(shard, 0)));
  }
  for (auto& worker : workers_) {
    worker.scratch = workspace<std::uint16_t>(bf16::attention_scratch(attention(0, 0)));
    if (shape.int8)
      worker.normed = workspace<std::uint16_t>(kRowsTogether * elements_apart<std::uint16_t>(shape.width));
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

/// Aligned to a cache line, as all that LibTorch hands out.
template <typename Element>
Element* BlockPassage::workspace(std::int64_t count) {
  memory_.push_back(fresh_rows(1, count * std::int64_t(sizeof(Element)), torch::kUInt8));
  return static_cast<Element*>(memory_.back().data_ptr());
}

BlockPassage::Operand BlockPassage::operand(std::int64_t features, bool values) {
  Operand made;
  if (values) {
    made.ld = elements_apart<std::uint16_t>(features);
    made.values = workspace<std::uint16_t>(shape_.rows() * made.ld);
  }
  if (shape_.int8) {
    made.bytes_ld = leading_dimension(features);
    made.bytes = workspace<std::uint8_t>(shape_.rows() * made.bytes_ld);
    made.scale = workspace<float>(shape_.rows());
  }
  return made;
}

/// The rows behind the last cell are multiplied with the others: what they hold changes nothing, but is to be a number.
void BlockPassage::clear_padding(const Operand& of) const {
  for (auto row = shape_.cells; row < shape_.rows(); ++row) {
    if (of.values != nullptr) std::memset(of.values + row * of.ld, 0, std::size_t(of.ld) * sizeof(*of.values));
    if (of.bytes == nullptr) continue;
    std::memset(of.bytes + row * of.bytes_ld, 0, std::size_t(of.bytes_ld));
    of.scale[row] = 1;
  }
}

// -----------------------------------------------------------------------------------------------------------
// what a step does

void BlockPassage::run(const BlockStep& step, std::int64_t begin, std::int64_t end, const Worker& worker,
                       const float* x, float* result) const {
  const auto own_row = [&](std::int64_t task) { return shape_.begin(step.shard) + task * kRowsTogether; };
  switch (step.work) {
    case BlockWork::enter:
    case BlockWork::norm:
      for (auto task = begin; task < end; ++task) normalise(step, own_row(task), worker, x);
      return;
    case BlockWork::qkv:
      return project(step, begin, end);
    case BlockWork::pack:
      for (auto head = begin; head < end; ++head) {
        const auto given = attention(step.shard, head);
        bf16::pack_keys(given, packed_[step.shard] + head * bf16::attention_packed(given));
      }
      return;
    case BlockWork::attention:
      return attend(step, begin, end, worker);
    case BlockWork::quantise_context:
      return quantise(context_[step.shard], shape_.shard_width(), begin * kRowsTogether, end * kRowsTogether);
    case BlockWork::quantise_hidden:
      return quantise(hidden_[step.shard], shape_.piece(), begin * kRowsTogether, end * kRowsTogether);
    case BlockWork::up:
      return raise(step, begin, end);
    case BlockWork::output:
    case BlockWork::down:
      return add(step, begin, end);
    case BlockWork::leave:
      for (auto task = begin; task < end; ++task) leave(step.shard, own_row(task), result);
      return;
  }
}

/// 32 of the shard's rows from `row` on.
void BlockPassage::normalise(const BlockStep& step, std::int64_t row, const Worker& worker, const float* x) const {
  auto sum = sum_of_lanes(step.shard, row);
  if (step.work == BlockWork::enter) {
    sum.first = x + row * shape_.width;
    sum.first_row = shape_.width;
    sum.second = nullptr;
  }
  auto* const to = shape_.int8 ? worker.normed : normed_.values + row * normed_.ld;
  const auto ld = shape_.int8 ? elements_apart<std::uint16_t>(shape_.width) : normed_.ld;
  avx512::layer_norm_of_sum(sum, options_.eps, step.norm->weight, step.norm->bias, to, ld);
  if (!shape_.int8) return;
  int8::quantise_rows(to, ld, sum.rows, shape_.width, normed_.bytes + row * normed_.bytes_ld, normed_.scale + row);
}

/// Panels [begin, end) of queries, keys and values.
void BlockPassage::project(const BlockStep& step, std::int64_t begin, std::int64_t end) const {
  auto to = output_of(step, begin, end);
  to.output = heads_[step.shard] + begin * kPanel;
  to.output_pixel = heads_ld_;
  multiply(step, begin, end, normed_, to);
}

/// Parts [begin, end) of what attention makes of the heads, kAttentionRows rows each, head after head.
void BlockPassage::attend(const BlockStep& step, std::int64_t begin, std::int64_t end, const Worker& worker) const {
  const auto parts = step.tasks / heads_together_;  // of a head
  while (begin < end) {
    const auto head = begin / parts, part = begin % parts, count = std::min(parts - part, end - begin);
    const auto row = part * kAttentionRows, last = std::min(row + count * kAttentionRows, shape_.cells);
    auto given = attention(step.shard, head);
    given.packed = packed_[step.shard] + head * bf16::attention_packed(given);
    given.packed_keys = given.keys;
    given.query += row * given.query_row;
    given.queries = last - row;
    if (options_.causal) given.keys = last;  // none of these queries sees the keys behind
    const auto& context = context_[step.shard];
    const auto to = row * context.ld + (step.piece * heads_together_ + head) * shape_.head_width();
    bf16::attention_forward(given, context.values + to, context.ld, nullptr, worker.scratch);
    begin += count;
  }
}

void BlockPassage::quantise(const Operand& of, std::int64_t features, std::int64_t begin, std::int64_t end) const {
  int8::quantise_rows(of.values + begin * of.ld, of.ld, std::min(end, shape_.cells) - begin, features,
                      of.bytes + begin * of.bytes_ld, of.scale + begin);
}

/// Panels [begin, end) of a piece of the shard's hidden features.
void BlockPassage::raise(const BlockStep& step, std::int64_t begin, std::int64_t end) const {
  const auto& hidden = hidden_[step.shard];
  auto to = output_of(step, begin, end);
  to.gelu = hidden.values + begin * kPanel;
  to.output_pixel = hidden.ld;
  multiply(step, begin, end, normed_, to);
}

/// Panels [begin, end) of a product, added to the shard's sums. The first of a sublayer finds nothing yet in the other
/// shard's rows, which begin with its bias.
void BlockPassage::add(const BlockStep& step, std::int64_t begin, std::int64_t end) const {
  const bool first = step.piece == 0;
  const auto& left = step.work == BlockWork::output ? context_[step.shard] : hidden_[step.shard];
  const auto other = 1 - step.shard, fresh = first ? shape_.begin(other) : 0, fresh_end = first ? shape_.end(other) : 0;
  auto to = output_of(step, begin, end);
  to.sum = sums_[step.shard] + begin * kPanel;
  to.output_pixel = sums_row_;
  if (!shape_.int8) return bf16::multiply_onto(describe(step, begin, end, left, to), fresh, fresh_end);
  const auto rows = [&](std::int64_t from, std::int64_t until, bool hold_nothing) {
    if (from == until) return;
    auto gemm = describe_int8(step, begin, end, left, to);
    gemm.input += from * left.bytes_ld;
    gemm.row_scale += from;
    gemm.rows = until - from;
    gemm.sum += from * sums_row_;
    if (!hold_nothing) {
      gemm.residual = gemm.sum;
      gemm.bias = nullptr;
    }
    int8::multiply(gemm);
  };
  rows(0, fresh, false);
  rows(fresh, fresh_end, true);
  rows(fresh_end, shape_.rows(), false);
}

/// 32 of the shard's rows from `row` on.
void BlockPassage::leave(std::int64_t shard, std::int64_t row, float* result) const {
  auto sum = sum_of_lanes(shard, row);
  sum.sum = result + row * shape_.width;
  sum.sum_row = shape_.width;
  avx512::layer_norm_of_sum(sum, options_.eps, nullptr, nullptr, nullptr, 0);
}

// -----------------------------------------------------------------------------------------------------------
// what the kernels are told

/// The two shards' sums of up to 32 of the shard's own rows, added up in its own.
avx512::SumOfRows BlockPassage::sum_of_lanes(std::int64_t shard, std::int64_t row) const {
  avx512::SumOfRows sum;
  sum.first = sum.sum = sums_[shard] + row * sums_row_;
  sum.second = sums_[1 - shard] + row * sums_row_;
  sum.first_row = sum.second_row = sum.sum_row = sums_row_;
  sum.rows = std::min(kRowsTogether, shape_.cells - row);
  sum.features = shape_.width;
  return sum;
}

/// One of the heads together.
bf16::Attention BlockPassage::attention(std::int64_t shard, std::int64_t index) const {
  const auto* const heads = heads_[shard] + shape_.qkv_of_head(index);
  bf16::Attention head;
  head.queries = head.keys = shape_.cells;
  head.width = shape_.head_width();
  head.scale = options_.scale;
  head.causal = options_.causal;
  head.query = heads;
  head.key = heads + head.width;
  head.value = heads + 2 * head.width;
  head.query_row = head.key_row = head.value_row = heads_ld_;
  return head;
}

/// What all products say of the result's panels [begin, end).
GemmOutput BlockPassage::output_of(const BlockStep& step, std::int64_t begin, std::int64_t end) const {
  GemmOutput to;
  to.channels = (end - begin) * kPanel;
  to.bias = step.bias + begin * kPanel;
  return to;
}

/// The weights to bring nearer behind the panels before `end`.
const std::uint8_t* BlockPassage::after(const BlockStep& step, std::int64_t end) const {
  return end < step.tasks ? step.weight->tiles(step.part, step.channel + end * kPanel) : step.after;
}

void BlockPassage::multiply(const BlockStep& step, std::int64_t begin, std::int64_t end, const Operand& left,
                            const GemmOutput& to) const {
  if (shape_.int8) {
    int8::multiply(describe_int8(step, begin, end, left, to));
  } else {
    bf16::multiply(describe(step, begin, end, left, to));
  }
}

bf16::Gemm BlockPassage::describe(const BlockStep& step, std::int64_t begin, std::int64_t end, const Operand& left,
                                  const GemmOutput& to) const {
  const auto* const tiles = step.weight->tiles(step.part, step.channel + begin * kPanel);
  bf16::Gemm gemm;
  static_cast<GemmOutput&>(gemm) = to;
  gemm.input = left.values;
  gemm.input_pixel = left.ld;
  gemm.depth = step.weight->inputs() / bf16::kDepth;
  gemm.weights = reinterpret_cast<const std::uint16_t*>(tiles);
  gemm.weights_after = reinterpret_cast<const std::uint16_t*>(after(step, end));
  gemm.far_weights = true;
  gemm.rows = 1;
  gemm.columns = shape_.rows();
  return gemm;
}

int8::Gemm BlockPassage::describe_int8(const BlockStep& step, std::int64_t begin, std::int64_t end, const Operand& left,
                                       const GemmOutput& to) const {
  const auto& weight = *step.weight;
  const auto channel = step.channel + begin * kPanel;
  int8::Gemm gemm;
  static_cast<GemmOutput&>(gemm) = to;
  gemm.input = left.bytes;
  gemm.input_row = left.bytes_ld;
  gemm.row_scale = left.scale;
  gemm.rows = shape_.rows();
  gemm.depth = int8::padded(weight.inputs(), int8::kDepth) / int8::kDepth;
  gemm.weights = reinterpret_cast<const std::int8_t*>(weight.tiles(step.part, channel));
  gemm.weights_after = reinterpret_cast<const std::int8_t*>(after(step, end));
  gemm.channel_scale = weight.scale(step.part, channel);
  gemm.channel_sum = weight.sum(step.part, channel);
  return gemm;
}

}  // namespace tessera
