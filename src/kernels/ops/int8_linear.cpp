#include "kernels/ops/int8_linear.h"

#include <algorithm>

#include "kernels/cpu/gemm/byte_gemm.h"
#include "kernels/cpu/gemm/int8_gemm.h"
#include "kernels/ops/isa.h"
#include "kernels/ops/layers.h"
#include "kernels/ops/row_layout.h"
#include "kernels/parallel/gemm_tasks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// The parts of a packed weight in one tensor of bytes: channel scales, channel sums, tiles.
struct PackedInt8 {
  PackedInt8(const torch::Tensor& bytes, int64_t outputs)
      : scale(reinterpret_cast<float*>(bytes.data_ptr())),
        sum(reinterpret_cast<int32_t*>(scale + outputs)),
        tiles(reinterpret_cast<int8_t*>(bytes.data_ptr()) + int8::padded(outputs * 8, 64)) {}
  static int64_t size(int64_t outputs, int64_t inputs) {
    return int8::padded(outputs * 8, 64) + int8::packed_size(outputs, inputs);
  }
  float* scale;
  int32_t* sum;
  int8_t* tiles;
};

torch::Tensor pack(const torch::Tensor& raw_weight, bool keep) {
  const auto weight = raw_weight.to(torch::kFloat).contiguous();
  const auto outputs = weight.size(0), inputs = weight.size(1);
  const auto size = PackedInt8::size(outputs, inputs);
  auto bytes = keep ? PackedWeight::allocate(raw_weight, size, torch::kUInt8) : torch::empty({size}, torch::kUInt8);
  const PackedInt8 parts(bytes, outputs);
  for_each_task((outputs + int8::kPanel - 1) / int8::kPanel, [&](int64_t panel) {
    const auto first = panel * int8::kPanel;
    int8::pack(weight.data_ptr<float>() + first * inputs, inputs, std::min(int8::kPanel, outputs - first), inputs,
               parts.tiles + int8::packed_size(first, inputs), parts.scale + first, parts.sum + first);
  });
  return bytes;
}

/// The step of which the greatest magnitude along the last dimension is 127.
torch::Tensor step_of(const torch::Tensor& x) {
  const auto greatest = x.abs().amax(-1, true);
  return torch::where(greatest > 0, greatest / 127.0, torch::ones_like(greatest));
}

torch::Tensor with_result(const torch::Tensor& product, Int8Result result, const torch::Tensor& residual) {
  if (result == Int8Result::onto) return residual.add_(product);
  if (result == Int8Result::sum) return residual.defined() ? product + residual : product;
  const auto rounded = product.to(torch::kBFloat16);
  return result == Int8Result::gelu ? gelu_activation(rounded) : rounded;
}

/// The parts of a weight packed for byte_gemm.h in one tensor of four bytes an element: scales, sums, panels.
struct PackedBytes {
  PackedBytes(const torch::Tensor& packed, int64_t outputs)
      : scale(reinterpret_cast<float*>(packed.data_ptr<int32_t>())),
        sum(packed.data_ptr<int32_t>() + padded(outputs)),
        panels(sum + padded(outputs)) {}
  static int64_t padded(int64_t outputs) { return int8::padded(outputs, bytes::kPanel); }
  float* scale;
  int32_t *sum, *panels;
};

torch::Tensor pack_bytes(bytes::Dot dot, const torch::Tensor& given, bool keep) {
  const auto weight = given.to(torch::kFloat).contiguous();
  const auto outputs = weight.size(0), inputs = weight.size(1), all = PackedBytes::padded(outputs),
             units = bytes::units(dot, inputs), size = all * (2 + units);
  const auto packed = keep ? PackedWeight::allocate(given, size, torch::kInt) : torch::empty({size}, torch::kInt);
  const PackedBytes parts(packed, outputs);
  for_each_task(all / bytes::kPanel, [&](int64_t task) {
    const auto first = task * bytes::kPanel;
    bytes::pack(dot, weight.data_ptr<float>() + first * inputs, inputs, std::min(bytes::kPanel, outputs - first),
                inputs, parts.panels + first * units, parts.scale + first, parts.sum + first);
  });
  return packed;
}

/// int8_linear on vectors of 32 bytes. input [rows, K] bfloat16.
torch::Tensor byte_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          Int8Result result, const torch::Tensor& residual, PackedWeight* prepacked) {
  const auto dot = bytes::best_dot();
  const auto rows = input.size(0), inputs = weight.size(1), outputs = weight.size(0), units = bytes::units(dot, inputs);
  const auto pack_here = [&](bool keep) { return pack_bytes(dot, weight, keep); };
  const auto packed = prepacked ? prepacked->get(weight, [&] { return pack_here(true); },
                                                 {PackedForm::For::byte_gemm, static_cast<int>(dot)})
                                : pack_here(false);
  const PackedBytes parts(packed, outputs);
  const bool sums = result == Int8Result::sum || result == Int8Result::onto;
  const auto output = result == Int8Result::onto ? residual
                      : sums                     ? fresh_rows(rows, outputs, torch::kFloat)
                                                 : rows_for_gemm(rows, outputs);
  const auto quantised = fresh_rows(rows, units, torch::kInt);
  std::vector<float> scale(static_cast<std::size_t>(rows));
  const auto* const from = static_cast<const uint16_t*>(input.data_ptr());
  for_each_task(rows, [&](int64_t row) {
    bytes::quantise_row(dot, from + row * input.stride(0), inputs, quantised.data_ptr<int32_t>() + row * units,
                        scale.data() + row);
  });
  const auto shift = bias.defined() ? bias.contiguous() : bias;
  const auto compute = [&](const GemmTask& task) {
    bytes::Gemm gemm;
    gemm.a = quantised.data_ptr<int32_t>() + task.row * units;
    gemm.row_scale = scale.data() + task.row;
    gemm.b = parts.panels + task.channel * units;
    gemm.channel_scale = parts.scale + task.channel;
    gemm.channel_sum = parts.sum + task.channel;
    gemm.rows = task.rows;
    gemm.columns = task.channels;
    gemm.units = units;
    if (shift.defined()) gemm.bias = shift.data_ptr<float>() + task.channel;
    gemm.output_ld = output.stride(0);
    const auto at = task.row * gemm.output_ld + task.channel;
    if (residual.defined()) gemm.residual = residual.data_ptr<float>() + at;
    gemm.output = static_cast<char*>(output.data_ptr()) + at * output.element_size();
    bytes::multiply(dot,
                    sums                         ? bytes::Result::sum
                    : result == Int8Result::gelu ? bytes::Result::gelu
                                                 : bytes::Result::rounded,
                    gemm);
  };
  for_each_gemm_task(rows, outputs, bytes::kPanel, [&](int64_t) { return compute; });
  return output;
}

}  // namespace

torch::Tensor int8_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          Int8Result result, const torch::Tensor& residual, PackedWeight* prepacked) {
  require(!torch::GradMode::is_enabled() || !(weight.requires_grad() || input.requires_grad()),
          "int8: products in int8 have no gradient; expected inference");
  const auto rows_bf16 = readable_rows(in_type(input, torch::kBFloat16));
  const auto rows = rows_bf16.size(0), inputs = weight.size(1), outputs = weight.size(0);
  const bool is_here = input.is_cpu() && rows_bf16.numel() > 0 && weight.numel() > 0 &&
                       (weight.scalar_type() == torch::kFloat || weight.scalar_type() == torch::kHalf);
  if (is_here && !cpu_has_avx512_vnni() && bytes::best_dot() != bytes::Dot::none) {
    return byte_linear(rows_bf16, weight, bias, result, residual, prepacked);
  }
  if (!is_here || !cpu_has_avx512_vnni()) {
    const auto x = rows_bf16.to(torch::kFloat), w = weight.to(torch::kFloat);
    const auto x_step = step_of(x), w_step = step_of(w);
    // Rounded once, as the kernel does.
    const auto steps = torch::round(x.to(torch::kDouble) * (1 / x_step)).to(torch::kFloat);
    auto product = linear(steps, torch::round(w / w_step), {}, Precision::float32) * (x_step * w_step.transpose(0, 1));
    if (bias.defined()) product = product + bias;
    return with_result(product, result, residual);
  }
  const auto packed = prepacked
                          ? prepacked->get(weight, [&] { return pack(weight, true); }, {PackedForm::For::int8_gemm})
                          : pack(weight, false);
  const PackedInt8 parts(packed, outputs);
  const bool sums = result == Int8Result::sum || result == Int8Result::onto;
  const auto output = result == Int8Result::onto ? residual
                      : sums                     ? fresh_rows(rows, outputs, torch::kFloat)
                                                 : rows_for_gemm(rows, outputs);
  const auto wide = leading_dimension(inputs), ld = output.stride(0);
  const auto bytes = fresh_rows(int8::padded(rows, 32), wide, torch::kUInt8);
  std::vector<float> scale(static_cast<std::size_t>(rows));
  const auto apart = rows_bf16.stride(0);
  constexpr int64_t kRows = 32;
  for_each_task((rows + kRows - 1) / kRows, [&](int64_t task) {
    const auto first = task * kRows;
    int8::quantise_rows(static_cast<const uint16_t*>(rows_bf16.data_ptr()) + first * apart, apart,
                        std::min(kRows, rows - first), inputs, bytes.data_ptr<uint8_t>() + first * wide,
                        scale.data() + first);
  });
  const auto compute = [&](const GemmTask& task) {
    int8::Gemm gemm;
    gemm.output_pixel = ld;
    gemm.depth = int8::padded(inputs, int8::kDepth) / int8::kDepth;
    gemm.input_row = wide;
    gemm.rows = task.rows;
    gemm.channels = task.channels;
    if (bias.defined()) gemm.bias = bias.data_ptr<float>() + task.channel;
    gemm.input = bytes.data_ptr<uint8_t>() + task.row * wide;
    gemm.row_scale = scale.data() + task.row;
    gemm.weights = parts.tiles + int8::packed_size(task.channel, inputs);
    if (task.channel_after >= 0) gemm.weights_after = parts.tiles + int8::packed_size(task.channel_after, inputs);
    gemm.channel_scale = parts.scale + task.channel;
    gemm.channel_sum = parts.sum + task.channel;
    const auto at = task.row * ld + task.channel;
    if (sums) {
      gemm.sum = output.data_ptr<float>() + at;
      gemm.residual = residual.defined() ? residual.data_ptr<float>() + at : nullptr;
    } else {
      (result == Int8Result::gelu ? gemm.gelu : gemm.output) = static_cast<uint16_t*>(output.data_ptr()) + at;
    }
    int8::multiply(gemm);
  };
  for_each_gemm_task(rows, outputs, int8::kPanel, [&](int64_t) { return compute; });
  return output;
}

}  // namespace tessera
