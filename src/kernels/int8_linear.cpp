#include "kernels/int8_linear.h"

#include <algorithm>

#include "kernels/cpu_features.h"
#include "kernels/int8_product.h"
#include "kernels/product_tasks.h"
#include "kernels/row_layout.h"
#include "kernels/training_ops.h"
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
  auto bytes = keep ? PackedWeight::room(raw_weight, size, torch::kUInt8) : torch::empty({size}, torch::kUInt8);
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

}  // namespace

torch::Tensor int8_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          Int8Result result, const torch::Tensor& residual, PackedWeight* kept) {
  require(!torch::GradMode::is_enabled() || !(weight.requires_grad() || input.requires_grad()),
          "int8: products in int8 have no gradient; expected inference");
  const auto rows_bf16 = readable_rows(in_type(input, torch::kBFloat16));
  const auto rows = rows_bf16.size(0), inputs = weight.size(1), outputs = weight.size(0);
  const bool plain = !cpu_has_avx512_vnni() || !input.is_cpu() ||
                     (weight.scalar_type() != torch::kFloat && weight.scalar_type() != torch::kHalf) ||
                     rows_bf16.numel() == 0 || weight.numel() == 0;
  if (plain) {
    const auto x = rows_bf16.to(torch::kFloat), w = weight.to(torch::kFloat);
    const auto x_step = step_of(x), w_step = step_of(w);
    // Rounded once, as the kernel does.
    const auto steps = torch::round(x.to(torch::kDouble) * (1 / x_step)).to(torch::kFloat);
    auto product = linear(steps, torch::round(w / w_step), {}, Precision::float32) * (x_step * w_step.transpose(0, 1));
    if (bias.defined()) product = product + bias;
    return with_result(product, result, residual);
  }
  const auto packed = kept ? kept->get(
                                 weight, [&] { return pack(weight, true); }, 8)
                           : pack(weight, false);
  const PackedInt8 parts(packed, outputs);
  const bool sums = result == Int8Result::sum || result == Int8Result::onto;
  const auto output = result == Int8Result::onto ? residual
                      : sums                     ? fresh_rows(rows, outputs, torch::kFloat)
                                                 : rows_for_product(rows, outputs);
  const auto wide = row_pitch(inputs), pitch = output.stride(0);
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
  const auto compute = [&](const ProductTask& task) {
    int8::Product product;
    product.output_pixel = pitch;
    product.depth = int8::padded(inputs, int8::kDepth) / int8::kDepth;
    product.input_row = wide;
    product.rows = task.rows;
    product.channels = task.channels;
    if (bias.defined()) product.bias = bias.data_ptr<float>() + task.channel;
    product.input = bytes.data_ptr<uint8_t>() + task.row * wide;
    product.row_scale = scale.data() + task.row;
    product.weights = parts.tiles + int8::packed_size(task.channel, inputs);
    if (task.channel_after >= 0) product.weights_after = parts.tiles + int8::packed_size(task.channel_after, inputs);
    product.channel_scale = parts.scale + task.channel;
    product.channel_sum = parts.sum + task.channel;
    const auto at = task.row * pitch + task.channel;
    if (sums) {
      product.sum = output.data_ptr<float>() + at;
      product.residual = residual.defined() ? residual.data_ptr<float>() + at : nullptr;
    } else {
      (result == Int8Result::gelu ? product.gelu : product.output) = static_cast<uint16_t*>(output.data_ptr()) + at;
    }
    int8::multiply(product);
  };
  share_product(rows, outputs, int8::kPanel, [&](int64_t) { return compute; });
  return output;
}

}  // namespace tessera
