#include "kernels/transformer_blocks.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "kernels/bf16_attention.h"
#include "kernels/bf16_product.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_product.h"
#include "kernels/row_layout.h"
#include "kernels/row_ops_avx512.h"
#include "kernels/shared_tasks.h"
#include "kernels/staged_tasks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kRows = 32;     // that are multiplied together
constexpr std::int64_t kPanel = 32;    // channels that are
constexpr std::int64_t kHidden = 512;  // most hidden features at a time: a panel of weights fits the first-level cache
constexpr std::int64_t kAlignment = 64;  // bytes

static_assert(kPanel == bf16::kPanel && kPanel == int8::kPanel);

std::int64_t up_to(std::int64_t count, std::int64_t of) {
  return (count + of - 1) / of * of;
}

struct Shape {
  std::int64_t cells, width, heads, hidden;  // of an image: L, C, heads, H
  bool int8;

  std::int64_t rows() const { return up_to(cells, kRows); }
  std::int64_t head_width() const { return width / heads; }
  std::int64_t lane_width() const { return width / kLanes; }
  /// Pieces that a lane's hidden features are cut into, and the features of one.
  std::int64_t pieces() const { return (hidden / kLanes + kHidden - 1) / kHidden; }
  std::int64_t piece() const { return hidden / kLanes / pieces(); }
  /// The first row that a lane keeps the residual stream of, and the one behind the last.
  std::int64_t begin(std::int64_t lane) const { return up_to(rows() * lane / kLanes, kRows); }
  std::int64_t end(std::int64_t lane) const { return begin(lane + 1); }
};

// -----------------------------------------------------------------------------------------------------------
// packed weights

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
    return int8_ ? up_to(parts_ * outputs_ * std::int64_t(sizeof(float) + sizeof(std::int32_t)), kAlignment) : 0;
  }

  bool int8_ = false;
  std::int64_t outputs_ = 0, inputs_ = 0, parts_ = 1;
  std::uint8_t* data_ = nullptr;
};

/// The row of qkv that channel `channel` of the packed weight holds: a head's queries, keys and values side by side.
std::int64_t source_of_qkv(const Shape& shape, std::int64_t channel) {
  const auto head = channel / (3 * shape.head_width()), within = channel % (3 * shape.head_width());
  return within / shape.head_width() * shape.width + head * shape.head_width() + within % shape.head_width();
}

/// source(channel): the row of the weight; 32 channels from a multiple of 32 on lie together in it.
template <typename Source>
PackedParts packed_parts(const TransformerBlock::Dense& layer, bool int8, std::int64_t parts, const Source& source) {
  constexpr int kForm = 1000;  // beside those of single products, which are the bits of an element
  const auto outputs = layer.weight.size(0), inputs = layer.weight.size(1);
  const auto pack = [&] {
    const auto weight = layer.weight.to(torch::kFloat).contiguous();
    const auto packed = torch::empty({PackedParts::bytes(int8, outputs, inputs, parts)}, torch::kUInt8);
    const PackedParts to(packed, int8, outputs, inputs, parts);
    for_each_task(parts * outputs / kPanel, [&](std::int64_t task) {
      const auto part = task / (outputs / kPanel), channel = task % (outputs / kPanel) * kPanel;
      to.pack(weight.data_ptr<float>() + source(channel) * inputs, inputs, part, channel);
    });
    return packed;
  };
  return {layer.kept->get(layer.weight, pack, kForm + (int8 ? 8 : 16)), int8, outputs, inputs, parts};
}

std::int64_t same_channel(std::int64_t channel) {
  return channel;
}

/// The parameters of a block as they are read here.
struct PackedBlock {
  PackedBlock(const TransformerBlock& block, const Shape& shape)
      : norm1{block.norm1.weight.data_ptr<float>(), block.norm1.bias.data_ptr<float>()},
        norm2{block.norm2.weight.data_ptr<float>(), block.norm2.bias.data_ptr<float>()},
        qkv(packed_parts(block.qkv, shape.int8, 1,
                         [&](std::int64_t channel) { return source_of_qkv(shape, channel); })),
        output(packed_parts(block.output, shape.int8, kLanes, same_channel)),
        up(packed_parts(block.up, shape.int8, 1, same_channel)),
        down(packed_parts(block.down, shape.int8, kLanes * shape.pieces(), same_channel)),
        output_bias(block.output.bias.data_ptr<float>()),
        up_bias(block.up.bias.data_ptr<float>()),
        down_bias(block.down.bias.data_ptr<float>()) {
    const auto by_heads = [&] {
      return block.qkv.bias.view({3, shape.heads, shape.head_width()}).transpose(0, 1).contiguous();
    };
    qkv_bias = block.qkv.kept->get_bias(block.qkv.bias, by_heads, 1000).data_ptr<float>();
  }

  struct Norm {
    const float *weight, *bias;
  };
  Norm norm1, norm2;
  PackedParts qkv, output, up, down;
  const float *output_bias, *up_bias, *down_bias, *qkv_bias = nullptr;
};

// -----------------------------------------------------------------------------------------------------------
// one image's way through the blocks

/// The left operand of a product: rows of bfloat16, or of int8's bytes with their scales.
struct Operand {
  std::uint16_t* values = nullptr;
  std::int64_t pitch = 0;  // elements
  std::uint8_t* bytes = nullptr;
  std::int64_t bytes_pitch = 0;
  float* scale = nullptr;
};

enum class Kind { norm, heads, qkv, attention, quantise, output, up, down, finish };

struct Step {
  Kind kind;
  std::int64_t tasks;
  std::int64_t share;  // 2: half of what is left is taken at a time
  std::int64_t lane;
  const PackedBlock* block = nullptr;
  const PackedBlock::Norm* norm = nullptr;  // of the rows that are normalised
  std::int64_t piece = 0;                   // of the hidden features
  const std::uint8_t* after = nullptr;      // weights that the lane reads next
};

/// Memory for one image at a time, and the steps through all blocks.
class Passage {
 public:
  Passage(const Shape& shape, double scale, bool causal, double eps, const std::vector<PackedBlock>& blocks,
          std::int64_t threads)
      : shape_(shape), scale_(static_cast<float>(scale)), causal_(causal), eps_(eps) {
    const auto rows = shape.rows();
    sums_row_ = row_pitch(shape.width * std::int64_t(sizeof(float))) / std::int64_t(sizeof(float));
    normed_ = operand(shape.width, !shape.int8);
    clear_padding(normed_);
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      sums_[lane] = room<float>(rows * sums_row_);
      context_[lane] = operand(shape.lane_width(), true);
      hidden_[lane] = operand(shape.piece(), true);
    }
    // Where there are more threads than heads, qkv of all of a lane's heads lie side by side.
    const auto lane_heads = shape.heads / kLanes;
    many_threads_ = threads > kLanes * lane_heads;
    heads_pitch_ = pitch_of((many_threads_ ? lane_heads : 1) * 3 * shape.head_width());
    for (auto& heads : lane_heads_) heads = many_threads_ ? room<std::uint16_t>(rows * heads_pitch_) : nullptr;
    workers_.resize(static_cast<std::size_t>(threads));
    for (auto& worker : workers_) {
      if (!many_threads_) worker.heads = room<std::uint16_t>(rows * heads_pitch_);
      worker.scratch =
          room<std::uint16_t>(bf16::attention_scratch(attention(many_threads_ ? lane_heads_[0] : worker.heads)));
      if (shape.int8) worker.normed = room<std::uint16_t>(kRows * pitch_of(shape.width));
    }
    for (const auto& block : blocks) add(block);
    add_to_lanes([&](std::int64_t lane) { return std::vector<Step>{{Kind::finish, blocks_of_rows(lane), 1, lane}}; });
    link();
  }

  std::size_t steps() const { return steps_.steps(); }

  /// What one of the threads does for an image: x [L, C] -> result [L, C], both contiguous.
  void go(const float* x, float* result, std::vector<StepProgress>& progress, std::int64_t thread) {
    auto& worker = workers_[static_cast<std::size_t>(thread)];
    steps_.work(
        progress, thread, static_cast<std::int64_t>(workers_.size()),
        [&](const Step& step, std::int64_t begin, std::int64_t end) { run(step, begin, end, worker, x, result); });
  }

 private:
  struct Worker {
    std::uint16_t *heads = nullptr, *scratch = nullptr, *normed = nullptr;
  };

  // ---- memory

  template <typename Element>
  Element* room(std::int64_t count) {
    const auto bytes = count * std::int64_t(sizeof(Element));
    memory_.push_back(fresh_rows(1, up_to(bytes, kAlignment) + kAlignment, torch::kUInt8));
    auto address = reinterpret_cast<std::uintptr_t>(memory_.back().data_ptr());
    address = (address + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<Element*>(address);
  }

  static std::int64_t pitch_of(std::int64_t features) {
    return row_pitch(features * std::int64_t(sizeof(std::uint16_t))) / std::int64_t(sizeof(std::uint16_t));
  }

  Operand operand(std::int64_t features, bool values) {
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

  /// The rows behind the last cell are multiplied with the others; what they hold changes nothing, but is to be a
  /// number.
  void clear_padding(const Operand& of) {
    for (auto row = shape_.cells; row < shape_.rows(); ++row) {
      if (of.values != nullptr) std::memset(of.values + row * of.pitch, 0, std::size_t(of.pitch) * sizeof(*of.values));
      if (of.bytes == nullptr) continue;
      std::memset(of.bytes + row * of.bytes_pitch, 0, std::size_t(of.bytes_pitch));
      of.scale[row] = 1;
    }
  }

  // ---- steps

  std::int64_t blocks_of_rows(std::int64_t lane) const { return (shape_.end(lane) - shape_.begin(lane)) / kRows; }

  template <typename Steps>
  void add_to_lanes(const Steps& steps_of) {
    typename StagedTasks<Step>::Phase phase;
    for (std::int64_t lane = 0; lane < kLanes; ++lane) phase[static_cast<std::size_t>(lane)] = steps_of(lane);
    steps_.phases.push_back(std::move(phase));
  }

  void add(const PackedBlock& block) {
    const auto all_rows = shape_.rows() / kRows, panels = shape_.width / kPanel;
    add_to_lanes([&](std::int64_t lane) {
      return std::vector<Step>{{Kind::norm, blocks_of_rows(lane), 2, lane, &block, &block.norm1}};
    });
    add_to_lanes([&](std::int64_t lane) {
      const auto heads = shape_.heads / kLanes;
      std::vector<Step> steps;
      if (many_threads_) {
        steps.push_back({Kind::qkv, heads * 3 * shape_.head_width() / kPanel, 2, lane, &block});
        steps.push_back({Kind::attention, heads * all_rows, heads * all_rows, lane, &block});
      } else {
        steps.push_back({Kind::heads, heads, heads, lane, &block});
      }
      if (shape_.int8) steps.push_back({Kind::quantise, all_rows, 2, lane, nullptr, nullptr, -1});
      steps.push_back({Kind::output, panels, 2, lane, &block});
      return steps;
    });
    add_to_lanes([&](std::int64_t lane) {
      return std::vector<Step>{{Kind::norm, blocks_of_rows(lane), 2, lane, &block, &block.norm2}};
    });
    add_to_lanes([&](std::int64_t lane) {
      std::vector<Step> steps;
      for (std::int64_t piece = 0; piece < shape_.pieces(); ++piece) {
        steps.push_back({Kind::up, shape_.piece() / kPanel, 2, lane, &block, nullptr, piece});
        if (shape_.int8) steps.push_back({Kind::quantise, all_rows, 2, lane, nullptr, nullptr, piece});
        steps.push_back({Kind::down, panels, 2, lane, &block, nullptr, piece});
      }
      return steps;
    });
  }

  /// Tells every step what its lane reads next.
  void link() {
    std::array<const std::uint8_t*, kLanes> next = {};
    for (auto phase = steps_.phases.rbegin(); phase != steps_.phases.rend(); ++phase) {
      for (std::size_t lane = 0; lane < next.size(); ++lane) {
        auto& steps = (*phase)[lane];
        for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
          step->after = next[lane];
          if (const auto* weights = first_weights(*step)) next[lane] = weights;
        }
      }
    }
  }

  const std::uint8_t* first_weights(const Step& step) const {
    switch (step.kind) {
      case Kind::heads:
      case Kind::qkv:
        return step.block->qkv.tiles(0, channel_of_head(step.lane, 0));
      case Kind::output:
        return step.block->output.tiles(step.lane, 0);
      case Kind::up:
        return step.block->up.tiles(0, first_hidden(step));
      case Kind::down:
        return step.block->down.tiles(part_of(step), 0);
      default:
        return nullptr;
    }
  }

  std::int64_t channel_of_head(std::int64_t lane, std::int64_t head) const {
    return (lane * shape_.heads / kLanes + head) * 3 * shape_.head_width();
  }
  std::int64_t part_of(const Step& step) const { return step.lane * shape_.pieces() + step.piece; }
  std::int64_t first_hidden(const Step& step) const { return part_of(step) * shape_.piece(); }

  // ---- what a step does

  void run(const Step& step, std::int64_t begin, std::int64_t end, Worker& worker, const float* x, float* result) {
    switch (step.kind) {
      case Kind::norm:
        for (auto task = begin; task < end; ++task) normalise(step, task, worker, x);
        return;
      case Kind::heads:
        for (auto head = begin; head < end; ++head) {
          const auto panels = 3 * shape_.head_width() / kPanel;
          project(step, head * panels, (head + 1) * panels, worker.heads);
          attend(step, head, 0, shape_.cells, worker.heads, worker);
        }
        return;
      case Kind::qkv:
        project(step, begin, end, lane_heads_[step.lane] + begin * kPanel);
        return;
      case Kind::attention:
        for (auto task = begin; task < end; ++task) {
          const auto blocks = shape_.rows() / kRows, head = task / blocks, row = task % blocks * kRows;
          attend(step, head, row, std::min(row + kRows, shape_.cells),
                 lane_heads_[step.lane] + head * 3 * shape_.head_width(), worker);
        }
        return;
      case Kind::quantise: {
        const auto& rows = step.piece < 0 ? context_[step.lane] : hidden_[step.lane];
        quantise(rows, step.piece < 0 ? shape_.lane_width() : shape_.piece(), begin * kRows, end * kRows);
        return;
      }
      case Kind::output:
        add_product(step, begin, end, context_[step.lane], step.block->output, step.lane, step.block->output_bias,
                    true);
        return;
      case Kind::up: {
        ProductOutput to;
        to.gelu = hidden_[step.lane].values + begin * kPanel;
        to.output_pixel = hidden_[step.lane].pitch;
        const auto channel = first_hidden(step) + begin * kPanel;
        to.channels = (end - begin) * kPanel;
        to.bias = step.block->up_bias + channel;
        multiply(to, normed_, step.block->up, 0, channel, after(step, step.block->up, 0, channel + to.channels, end));
        return;
      }
      case Kind::down:
        add_product(step, begin, end, hidden_[step.lane], step.block->down, part_of(step), step.block->down_bias,
                    step.piece == 0);
        return;
      case Kind::finish:
        for (auto task = begin; task < end; ++task) finish(step.lane, task, result);
        return;
    }
  }

  /// Weights to bring nearer behind the tasks before `end`.
  static const std::uint8_t* after(const Step& step, const PackedParts& weight, std::int64_t part, std::int64_t channel,
                                   std::int64_t end) {
    return end < step.tasks ? weight.tiles(part, channel) : step.after;
  }

  /// Adds the two lanes' sums of the lane's own rows up in its own.
  avx512::SumOfRows sum_of_lanes(std::int64_t lane, std::int64_t row) const {
    avx512::SumOfRows sum;
    sum.first = sum.sum = sums_[lane] + row * sums_row_;
    sum.second = sums_[1 - lane] + row * sums_row_;
    sum.first_row = sum.second_row = sum.sum_row = sums_row_;
    sum.rows = std::min(kRows, shape_.cells - row);
    sum.features = shape_.width;
    return sum;
  }

  void normalise(const Step& step, std::int64_t task, Worker& worker, const float* x) {
    const auto row = shape_.begin(step.lane) + task * kRows;
    auto sum = sum_of_lanes(step.lane, row);
    if (&step == &steps_.phases.front()[static_cast<std::size_t>(step.lane)].front()) {  // the stream as it comes
      sum.first = x + row * shape_.width;
      sum.first_row = shape_.width;
      sum.second = nullptr;
    }
    auto* const to = shape_.int8 ? worker.normed : normed_.values + row * normed_.pitch;
    const auto pitch = shape_.int8 ? pitch_of(shape_.width) : normed_.pitch;
    avx512::layer_norm_of_sum(sum, eps_, step.norm->weight, step.norm->bias, to, pitch);
    if (!shape_.int8) return;
    int8::quantise_rows(to, pitch, sum.rows, shape_.width, normed_.bytes + row * normed_.bytes_pitch,
                        normed_.scale + row);
  }

  void finish(std::int64_t lane, std::int64_t task, float* result) const {
    const auto row = shape_.begin(lane) + task * kRows;
    auto sum = sum_of_lanes(lane, row);
    sum.sum = result + row * shape_.width;
    sum.sum_row = shape_.width;
    avx512::layer_norm_of_sum(sum, eps_, nullptr, nullptr, nullptr, 0);
  }

  bf16::Attention attention(const std::uint16_t* heads) const {
    bf16::Attention head;
    head.queries = head.keys = shape_.cells;
    head.width = shape_.head_width();
    head.scale = scale_;
    head.causal = causal_;
    head.query = heads;
    head.key = heads + head.width;
    head.value = heads + 2 * head.width;
    head.query_row = head.key_row = head.value_row = heads_pitch_;
    return head;
  }

  /// Panels [begin, end) of the lane's queries, keys and values, into `heads`.
  void project(const Step& step, std::int64_t begin, std::int64_t end, std::uint16_t* heads) const {
    const auto first = channel_of_head(step.lane, 0), channel = first + begin * kPanel,
               panels = shape_.heads / kLanes * 3 * shape_.head_width() / kPanel;
    ProductOutput to;
    to.output = heads;
    to.output_pixel = heads_pitch_;
    to.channels = (end - begin) * kPanel;
    to.bias = step.block->qkv_bias + channel;
    multiply(to, normed_, step.block->qkv, 0, channel,
             end < panels ? step.block->qkv.tiles(0, channel + to.channels) : step.after);
  }

  /// Rows [begin, end) of a head's context.
  void attend(const Step& step, std::int64_t head, std::int64_t begin, std::int64_t end, const std::uint16_t* heads,
              Worker& worker) const {
    auto part = attention(heads);
    part.query += begin * part.query_row;
    part.queries = end - begin;
    if (causal_) part.keys = end;  // none of these queries sees the keys behind
    const auto& context = context_[step.lane];
    bf16::attention_forward(part, context.values + begin * context.pitch + head * shape_.head_width(), context.pitch,
                            nullptr, worker.scratch);
  }

  void quantise(const Operand& of, std::int64_t features, std::int64_t begin, std::int64_t end) const {
    int8::quantise_rows(of.values + begin * of.pitch, of.pitch, std::min(end, shape_.cells) - begin, features,
                        of.bytes + begin * of.bytes_pitch, of.scale + begin);
  }

  /// The panels [begin, end) of a product into the lane's sums; first: those of the other lane's rows hold nothing yet.
  void add_product(const Step& step, std::int64_t begin, std::int64_t end, const Operand& left,
                   const PackedParts& weight, std::int64_t part, const float* bias, bool first) const {
    const auto channel = begin * kPanel, other = 1 - step.lane;
    const auto fresh = first ? shape_.begin(other) : 0, fresh_end = first ? shape_.end(other) : 0;
    ProductOutput to;
    to.sum = sums_[step.lane] + channel;
    to.output_pixel = sums_row_;
    to.channels = (end - begin) * kPanel;
    const auto* const next = after(step, weight, part, channel + to.channels, end);
    if (!shape_.int8) {
      bf16::Product product = describe(to, left, weight, part, channel, next);
      product.bias = bias + channel;
      bf16::multiply_onto(product, fresh, fresh_end);
      return;
    }
    const auto rows = [&](std::int64_t from, std::int64_t until, bool hold_nothing) {
      if (from == until) return;
      int8::Product product = describe_int8(to, left, weight, part, channel, next);
      product.input += from * left.bytes_pitch;
      product.row_scale += from;
      product.rows = until - from;
      product.sum += from * sums_row_;
      if (hold_nothing) {
        product.bias = bias + channel;
      } else {
        product.residual = product.sum;
      }
      int8::multiply(product);
    };
    rows(0, fresh, false);
    rows(fresh, fresh_end, true);
    rows(fresh_end, shape_.rows(), false);
  }

  void multiply(const ProductOutput& to, const Operand& left, const PackedParts& weight, std::int64_t part,
                std::int64_t channel, const std::uint8_t* next) const {
    if (shape_.int8) {
      int8::multiply(describe_int8(to, left, weight, part, channel, next));
    } else {
      bf16::multiply(describe(to, left, weight, part, channel, next));
    }
  }

  bf16::Product describe(const ProductOutput& to, const Operand& left, const PackedParts& weight, std::int64_t part,
                         std::int64_t channel, const std::uint8_t* next) const {
    bf16::Product product;
    static_cast<ProductOutput&>(product) = to;
    product.input = left.values;
    product.input_pixel = left.pitch;
    product.depth = weight.inputs() / bf16::kDepth;
    product.weights = reinterpret_cast<const std::uint16_t*>(weight.tiles(part, channel));
    product.weights_after = reinterpret_cast<const std::uint16_t*>(next);
    product.far_weights = true;
    product.rows = 1;
    product.columns = shape_.rows();
    return product;
  }

  int8::Product describe_int8(const ProductOutput& to, const Operand& left, const PackedParts& weight,
                              std::int64_t part, std::int64_t channel, const std::uint8_t* next) const {
    int8::Product product;
    static_cast<ProductOutput&>(product) = to;
    product.input = left.bytes;
    product.input_row = left.bytes_pitch;
    product.row_scale = left.scale;
    product.rows = shape_.rows();
    product.depth = int8::padded(weight.inputs(), int8::kDepth) / int8::kDepth;
    product.weights = reinterpret_cast<const std::int8_t*>(weight.tiles(part, channel));
    product.weights_after = reinterpret_cast<const std::int8_t*>(next);
    product.channel_scale = weight.scale(part, channel);
    product.channel_sum = weight.sum(part, channel);
    return product;
  }

  const Shape shape_;
  const float scale_;
  const bool causal_;
  const double eps_;
  std::vector<torch::Tensor> memory_;
  std::int64_t sums_row_ = 0, heads_pitch_ = 0;  // elements between rows
  Operand normed_;
  // Each lane keeps the residual stream of its own rows, and of the other's what it adds to them.
  float* sums_[kLanes] = {};
  bool many_threads_ = false;
  std::uint16_t* lane_heads_[kLanes] = {};
  Operand context_[kLanes], hidden_[kLanes];  // of the lane's heads, and a piece of its hidden features
  std::vector<Worker> workers_;
  StagedTasks<Step> steps_;
};

/// Images are shared out among teams of threads; a team takes one image through all blocks, then the next.
std::int64_t teams_for(std::int64_t images) {
  return std::clamp<std::int64_t>(at::get_num_threads() / kLanes, 1, std::max<std::int64_t>(1, images));
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
  const Shape shape{x.size(0) / images, width, heads, hidden, precision == Precision::int8};
  const auto plain = [](const torch::Tensor& tensor) {
    return tensor.defined() && tensor.scalar_type() == torch::kFloat && tensor.is_contiguous();
  };
  const auto readable = [&](const TransformerBlock::Dense& layer) {
    const auto type = layer.weight.scalar_type();
    return layer.kept != nullptr && plain(layer.bias) && (type == torch::kFloat || type == torch::kHalf);
  };
  const bool weights = readable(block.qkv) && readable(block.output) && readable(block.up) && readable(block.down);
  const bool norms =
      plain(block.norm1.weight) && plain(block.norm1.bias) && plain(block.norm2.weight) && plain(block.norm2.bias);
  const bool even = heads % kLanes == 0 && width % heads == 0 && shape.head_width() % kPanel == 0 &&
                    hidden % (kLanes * kPanel) == 0 && hidden / kLanes % shape.pieces() == 0 &&
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
  const Shape shape{x.size(0) / images, x.size(1), heads, blocks.front().up.weight.size(0),
                    precision == Precision::int8};
  std::vector<PackedBlock> packed;
  packed.reserve(blocks.size());
  for (const auto& block : blocks) packed.emplace_back(block, shape);
  auto result = fresh_rows(x.size(0), x.size(1), torch::kFloat);
  const std::int64_t teams = teams_for(images), threads = at::get_num_threads();
  std::vector<std::unique_ptr<Passage>> passages;
  for (std::int64_t team = 0; team < teams; ++team) {
    passages.push_back(std::make_unique<Passage>(shape, scale, causal, eps, packed, threads_of_team(team, teams)));
  }
  std::vector<std::vector<StepProgress>> progress;  // of each image
  for (std::int64_t image = 0; image < images; ++image) progress.emplace_back(passages.front()->steps());
  const auto size = shape.cells * shape.width;
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto thread = begin; thread < end; ++thread) {
      const auto team = thread % teams;
      for (auto image = team; image < images; image += teams) {
        passages[static_cast<std::size_t>(team)]->go(x.data_ptr<float>() + image * size,
                                                     result.data_ptr<float>() + image * size,
                                                     progress[static_cast<std::size_t>(image)], thread / teams);
      }
    }
  });
  return result;
}

}  // namespace tessera
