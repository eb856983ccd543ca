#include "kernels/ops/rms_norm.h"

#include <fmt/ostream.h>

#include <algorithm>

#include "kernels/cpu/norm/layer_norm_avx512.h"
#include "kernels/ops/isa.h"
#include "kernels/ops/operands.h"
#include "kernels/ops/row_layout.h"
#include "kernels/parallel/tasks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr int64_t kTaskRows = 16;  // rows a task

/// A row of `features` numbers for each group of rows, or one for all.
struct RowValues {
  RowValues(const torch::Tensor& given, const torch::Tensor& input, const char* what)
      : kept(given.defined() ? given.contiguous() : given) {
    if (!given.defined()) return;
    const auto features = input.size(-1);
    require(given.size(-1) == features &&
                (given.dim() == 1 || (given.dim() == 2 && input.dim() >= 2 && given.size(0) == input.size(0))),
            "rms_norm: {} is {} for input {}, expected [C], or [N, C] for [N, ..., C]", what,
            fmt::streamed(given.sizes()), fmt::streamed(input.sizes()));
    if (given.dim() == 2) of_group = input.numel() / features / given.size(0);
  }
  /// For row r.
  const float* at(int64_t row) const {
    if (!kept.defined()) return nullptr;
    return kept.data_ptr<float>() + (of_group > 0 ? row / of_group * kept.size(-1) : 0);
  }
  torch::Tensor kept;
  int64_t of_group = 0;  // rows; 0: all
};

/// body(first row, rows) for ranges within which all values are the same.
template <typename Body>
void over_rows(int64_t rows, std::initializer_list<const RowValues*> values, const Body& body) {
  int64_t group = rows;
  for (const auto* each : values) {
    if (each->of_group > 0) group = std::min(group, each->of_group);
  }
  const int64_t parts = (rows + kTaskRows - 1) / kTaskRows;
  for_each_task(parts, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * kTaskRows);
    for (int64_t row = task * kTaskRows; row < end;) {
      const int64_t next = std::min(end, (row / group + 1) * group);
      body(row, next - row);
      row = next;
    }
  });
}

/// [C] or [N, C] against an input of more dimensions.
torch::Tensor spread(const torch::Tensor& values, const torch::Tensor& input) {
  if (!values.defined() || values.dim() == 1) return values;
  auto shape = std::vector<int64_t>(static_cast<std::size_t>(input.dim()), 1);
  shape.front() = values.size(0);
  shape.back() = values.size(1);
  return values.view(shape);
}

torch::Tensor plain_rms_norm(const torch::Tensor& input, const torch::Tensor& gain, double eps,
                             const torch::Tensor& shift, Precision precision) {
  const auto wide = is_low(input.scalar_type()) ? input.to(torch::kFloat) : input;
  const auto size = wide.norm(2, {-1}, true);
  auto result = wide * torch::rsqrt(size.square() / static_cast<double>(input.size(-1)) + eps);
  if (shift.defined() && gain.defined()) {
    result = torch::addcmul(spread(shift, input), result, spread(gain, input));
  } else if (gain.defined()) {
    result = result * spread(gain, input);
  } else if (shift.defined()) {
    result = result + spread(shift, input);
  }
  return result.to(type_of_activations(precision, result.scalar_type()));
}

bool is_float(const torch::Tensor& tensor) {
  return !tensor.defined() || (tensor.is_cpu() && tensor.scalar_type() == torch::kFloat);
}

bool rows_apply(const torch::Tensor& input) {
  return cpu_has_avx512_bf16() && input.is_cpu() && input.numel() > 0;
}

/// Uninitialised rows of the result, and whether it is bfloat16.
torch::Tensor room_for_norm(int64_t rows, int64_t features, bool low) {
  return low ? rows_for_gemm(rows, features) : fresh_rows(rows, features, torch::kFloat);
}

}  // namespace

torch::Tensor rms_norm(const torch::Tensor& input, const torch::Tensor& gain, double eps, const torch::Tensor& shift,
                       Precision given) {
  const auto precision = of_activations(given);
  const RowValues gains(gain, input, "gain"), shifts(shift, input, "shift");
  const bool low = precision != Precision::float32, is_bf16 = input.scalar_type() == torch::kBFloat16;
  const bool ours = rows_apply(input) && is_float(gain) && is_float(shift) && !asks_gradient(input, gain, shift) &&
                    (is_bf16 ? low : input.scalar_type() == torch::kFloat) && precision != Precision::float16;
  if (!ours) return plain_rms_norm(input, gain, eps, shift, precision);
  auto from = as_matrix(input);
  if (from.stride(1) != 1) from = from.contiguous();
  const auto rows = from.size(0), features = from.size(1), apart = from.stride(0);
  const auto output = room_for_norm(rows, features, low);
  over_rows(rows, {&gains, &shifts}, [&](int64_t row, int64_t count) {
    const auto normalise = [&]<typename Input, typename Output>(const Input* in, Output* out) {
      avx512::rms_norm_forward(in + row * apart, apart, count, features, eps, gains.at(row), shifts.at(row),
                               out + row * output.stride(0), output.stride(0));
    };
    const auto bits = [](const torch::Tensor& tensor) { return static_cast<uint16_t*>(tensor.data_ptr()); };
    if (is_bf16) {
      normalise(bits(from), bits(output));
    } else if (low) {
      normalise(from.data_ptr<float>(), bits(output));
    } else {
      normalise(from.data_ptr<float>(), output.data_ptr<float>());
    }
  });
  return shaped_like(output, input);
}

SumAndNorm rms_norm_of_gated_sum(const torch::Tensor& residual, const torch::Tensor& gate, const torch::Tensor& added,
                                 const torch::Tensor& gain, double eps, const torch::Tensor& shift, Precision given) {
  const auto precision = of_activations(given);
  require(residual.sizes() == added.sizes(), "rms_norm: {} is added to {}, expected the same shape",
          fmt::streamed(added.sizes()), fmt::streamed(residual.sizes()));
  const RowValues gates(gate, residual, "gate"), gains(gain, residual, "gain"), shifts(shift, residual, "shift");
  const bool ours = rows_apply(residual) && is_float(residual) && is_float(added) && is_float(gate) && is_float(gain) &&
                    is_float(shift) && precision != Precision::float16 && !torch::GradMode::is_enabled() &&
                    residual.is_contiguous() && added.is_contiguous();
  if (!ours) {
    const auto sum = torch::addcmul(residual, spread(gate, residual), added);
    return {sum, plain_rms_norm(sum, gain, eps, shift, precision)};
  }
  const auto features = residual.size(-1), rows = residual.numel() / features;
  const bool low = precision != Precision::float32;
  const auto output = room_for_norm(rows, features, low);
  auto* const sum = residual.data_ptr<float>();
  const auto* const more = added.data_ptr<float>();
  over_rows(rows, {&gates, &gains, &shifts}, [&](int64_t row, int64_t count) {
    const auto add = [&]<typename Output>(Output* out) {
      avx512::rms_norm_of_gated_sum(sum + row * features, gates.at(row), more + row * features, count, features, eps,
                                    gains.at(row), shifts.at(row), out + row * output.stride(0), output.stride(0));
    };
    if (low) {
      add(static_cast<uint16_t*>(output.data_ptr()));
    } else {
      add(output.data_ptr<float>());
    }
  });
  return {residual, shaped_like(output, residual)};
}

torch::Tensor gated_activation(Gated activation, const torch::Tensor& gate, const torch::Tensor& factor) {
  require(gate.sizes() == factor.sizes() && gate.scalar_type() == factor.scalar_type(),
          "gated_activation: gate {} and factor {}: expected one shape and type", fmt::streamed(gate.sizes()),
          fmt::streamed(factor.sizes()));
  const bool ours =
      rows_apply(gate) && gate.scalar_type() == torch::kBFloat16 && factor.is_cpu() && !asks_gradient(gate, factor);
  if (!ours) return (activation == Gated::silu ? torch::silu(gate) : gelu_activation(gate)) * factor;
  const auto readable = [](const torch::Tensor& tensor) {
    const auto matrix = as_matrix(tensor);
    return matrix.stride(1) == 1 ? matrix : matrix.contiguous();
  };
  const auto from = readable(gate), times = readable(factor);
  const auto rows = from.size(0), features = from.size(1);
  const auto output = rows_for_gemm(rows, features);
  const auto bits = [](const torch::Tensor& tensor, int64_t row) {
    return static_cast<uint16_t*>(tensor.data_ptr()) + row * tensor.stride(0);
  };
  over_rows(rows, {}, [&](int64_t row, int64_t count) {
    avx512::gated_rows(activation == Gated::silu ? avx512::GateActivation::silu : avx512::GateActivation::gelu,
                       bits(from, row), from.stride(0), bits(times, row), times.stride(0), count, features,
                       bits(output, row), output.stride(0));
  });
  return shaped_like(output, gate);
}

}  // namespace tessera
