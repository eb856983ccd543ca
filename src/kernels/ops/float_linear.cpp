#include "kernels/ops/float_linear.h"

#include <algorithm>

#include "kernels/cpu/gemm/float_gemm.h"
#include "kernels/ops/row_layout.h"
#include "kernels/parallel/gemm_tasks.h"

#include "runtime/error.h"

#ifdef TESSERA_WITH_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

namespace tessera {

#ifdef TESSERA_WITH_ONEDNN
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// result [rows, columns] = op(a) op(b) + keep * result; row-major, op transposes where its letter is 'T'. a_row,
/// b_row: elements between the rows of a and b as they lie in memory.
void multiply(char a_op, char b_op, std::int64_t rows, std::int64_t columns, std::int64_t depth, const torch::Tensor& a,
              const torch::Tensor& b, float keep, const torch::Tensor& result) {
  const auto status =
      dnnl_sgemm(a_op, b_op, rows, columns, depth, 1.0F, a.data_ptr<float>(), a_op == 'N' ? depth : rows,
                 b.data_ptr<float>(), b_op == 'N' ? columns : depth, keep, result.data_ptr<float>(), columns);
  require(status == dnnl_success, "linear: oneDNN refused a product of {} x {} x {} (status {})", rows, columns, depth,
          static_cast<int>(status));
}

struct FloatLinear : public torch::autograd::Function<FloatLinear> {
  /// input [R, K], weight [M, K], bias [M] or [0]; contiguous
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& raw_input,
                               const torch::Tensor& raw_weight, const torch::Tensor& bias) {
    const auto input = raw_input.contiguous(), weight = raw_weight.contiguous();
    const auto rows = input.size(0), depth = input.size(1), outputs = weight.size(0);
    const auto result = torch::empty({rows, outputs}, input.options().requires_grad(false));
    const bool has_bias = bias.numel() > 0;
    if (has_bias) result.copy_(bias.expand({rows, outputs}));
    multiply('N', 'T', rows, outputs, depth, input, weight, has_bias ? 1.0F : 0.0F, result);
    context->save_for_backward({input, weight});
    context->saved_data["bias"] = has_bias;
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1];
    const auto gradient = gradients[0].contiguous();
    const auto rows = input.size(0), depth = input.size(1), outputs = weight.size(0);
    variable_list result(3);
    if (context->needs_input_grad(0)) {
      result[0] = torch::empty_like(input);
      multiply('N', 'N', rows, depth, outputs, gradient, weight, 0, result[0]);
    }
    if (context->needs_input_grad(1)) {
      result[1] = torch::empty_like(weight);
      multiply('T', 'N', outputs, depth, rows, gradient, input, 0, result[1]);
    }
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) result[2] = gradient.sum(0);
    return result;
  }
};

}  // namespace

bool float_linear_applies(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias) {
  const auto is_plain = [](const torch::Tensor& t) { return t.is_cpu() && t.scalar_type() == torch::kFloat; };
  return is_plain(input) && is_plain(weight) && (!bias.defined() || is_plain(bias)) && input.numel() > 0 &&
         weight.numel() > 0;
}

torch::Tensor float_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias) {
  auto shape = input.sizes().vec();
  shape.back() = weight.size(0);
  const auto none = bias.defined() ? bias : torch::empty({0}, weight.options().requires_grad(false));
  return FloatLinear::apply(input.reshape({-1, input.size(-1)}), weight, none).view(shape);
}
#else
bool float_linear_applies(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&) {
  return false;
}

torch::Tensor float_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias) {
  return torch::linear(input, weight, bias);
}
#endif

bool packs_float_weights() {
  return float32::is_available();
}

bool packed_float_linear_applies(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                                 const PackedWeight* prepacked) {
  return prepacked != nullptr && packs_float_weights() && input.is_cpu() && input.scalar_type() == torch::kFloat &&
         (weight.scalar_type() == torch::kFloat || weight.scalar_type() == torch::kHalf) &&
         (!bias.defined() || bias.scalar_type() == torch::kFloat) && input.numel() > 0 && weight.numel() > 0 &&
         !asks_gradient(input, weight, bias);
}

namespace {

torch::Tensor packed_for_float(const torch::Tensor& given) {
  const auto weight = given.to(torch::kFloat).contiguous();
  const auto outputs = weight.size(0), depth = weight.size(1), width = float32::panel();
  const auto packed = PackedWeight::allocate(given, float32::packed_size(outputs, 1, depth), torch::kFloat);
  const float* const from = weight.data_ptr<float>();
  float* const to = packed.data_ptr<float>();
  for_each_task((outputs + width - 1) / width, [&](std::int64_t task) {
    const auto first = task * width;
    float32::pack(from + first * depth, depth, 0, 1, std::min(width, outputs - first), 1, depth, to + first * depth);
  });
  return packed;
}

}  // namespace

torch::Tensor packed_float_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                                  const FloatEpilogue& epilogue, PackedWeight* prepacked) {
  const auto given = as_matrix(input);
  const auto rows = given.stride(1) == 1 ? given : given.contiguous();
  const auto outputs = weight.size(0), panel = float32::panel();
  const auto& packed = prepacked->get(weight, [&] { return packed_for_float(weight); },
                                      {PackedForm::For::float_gemm, static_cast<int>(panel)});
  const auto shift = bias.defined() ? bias.contiguous() : bias;
  const auto output = epilogue.onto ? epilogue.residual : fresh_rows(rows.size(0), outputs, torch::kFloat);
  float32::Gemm all;
  all.a = rows.data_ptr<float>();
  all.a_ld = rows.stride(0);
  all.depth = weight.size(1);
  all.b = packed.data_ptr<float>();
  all.bias = shift.defined() ? shift.data_ptr<float>() : nullptr;
  all.gelu = epilogue.gelu;
  all.residual = epilogue.residual.defined() ? epilogue.residual.data_ptr<float>() : nullptr;
  all.residual_ld = epilogue.residual.defined() ? epilogue.residual.stride(0) : 0;
  all.output = output.data_ptr<float>();
  all.output_ld = output.stride(0);
  const auto compute = [&](const GemmTask& task) {
    auto gemm = all;
    gemm.rows = task.rows;
    gemm.columns = task.channels;
    gemm.a += task.row * gemm.a_ld;
    gemm.b += task.channel * gemm.depth;
    if (gemm.bias != nullptr) gemm.bias += task.channel;
    if (gemm.residual != nullptr) gemm.residual += task.row * gemm.residual_ld + task.channel;
    gemm.output += task.row * gemm.output_ld + task.channel;
    float32::multiply(gemm);
  };
  for_each_gemm_task(rows.size(0), outputs, panel, [&](std::int64_t) { return compute; });
  return output;
}

}  // namespace tessera
