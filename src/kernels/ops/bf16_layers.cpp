#include "kernels/ops/bf16_layers.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/gemm/bf16_gemm.h"
#include "kernels/cpu/norm/layer_norm_avx512.h"
#include "kernels/ops/row_layout.h"
#include "kernels/parallel/gemm_tasks.h"

namespace tessera::tiles {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// Uninitialised bfloat16 scratch, aligned to a cache line.
torch::Tensor scratch(int64_t elements) {
  return torch::empty({elements}, torch::kBFloat16);
}
uint16_t* bits(const torch::Tensor& tensor) {
  return static_cast<uint16_t*>(tensor.data_ptr());
}
const float* floats(const torch::Tensor& tensor) {
  return tensor.numel() > 0 ? tensor.data_ptr<float>() : nullptr;
}
/// autograd::Function takes no undefined tensor: one without elements stands for no bias and no residual.
torch::Tensor nothing() {
  return torch::empty({0}, torch::kFloat);
}
int64_t padded(int64_t channels) {
  return bf16::blocks(channels, 32) * 32;
}

// ----------------------------------------------------------------------------------------------------------------
// linear

constexpr int64_t kGradientRows = 512;  // rows that one task packs for the weight's gradient

/// Where a product of rows goes: see bf16::Gemm.
struct Target {
  uint16_t* output = nullptr;
  uint16_t* gelu = nullptr;
  float* sum = nullptr;
  const float* residual = nullptr;
  int64_t ld = 0;  // elements between rows; 0: they touch
};

/// target [rows, outputs] = input [rows, inputs], rows `ld` elements apart, times packed weights, plus bias.
void multiply_rows(const uint16_t* input, int64_t ld, int64_t rows, int64_t inputs, const uint16_t* packed,
                   int64_t outputs, const float* bias, const Target& target) {
  const int64_t output_ld = target.ld > 0 ? target.ld : outputs;
  const int64_t wide = padded(inputs), none = 0;
  const auto compute = [&](const GemmTask& task, int64_t most_rows, torch::Tensor& copy) {
    // Whole tiles of whole channels are read where they lie; anything else from a copy with zeros around it.
    const int64_t direct = inputs == wide ? task.rows / 16 * 16 : 0;
    bf16::Gemm gemm;
    gemm.depth = wide / bf16::kDepth;
    gemm.tap_offset = &none;
    gemm.weights = packed + bf16::packed_size(task.channel, inputs, 1);
    gemm.far_weights = true;
    if (task.channel_after >= 0) gemm.weights_after = packed + bf16::packed_size(task.channel_after, inputs, 1);
    gemm.bias = bias != nullptr ? bias + task.channel : nullptr;
    gemm.rows = 1;
    gemm.channels = task.channels;
    gemm.output_pixel = output_ld;
    gemm.input_pixel = ld;
    gemm.input = input + task.row * ld;
    const auto aim = [&](int64_t row) {
      const int64_t at = row * output_ld + task.channel;
      if (target.output != nullptr) gemm.output = target.output + at;
      if (target.gelu != nullptr) gemm.gelu = target.gelu + at;
      if (target.sum == nullptr) return;
      gemm.sum = target.sum + at;
      if (target.residual != nullptr) gemm.residual = target.residual + at;
    };
    aim(task.row);
    gemm.columns = direct;
    if (direct > 0) bf16::multiply(gemm);
    if (direct == task.rows) return;
    if (!copy.defined()) copy = scratch((most_rows + 16) * wide);
    for (int64_t row = direct; row < task.rows; ++row) {
      bf16::pad_image(input + (task.row + row) * ld, 1, 1, inputs, 0, 0, 1, 1, wide,
                      bits(copy) + (row - direct) * wide);
    }
    gemm.input = bits(copy);
    gemm.input_pixel = wide;
    aim(task.row + direct);
    gemm.columns = task.rows - direct;
    bf16::multiply(gemm);
  };
  for_each_gemm_task(rows, outputs, bf16::kPanel, [&](int64_t most_rows) {
    return [&, most_rows, copy = torch::Tensor()](const GemmTask& task) mutable { compute(task, most_rows, copy); };
  });
}

/// Sum over rows of left [rows, outputs] times right [rows, inputs]: [outputs, inputs] float32, and the sum of left.
std::pair<torch::Tensor, torch::Tensor> gradient_of_rows(const uint16_t* left, const uint16_t* right, int64_t rows,
                                                         int64_t outputs, int64_t inputs) {
  const int64_t tasks = bf16::blocks(rows, kGradientRows), threads = std::min<int64_t>(tasks, at::get_num_threads());
  const int64_t wide_outputs = padded(outputs), wide_inputs = padded(inputs);
  const torch::Tensor sums = torch::zeros({threads, wide_outputs, wide_inputs}, torch::kFloat);
  const torch::Tensor bias = torch::zeros({threads, outputs}, torch::kFloat);
  at::parallel_for(0, threads, 1, [&](int64_t from, int64_t to) {
    const torch::Tensor packed_a = scratch(wide_outputs * kGradientRows),
                        packed_b = scratch(wide_inputs * kGradientRows);
    for (int64_t thread = from; thread < to; ++thread) {
      for (int64_t task = tasks * thread / threads; task < tasks * (thread + 1) / threads; ++task) {
        const int64_t first = task * kGradientRows, count = std::min(kGradientRows, rows - first);
        bf16::Gradient gradient =
            bf16::pack_rows(left + first * outputs, outputs, right + first * inputs, inputs, count, bits(packed_a),
                            bits(packed_b), bias.data_ptr<float>() + thread * outputs);
        gradient.gradient = sums.data_ptr<float>() + thread * wide_outputs * wide_inputs;
        bf16::accumulate(gradient);
      }
    }
  });
  const torch::Tensor whole = threads == 1 ? sums[0] : sums.sum(0);
  return {whole.slice(0, 0, outputs).slice(1, 0, inputs), threads == 1 ? bias[0] : bias.sum(0)};
}

/// weight [Co, Ci] or [Co, Ci, kh, kw] as the forward product reads it.
torch::Tensor pack(const torch::Tensor& raw_weight, bool keep) {
  // [Co, kh, kw, Ci] in memory
  const torch::Tensor wide = raw_weight.to(torch::kFloat);
  const torch::Tensor weight = wide.dim() == 4 ? wide.contiguous(torch::MemoryFormat::ChannelsLast) : wide.contiguous();
  const int64_t outputs = weight.size(0), inputs = weight.size(1);
  const int64_t taps = weight.dim() == 4 ? weight.size(2) * weight.size(3) : 1;
  const int64_t elements = bf16::packed_size(outputs, inputs, taps);
  torch::Tensor packed = keep ? PackedWeight::allocate(raw_weight, elements, torch::kBFloat16) : scratch(elements);
  for_each_task(bf16::blocks(outputs, bf16::kPanel), [&](int64_t panel) {
    const int64_t first = panel * bf16::kPanel, size = taps * inputs;
    bf16::pack_forward(floats(weight) + first * size, std::min(bf16::kPanel, outputs - first), inputs, taps, size,
                       inputs, bits(packed) + bf16::packed_size(first, inputs, taps));
  });
  return packed;
}

torch::Tensor packed_form(const torch::Tensor& weight, PackedWeight* prepacked) {
  return prepacked ? prepacked->get(weight, [&] { return pack(weight, true); }) : pack(weight, false);
}

/// The packed product into `target`. bias: of no elements for none.
void linear_forward(const torch::Tensor& input, int64_t outputs, const torch::Tensor& packed, const torch::Tensor& bias,
                    const Target& target) {
  multiply_rows(bits(input), input.stride(0), input.size(0), input.size(1), bits(packed), outputs, floats(bias),
                target);
}

torch::Tensor plain_forward(const torch::Tensor& input, int64_t outputs, const torch::Tensor& packed,
                            const torch::Tensor& bias) {
  torch::Tensor result = fresh_rows(input.size(0), outputs, torch::kBFloat16);
  linear_forward(input, outputs, packed, bias, {bits(result)});
  return result;
}

/// What GELU takes, and its result.
std::pair<torch::Tensor, torch::Tensor> gelu_forward(const torch::Tensor& input, int64_t outputs,
                                                     const torch::Tensor& packed, const torch::Tensor& bias) {
  torch::Tensor before = torch::empty({input.size(0), outputs}, torch::kBFloat16), result = torch::empty_like(before);
  linear_forward(input, outputs, packed, bias, {bits(before), bits(result)});
  return {before, result};
}

/// One result alone, Target's output or gelu, in rows that may lie apart.
torch::Tensor rows_apart(uint16_t* Target::*wanted, const torch::Tensor& input, int64_t outputs,
                         const torch::Tensor& packed, const torch::Tensor& bias) {
  torch::Tensor result = rows_for_gemm(input.size(0), outputs);
  Target target;
  target.*wanted = bits(result);
  target.ld = result.stride(0);
  linear_forward(input, outputs, packed, bias, target);
  return result;
}

/// residual: of no elements for none; it may be the result.
void add_into(const torch::Tensor& result, const torch::Tensor& input, const torch::Tensor& packed,
              const torch::Tensor& bias, const torch::Tensor& residual) {
  Target target;
  target.sum = result.data_ptr<float>();
  target.residual = floats(residual);
  linear_forward(input, result.size(1), packed, bias, target);
}

torch::Tensor add_forward(const torch::Tensor& input, int64_t outputs, const torch::Tensor& packed,
                          const torch::Tensor& bias, const torch::Tensor& residual) {
  torch::Tensor result = fresh_rows(input.size(0), outputs, torch::kFloat);
  add_into(result, input, packed, bias, residual);
  return result;
}

/// And backward: the gradients of input (where asked), weight and bias (where asked) for a bfloat16 gradient [rows,
/// outputs].
variable_list linear_backward(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& gradient,
                              bool of_input, bool of_weight, bool of_bias) {
  const int64_t rows = input.size(0), inputs = input.size(1), outputs = weight.size(0);
  variable_list result(4);  // of input, weight, its packed form (none) and bias
  if (of_input) {
    const int64_t same = 0;
    const torch::Tensor packed = scratch(bf16::packed_size(inputs, outputs, 1));
    bf16::pack_backward(floats(weight), outputs, inputs, 1, &same, inputs, 0, bits(packed));
    result[0] = torch::empty({rows, inputs}, torch::kBFloat16);
    multiply_rows(bits(gradient), outputs, rows, outputs, bits(packed), inputs, nullptr, {bits(result[0])});
  }
  if (of_weight || of_bias) {
    auto [weight_gradient, bias_gradient] = gradient_of_rows(bits(gradient), bits(input), rows, outputs, inputs);
    result[1] = weight_gradient.contiguous();
    if (of_bias) result[3] = bias_gradient;
  }
  return result;
}

torch::Tensor rounded(const torch::Tensor& gradient) {
  return gradient.to(torch::kBFloat16).contiguous();
}

struct Linear : public Function<Linear> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input, const torch::Tensor& raw_weight,
                               const torch::Tensor& packed, const torch::Tensor& raw_bias) {
    const torch::Tensor weight = raw_weight.contiguous(), bias = raw_bias.contiguous();
    const torch::Tensor result = plain_forward(input, weight.size(0), packed, bias);
    context->save_for_backward({input, weight});
    context->saved_data["bias"] = bias.numel() > 0;
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const bool bias = context->saved_data["bias"].toBool() && context->needs_input_grad(3);
    return linear_backward(saved[0], saved[1], rounded(gradients[0]), context->needs_input_grad(0),
                           context->needs_input_grad(1), bias);
  }
};

struct LinearGelu : public Function<LinearGelu> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input, const torch::Tensor& raw_weight,
                               const torch::Tensor& packed, const torch::Tensor& raw_bias) {
    const torch::Tensor weight = raw_weight.contiguous(), bias = raw_bias.contiguous();
    const auto [before, result] = gelu_forward(input, weight.size(0), packed, bias);
    context->save_for_backward({input, weight, before});
    context->saved_data["bias"] = bias.numel() > 0;
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor upper = rounded(gradients[0]), gradient = torch::empty_like(upper);
    at::parallel_for(0, upper.numel(), 32768, [&](int64_t begin, int64_t end) {
      avx512::gelu_backward(bits(saved[2]) + begin, bits(upper) + begin, end - begin, bits(gradient) + begin);
    });
    const bool bias = context->saved_data["bias"].toBool() && context->needs_input_grad(3);
    return linear_backward(saved[0], saved[1], gradient, context->needs_input_grad(0), context->needs_input_grad(1),
                           bias);
  }
};

struct LinearAdd : public Function<LinearAdd> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input, const torch::Tensor& raw_weight,
                               const torch::Tensor& packed, const torch::Tensor& raw_bias,
                               const torch::Tensor& raw_residual) {
    const torch::Tensor weight = raw_weight.contiguous(), bias = raw_bias.contiguous(),
                        residual = raw_residual.contiguous();  // no elements: nothing is added
    const torch::Tensor result = add_forward(input, weight.size(0), packed, bias, residual);
    context->save_for_backward({input, weight});
    context->saved_data["bias"] = bias.numel() > 0;
    context->saved_data["residual"] = residual.numel() > 0;
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const bool bias = context->saved_data["bias"].toBool() && context->needs_input_grad(3);
    variable_list result = linear_backward(saved[0], saved[1], rounded(gradients[0]), context->needs_input_grad(0),
                                           context->needs_input_grad(1), bias);
    result.push_back(context->saved_data["residual"].toBool() ? gradients[0] : Variable());
    return result;
  }
};

// -----------------------------------------------------------------------------------------------------------
// convolution

struct Geometry {
  int64_t images, inputs, height, width;  // input
  int64_t outputs, kernel_height, kernel_width;
  int64_t stride;
  Padding padding;
  int64_t padded_height() const { return height + padding.top + padding.bottom; }
  int64_t padded_width() const { return width + padding.left + padding.right; }
  int64_t out_height() const { return (padded_height() - kernel_height) / stride + 1; }
  int64_t out_width() const { return (padded_width() - kernel_width) / stride + 1; }
  int64_t taps() const { return kernel_height * kernel_width; }
  /// A kernel of one pixel over the image as it is: a matrix product over all pixels.
  bool is_linear() const {
    return taps() == 1 && stride == 1 && padding.top + padding.left + padding.bottom + padding.right == 0;
  }
};

constexpr int64_t kRowBandBytes =
    640 << 10;  // of the padded input that a task reads: it is to stay in the second-level cache
constexpr int64_t kNearWeights = 1 << 19;  // elements of weights that stay there as well
constexpr int64_t kLeastRowBand = 4;       // rows, so that neighbours copy few rows twice

/// Rows of the output that one task computes; there are at least as many tasks as threads where the rows suffice.
int64_t rows_of_band(const Geometry& g, int64_t wide) {
  const int64_t row = g.padded_width() * wide * int64_t(sizeof(uint16_t));
  const int64_t fitting = (kRowBandBytes / row - g.kernel_height) / g.stride + 1;
  const int64_t parts = bf16::blocks(at::get_num_threads(), std::max<int64_t>(1, g.images));
  return std::clamp<int64_t>(std::max(fitting, kLeastRowBand), 1, bf16::blocks(g.out_height(), parts));
}

void convolve(const Geometry& g, const uint16_t* input, const uint16_t* packed, const float* bias, uint16_t* output) {
  const int64_t wide = padded(g.inputs), width = g.padded_width(), band = rows_of_band(g, wide);
  std::vector<int64_t> offsets;
  for (int64_t y = 0; y < g.kernel_height; ++y) {
    for (int64_t x = 0; x < g.kernel_width; ++x) offsets.push_back((y * width + x) * wide);
  }
  const int64_t bands = bf16::blocks(g.out_height(), band);
  // Where row bands are too few for the threads, groups of output channels are tasks of their own.
  const int64_t panels = bf16::blocks(g.outputs, bf16::kPanel), threads = at::get_num_threads();
  const int64_t wanted = threads == 1 ? 1 : bf16::blocks(kTasksAThread * threads, g.images * bands);
  const int64_t group = bf16::blocks(panels, std::min(wanted, panels)), groups = bf16::blocks(panels, group);
  run_tasks(g.images * bands * groups, [&] {
    const int64_t most = (band - 1) * g.stride + g.kernel_height;  // padded rows
    const torch::Tensor copy = scratch((most * width + 16 * g.stride) * wide);
    bf16::Gemm gemm;
    gemm.input = bits(copy);
    gemm.input_row = g.stride * width * wide;
    gemm.input_pixel = g.stride * wide;
    gemm.depth = wide / bf16::kDepth;
    gemm.taps = g.taps();
    gemm.tap_offset = offsets.data();
    gemm.far_weights = bf16::packed_size(g.outputs, g.inputs, g.taps()) > kNearWeights;
    gemm.columns = g.out_width();
    gemm.output_pixel = g.outputs;
    gemm.output_row = g.out_width() * g.outputs;
    return [&, copy, gemm, copied = int64_t{-1}](int64_t task) mutable {
      const int64_t image = task / (bands * groups), first = task / groups % bands * band;
      const int64_t channel = task % groups * group * bf16::kPanel;
      gemm.rows = std::min(band, g.out_height() - first);
      gemm.channels = std::min(group * bf16::kPanel, g.outputs - channel);
      gemm.weights = packed + bf16::packed_size(channel, g.inputs, g.taps());
      gemm.bias = bias != nullptr ? bias + channel : nullptr;
      if (task / groups != copied) {  // another row band than the last task's
        copied = task / groups;
        // Padded rows [top, bottom) and the rows of the image among them.
        const int64_t top = first * g.stride, bottom = top + (gemm.rows - 1) * g.stride + g.kernel_height;
        const int64_t from = std::clamp<int64_t>(top - g.padding.top, 0, g.height),
                      to = std::clamp<int64_t>(bottom - g.padding.top, from, g.height);
        bf16::pad_image(input + (image * g.height + from) * g.width * g.inputs, to - from, g.width, g.inputs,
                        from + g.padding.top - top, g.padding.left, bottom - top, width, wide, bits(copy));
      }
      gemm.output = output + (image * g.out_height() + first) * gemm.output_row + channel;
      bf16::multiply(gemm);
    };
  });
}

/// The input pixels with (position + padding) % stride = phase along one axis, and the kernel's taps that reach them.
struct Phase {
  int64_t first = 0, count = 0;  // input positions first, first + stride, ...
  std::vector<int64_t> taps,
      from;  // kernel positions, and the output position that each takes `first` from (may be outside)
};

std::vector<Phase> phases(int64_t size, int64_t kernel, int64_t stride, int64_t before) {
  std::vector<Phase> result;
  for (int64_t first = 0; first < std::min(stride, size); ++first) {
    Phase phase;
    phase.first = first;
    phase.count = bf16::blocks(size - first, stride);
    for (int64_t tap = (first + before) % stride; tap < kernel; tap += stride) {
      phase.taps.push_back(tap);
      phase.from.push_back((first + before - tap) / stride);  // exact, so the sign does not matter
    }
    result.push_back(phase);
  }
  return result;
}

/// Pixels of zeros that the gradient needs before and after along one axis.
std::pair<int64_t, int64_t> margins(const std::vector<Phase>& all, int64_t size) {
  int64_t before = 0, after = 0;
  for (const auto& phase : all) {
    for (const int64_t from : phase.from) {
      before = std::max(before, -from);
      after = std::max(after, from + phase.count - size);
    }
  }
  return {before, after};
}

/// The gradient of the input: for every phase a product of the padded output gradient with the taps that reach it, no
/// zeros in between.
void convolve_back(const Geometry& g, const uint16_t* gradient, const float* weight, uint16_t* result) {
  const auto rows = phases(g.height, g.kernel_height, g.stride, g.padding.top);
  const auto columns = phases(g.width, g.kernel_width, g.stride, g.padding.left);
  const auto [top, bottom] = margins(rows, g.out_height());
  const auto [left, right] = margins(columns, g.out_width());
  const int64_t height = top + g.out_height() + bottom, width = left + g.out_width() + right, wide = padded(g.outputs);
  struct Part {
    bf16::Gemm gemm;
    std::vector<int64_t> offsets;
    torch::Tensor packed;
    int64_t first = 0;  // elements
  };
  std::vector<Part> parts;
  for (const auto& row : rows) {
    for (const auto& column : columns) {
      Part part;
      std::vector<int64_t> order;
      for (size_t y = 0; y < row.taps.size(); ++y) {
        for (size_t x = 0; x < column.taps.size(); ++x) {
          order.push_back(row.taps[y] * g.kernel_width + column.taps[x]);
          part.offsets.push_back(((row.from[y] + top) * width + column.from[x] + left) * wide);
        }
      }
      const int64_t taps = int64_t(order.size());
      part.packed = scratch(bf16::packed_size(g.inputs, g.outputs, taps));
      bf16::pack_backward(weight, g.outputs, g.inputs, taps, order.data(), g.taps() * g.inputs, g.inputs,
                          bits(part.packed));
      part.first = (row.first * g.width + column.first) * g.inputs;
      part.gemm.input_row = width * wide;
      part.gemm.input_pixel = wide;
      part.gemm.depth = wide / bf16::kDepth;
      part.gemm.taps = taps;
      part.gemm.weights = bits(part.packed);
      part.gemm.rows = row.count;
      part.gemm.columns = column.count;
      part.gemm.channels = g.inputs;
      part.gemm.output_row = g.stride * g.width * g.inputs;
      part.gemm.output_pixel = g.stride * g.inputs;
      parts.push_back(std::move(part));
    }
  }
  run_tasks(g.images, [&] {
    return [&, copy = scratch((height * width + 16) * wide)](int64_t n) {
      bf16::pad_image(gradient + n * g.out_height() * g.out_width() * g.outputs, g.out_height(), g.out_width(),
                      g.outputs, top, left, height, width, wide, bits(copy));
      for (const auto& part : parts) {
        bf16::Gemm gemm = part.gemm;
        gemm.input = bits(copy);
        gemm.tap_offset = part.offsets.data();
        gemm.output = result + n * g.height * g.width * g.inputs + part.first;
        bf16::multiply(gemm);
      }
    };
  });
}

/// The gradient of the weight, [taps, Co, Ci] float32 (a view), and of the bias.
std::pair<torch::Tensor, torch::Tensor> gradient_of_kernel(const Geometry& g, const uint16_t* gradient,
                                                           const uint16_t* input) {
  const int64_t threads = std::min<int64_t>(g.images, at::get_num_threads());
  const int64_t wide_outputs = padded(g.outputs), wide_inputs = padded(g.inputs);
  const int64_t height = g.padded_height(), width = g.padded_width();
  const int64_t ld = bf16::blocks(width, g.stride), steps = bf16::blocks(g.out_height() * ld, 32);
  const int64_t furthest = (g.kernel_height - 1) / g.stride * ld + (g.kernel_width - 1) / g.stride;
  const int64_t pairs = steps * 16 + furthest / 2 + 1;
  // Each phase of the stride, and each start (even or odd pixel) in it, is packed once and shared by the taps that read
  // it.
  struct Plane {
    int64_t y, x, start;
  };
  std::vector<Plane> planes;
  std::vector<int64_t> offsets;
  for (int64_t y = 0; y < g.kernel_height; ++y) {
    for (int64_t x = 0; x < g.kernel_width; ++x) {
      const int64_t shift = y / g.stride * ld + x / g.stride;
      const Plane plane{y % g.stride, x % g.stride, shift % 2};
      size_t index = 0;
      while (index < planes.size() &&
             (planes[index].y != plane.y || planes[index].x != plane.x || planes[index].start != plane.start)) {
        ++index;
      }
      if (index == planes.size()) planes.push_back(plane);
      offsets.push_back(int64_t(index) * wide_inputs * pairs * 2 + shift / 2 * 32);
    }
  }
  const torch::Tensor sums = torch::zeros({threads, g.taps(), wide_outputs, wide_inputs}, torch::kFloat);
  const torch::Tensor bias = torch::zeros({threads, g.outputs}, torch::kFloat);
  at::parallel_for(0, threads, 1, [&](int64_t from, int64_t to) {
    const torch::Tensor copy = scratch(height * width * wide_inputs), left = scratch(wide_outputs * steps * 32);
    const torch::Tensor right = scratch(int64_t(planes.size()) * wide_inputs * pairs * 2);
    for (int64_t thread = from; thread < to; ++thread) {
      for (int64_t n = g.images * thread / threads; n < g.images * (thread + 1) / threads; ++n) {
        bf16::Pixels pixels;
        pixels.data = gradient + n * g.out_height() * g.out_width() * g.outputs;
        pixels.rows = g.out_height();
        pixels.columns = g.out_width();
        pixels.channels = pixels.pixel_step = g.outputs;
        pixels.row_step = g.out_width() * g.outputs;
        pixels.ld = ld;
        bf16::pack_transposed(pixels, steps, bits(left), bias.data_ptr<float>() + thread * g.outputs);
        bf16::pad_image(input + n * g.height * g.width * g.inputs, g.height, g.width, g.inputs, g.padding.top,
                        g.padding.left, height, width, wide_inputs, bits(copy));
        pixels.channels = wide_inputs;
        pixels.pixel_step = g.stride * wide_inputs;
        pixels.row_step = g.stride * width * wide_inputs;
        for (size_t p = 0; p < planes.size(); ++p) {
          pixels.data = bits(copy) + (planes[p].y * width + planes[p].x) * wide_inputs;
          pixels.rows = bf16::blocks(height - planes[p].y, g.stride);
          pixels.columns = bf16::blocks(width - planes[p].x, g.stride);
          bf16::pack_pairs(pixels, planes[p].start, pairs, bits(right) + int64_t(p) * wide_inputs * pairs * 2);
        }
        bf16::Gradient job;
        job.a = bits(left);
        job.a_block = steps * bf16::kTile;
        job.b = bits(right);
        job.b_block = pairs * 32;
        job.taps = g.taps();
        job.tap_offset = offsets.data();
        job.steps = steps;
        job.outputs = wide_outputs;
        job.inputs = wide_inputs;
        job.gradient = sums.data_ptr<float>() + thread * g.taps() * wide_outputs * wide_inputs;
        bf16::accumulate(job);
      }
    }
  });
  const torch::Tensor whole = threads == 1 ? sums[0] : sums.sum(0);
  return {whole.slice(1, 0, g.outputs).slice(2, 0, g.inputs), threads == 1 ? bias[0] : bias.sum(0)};
}

Geometry geometry(const torch::Tensor& input, const torch::Tensor& weight, int64_t stride, const Padding& padding) {
  return {input.size(0),  input.size(1),  input.size(2), input.size(3), weight.size(0),
          weight.size(2), weight.size(3), stride,        padding};
}

torch::Tensor convolution_forward(const Geometry& g, const torch::Tensor& input, const torch::Tensor& packed,
                                  const torch::Tensor& bias) {
  torch::Tensor result =
      torch::empty({g.images, g.outputs, g.out_height(), g.out_width()},
                   torch::TensorOptions(torch::kBFloat16).memory_format(torch::MemoryFormat::ChannelsLast));
  if (g.is_linear()) {
    multiply_rows(bits(input), g.inputs, g.images * g.height * g.width, g.inputs, bits(packed), g.outputs, floats(bias),
                  {bits(result)});
  } else {
    convolve(g, bits(input), bits(packed), floats(bias), bits(result));
  }
  return result;
}

struct Convolution : public Function<Convolution> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input, const torch::Tensor& raw_weight,
                               const torch::Tensor& packed, const torch::Tensor& raw_bias, int64_t stride, int64_t top,
                               int64_t left, int64_t bottom, int64_t right) {
    // [Co, kh, kw, Ci] in memory
    const torch::Tensor weight = raw_weight.contiguous(torch::MemoryFormat::ChannelsLast);
    const torch::Tensor bias = raw_bias.contiguous();
    const Geometry g = geometry(input, weight, stride, {top, left, bottom, right});
    const torch::Tensor result = convolution_forward(g, input, packed, bias);
    context->save_for_backward({input, weight});
    context->saved_data["bias"] = bias.numel() > 0;
    context->saved_data["geometry"] = std::vector<int64_t>{stride, top, left, bottom, right};
    context->saved_data["channels_last"] = raw_weight.is_contiguous(torch::MemoryFormat::ChannelsLast);
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &input = saved[0], &weight = saved[1];
    const auto s = context->saved_data["geometry"].toIntVector();
    const Geometry g = geometry(input, weight, s[0], {s[1], s[2], s[3], s[4]});
    const bool has_bias = context->saved_data["bias"].toBool();
    const torch::Tensor gradient = gradients[0].to(torch::kBFloat16).contiguous(torch::MemoryFormat::ChannelsLast);
    const int64_t pixels = g.images * g.height * g.width;
    variable_list result(9);
    if (context->needs_input_grad(0)) {
      result[0] = torch::empty_like(input, torch::MemoryFormat::ChannelsLast);
      if (g.is_linear()) {
        const int64_t same = 0;
        const torch::Tensor packed = scratch(bf16::packed_size(g.inputs, g.outputs, 1));
        bf16::pack_backward(floats(weight), g.outputs, g.inputs, 1, &same, g.inputs, 0, bits(packed));
        multiply_rows(bits(gradient), g.outputs, pixels, g.outputs, bits(packed), g.inputs, nullptr, {bits(result[0])});
      } else {
        convolve_back(g, bits(gradient), floats(weight), bits(result[0]));
      }
    }
    if (context->needs_input_grad(1) || (has_bias && context->needs_input_grad(3))) {
      auto [of_weight, of_bias] = g.is_linear()
                                      ? gradient_of_rows(bits(gradient), bits(input), pixels, g.outputs, g.inputs)
                                      : gradient_of_kernel(g, bits(gradient), bits(input));
      const torch::Tensor view = of_weight.view_as(of_weight).reshape({g.taps(), g.outputs, g.inputs});
      result[1] = torch::empty(weight.sizes(), torch::TensorOptions(torch::kFloat)
                                                   .memory_format(context->saved_data["channels_last"].toBool()
                                                                      ? torch::MemoryFormat::ChannelsLast
                                                                      : torch::MemoryFormat::Contiguous));
      result[1].copy_(view.permute({1, 2, 0}).reshape(weight.sizes()));
      if (has_bias) result[3] = of_bias;
    }
    return result;
  }
};

}  // namespace

// Where nobody asks for a gradient the packed form and the shape are all that is read of a weight.

torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     const Padding& padding, PackedWeight* prepacked) {
  const auto packed = packed_form(weight, prepacked), shift = bias.defined() ? bias : nothing();
  if (!asks_gradient(input, weight, bias)) {
    return convolution_forward(geometry(input, weight, stride, padding), input, packed, shift.contiguous());
  }
  return Convolution::apply(input, weight, packed, shift, stride, padding.top, padding.left, padding.bottom,
                            padding.right);
}

torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                     PackedWeight* prepacked) {
  const auto packed = packed_form(weight, prepacked), shift = bias.defined() ? bias : nothing();
  if (!asks_gradient(input, weight, bias)) {
    return rows_apart(&Target::output, input, weight.size(0), packed, shift.contiguous());
  }
  return Linear::apply(input, weight, packed, shift);
}

torch::Tensor linear_gelu(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          PackedWeight* prepacked) {
  const auto packed = packed_form(weight, prepacked), shift = bias.defined() ? bias : nothing();
  if (!asks_gradient(input, weight, bias)) {
    return rows_apart(&Target::gelu, input, weight.size(0), packed, shift.contiguous());
  }
  return LinearGelu::apply(input, weight, packed, shift);
}

torch::Tensor linear_add(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                         const torch::Tensor& residual, PackedWeight* prepacked) {
  const auto packed = packed_form(weight, prepacked), shift = bias.defined() ? bias : nothing();
  const auto added = residual.defined() ? residual : nothing();
  if (!asks_gradient(input, weight, bias, residual)) {
    return add_forward(input, weight.size(0), packed, shift.contiguous(), added.contiguous());
  }
  return LinearAdd::apply(input, weight, packed, shift, added);
}

torch::Tensor linear_add_onto(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                              const torch::Tensor& residual, PackedWeight* prepacked) {
  add_into(residual, input, packed_form(weight, prepacked), (bias.defined() ? bias : nothing()).contiguous(), residual);
  return residual;
}

}  // namespace tessera::tiles
