/// layer_norm and gelu_activation: autograd around the AVX-512 loops, LibTorch's operations where they cannot be used.
#include <fmt/ostream.h>

#include <algorithm>

#include "kernels/cpu/norm/layer_norm_avx512.h"
#include "kernels/ops/isa.h"
#include "kernels/ops/layers.h"
#include "kernels/ops/operands.h"
#include "kernels/ops/row_layout.h"
#include "kernels/parallel/tasks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr int64_t kRows =
    256;  // rows a task; the gradients of weight and bias are summed per task, then over tasks, in a fixed order
constexpr int64_t kForwardRows = 32;  // where nothing is summed over rows
constexpr int64_t kElements = 32768;  // elements a task

template <typename Element>
Element* data_of(const torch::Tensor& tensor) {
  return static_cast<Element*>(tensor.data_ptr());
}

/// Rows with a weight and bias of their own, cut into tasks.
struct Groups {
  int64_t count, rows;      // groups, rows of each
  int64_t of_task = kRows;  // rows
  int64_t tasks() const { return (rows + of_task - 1) / of_task; }

  /// body(group, task of the group, first row, rows) for every task.
  template <typename Body>
  void for_each(const Body& body) const {
    for_each_task(count * tasks(), [&](int64_t task) {
      const int64_t group = task / tasks(), part = task % tasks(), begin = part * of_task;
      body(group, part, group * rows + begin, std::min(of_task, rows - begin));
    });
  }
};

Groups groups_of(const torch::Tensor& input, const torch::Tensor& weight, int64_t of_task = kRows) {
  const int64_t rows = input.numel() / input.size(-1), count = weight.numel() / input.size(-1);
  return {count, rows / count, of_task};
}

/// Calls body<Input, Output>() for the types of a normalisation's input and result. low: the result is bfloat16.
template <typename Body>
void for_types(const torch::Tensor& input, bool low, const Body& body) {
  if (!low) {
    body.template operator()<float, float>();
  } else if (input.scalar_type() == torch::kFloat) {
    body.template operator()<float, uint16_t>();
  } else {
    body.template operator()<uint16_t, uint16_t>();
  }
}

/// output [rows, features]; moments [rows, 2] or undefined.
template <typename Input, typename Output>
void normalise(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, double eps,
               const torch::Tensor& output, const torch::Tensor& moments) {
  const int64_t features = input.size(-1), output_row = output.stride(0);
  groups_of(input, weight, kForwardRows).for_each([&](int64_t group, int64_t, int64_t begin, int64_t rows) {
    avx512::layer_norm_forward<Input, Output>(
        data_of<Input>(input) + begin * features, rows, features, eps, weight.data_ptr<float>() + group * features,
        bias.data_ptr<float>() + group * features, data_of<Output>(output) + begin * output_row, output_row,
        moments.defined() ? moments.data_ptr<float>() + 2 * begin : nullptr);
  });
}

/// parameters: [groups, tasks, 2, features] zeros.
template <typename Input, typename Output>
void normalise_back(const torch::Tensor& input, const torch::Tensor& gradient, const torch::Tensor& weight,
                    const torch::Tensor& moments, torch::Tensor& gradient_input, torch::Tensor& parameters) {
  const int64_t features = input.size(-1);
  const auto groups = groups_of(input, weight);
  groups.for_each([&](int64_t group, int64_t task, int64_t begin, int64_t rows) {
    float* own = parameters.data_ptr<float>() + (group * groups.tasks() + task) * 2 * features;
    avx512::layer_norm_backward<Input, Output>(
        data_of<Input>(input) + begin * features, data_of<Output>(gradient) + begin * features, rows, features,
        weight.data_ptr<float>() + group * features, moments.data_ptr<float>() + 2 * begin,
        data_of<Input>(gradient_input) + begin * features, own, own + features);
  });
}

void normalise(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, double eps, bool low,
               const torch::Tensor& output, const torch::Tensor& moments) {
  for_types(input, low, [&]<typename Input, typename Output>() {
    normalise<Input, Output>(input, weight, bias, eps, output, moments);
  });
}

/// What a product reads next.
torch::Tensor normalised_rows(const torch::Tensor& raw_input, const torch::Tensor& weight, const torch::Tensor& bias,
                              double eps) {
  const torch::Tensor input = raw_input.contiguous();
  const torch::Tensor output = rows_for_gemm(input.numel() / input.size(-1), input.size(-1));
  normalise(input, weight.contiguous(), bias.contiguous(), eps, true, output, {});
  return shaped_like(output, input);
}

struct LayerNorm : public Function<LayerNorm> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& raw_input,
                               const torch::Tensor& raw_weight, const torch::Tensor& raw_bias, double eps, bool low) {
    const torch::Tensor input = raw_input.contiguous(), weight = raw_weight.contiguous(), bias = raw_bias.contiguous();
    const int64_t rows = input.numel() / input.size(-1);
    const torch::Tensor output = torch::empty(input.sizes(), low ? torch::kBFloat16 : torch::kFloat);
    const torch::Tensor moments = torch::empty({rows, 2}, torch::kFloat);
    normalise(input, weight, bias, eps, low, output.view({rows, -1}), moments);
    context->save_for_backward({input, weight, moments});
    context->saved_data["low"] = low;
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &input = saved[0], &weight = saved[1], &moments = saved[2];
    const bool low = context->saved_data["low"].toBool();
    const torch::Tensor gradient = gradients[0].to(low ? torch::kBFloat16 : torch::kFloat).contiguous();
    torch::Tensor gradient_input = torch::empty_like(input);
    const auto groups = groups_of(input, weight);
    torch::Tensor parameters = torch::zeros({groups.count, groups.tasks(), 2, input.size(-1)}, torch::kFloat);
    for_types(input, low, [&]<typename Input, typename Output>() {
      normalise_back<Input, Output>(input, gradient, weight, moments, gradient_input, parameters);
    });
    const torch::Tensor summed = parameters.sum(1);  // [groups, 2, features]
    return {gradient_input, summed.select(1, 0).reshape(weight.sizes()), summed.select(1, 1).reshape(weight.sizes()),
            Variable(), Variable()};
  }
};

struct Gelu : public Function<Gelu> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& raw_input) {
    const torch::Tensor input = raw_input.contiguous();
    const torch::Tensor output = torch::empty_like(input);
    at::parallel_for(0, input.numel(), kElements, [&](int64_t begin, int64_t end) {
      avx512::gelu_forward(data_of<uint16_t>(input) + begin, end - begin, data_of<uint16_t>(output) + begin);
    });
    context->save_for_backward({input});
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const torch::Tensor input = context->get_saved_variables()[0];
    const torch::Tensor gradient = gradients[0].to(torch::kBFloat16).contiguous(), result = torch::empty_like(input);
    at::parallel_for(0, input.numel(), kElements, [&](int64_t begin, int64_t end) {
      avx512::gelu_backward(data_of<uint16_t>(input) + begin, data_of<uint16_t>(gradient) + begin, end - begin,
                            data_of<uint16_t>(result) + begin);
    });
    return {result};
  }
};

}  // namespace

torch::Tensor layer_norm(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, double eps,
                         Precision precision, PackedWeight* prepacked) {
  const bool one = weight.dim() == 1;
  require(input.dim() >= 1 && (one || weight.dim() == 2) && weight.sizes() == bias.sizes() &&
              input.size(-1) == weight.size(-1) && (one || (input.dim() >= 2 && input.size(0) == weight.size(0))),
          "layer_norm: input {}, weight {}, bias {}: expected [..., C], [C], [C] or [N, ..., C], [N, C], [N, C]",
          fmt::streamed(input.sizes()), fmt::streamed(weight.sizes()), fmt::streamed(bias.sizes()));
  const auto dtype = input.scalar_type();
  const bool ours = cpu_has_avx512_bf16() && input.is_cpu() && input.numel() > 0 &&
                    (dtype == torch::kBFloat16 || dtype == torch::kFloat) && weight.scalar_type() == torch::kFloat &&
                    bias.scalar_type() == torch::kFloat;
  const bool low = dtype == torch::kBFloat16 || precision != Precision::float32;
  if (ours && low && !asks_gradient(input, weight, bias)) return normalised_rows(input, weight, bias, eps);
  if (ours) return LayerNorm::apply(input, weight, bias, eps, low);
  // On a CPU without our kernel bfloat16 is computed in float32 and rounded once.
  const auto inner = input.is_cpu() && dtype == torch::kBFloat16 ? torch::kFloat : dtype;
  torch::Tensor output;
  if (one) {
    const LayerOperands layer(weight, bias, inner, prepacked);
    output = torch::layer_norm(input.to(inner), {weight.size(0)}, layer.weight, layer.bias, eps);
  } else {
    auto rows = std::vector<int64_t>(static_cast<std::size_t>(input.dim()), 1);
    rows.front() = input.size(0);
    rows.back() = input.size(-1);
    output = torch::layer_norm(input.to(inner), {input.size(-1)}, {}, {}, eps) * weight.to(inner).view(rows) +
             bias.to(inner).view(rows);
  }
  return output.to(type_of_activations(precision, low ? torch::kBFloat16 : output.scalar_type()));
}

torch::Tensor gelu_activation(const torch::Tensor& input) {
  const bool ours =
      cpu_has_avx512_bf16() && input.is_cpu() && input.numel() > 0 && input.scalar_type() == torch::kBFloat16;
  if (ours) return Gelu::apply(input);
  if (!input.is_cpu() || input.scalar_type() != torch::kBFloat16) return torch::gelu(input);
  return torch::gelu(input.to(torch::kFloat)).to(torch::kBFloat16);  // LibTorch's own rounds what is between
}

}  // namespace tessera
