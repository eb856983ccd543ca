/// group_norm_swish: autograd around the AVX-512 loops, LibTorch's operations where they cannot be used.
#include <algorithm>
#include <vector>

#include "kernels/cpu/norm/group_norm_avx512.h"
#include "kernels/ops/isa.h"
#include "kernels/ops/layers.h"
#include "kernels/parallel/tasks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// Channels-last memory, as the loops read it: [N, pixels, C].
torch::Tensor channels_last(const torch::Tensor& input) {
  return input.dim() == 4 ? input.contiguous(torch::MemoryFormat::ChannelsLast)
                          : input.transpose(1, 2).contiguous().transpose(1, 2);
}

avx512::GroupNormImage describe(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                                int64_t groups, double eps, bool swish) {
  avx512::GroupNormImage image;
  image.channels = input.size(1);
  image.pixels = input.numel() / std::max<int64_t>(1, input.size(0) * input.size(1));
  image.groups = groups;
  image.eps = eps;
  image.swish = swish;
  image.weight = weight.data_ptr<float>();
  image.bias = bias.data_ptr<float>();
  return image;
}

template <typename Element>
const Element* data_of(const torch::Tensor& tensor) {
  return static_cast<const Element*>(tensor.data_ptr());
}

constexpr int64_t kStrip = 2048;  // pixels of a task; a large image is cut into strips of this, whatever the threads

template <typename Element>
void forward_images(const avx512::GroupNormImage& image, const torch::Tensor& input, torch::Tensor& output,
                    torch::Tensor& moments) {
  const int64_t stride = image.pixels * image.channels, count = input.size(0), width = 2 * image.channels;
  const int64_t strips = (image.pixels + kStrip - 1) / kStrip;
  const Element* from = data_of<Element>(input);
  Element* to = static_cast<Element*>(output.data_ptr());
  std::vector<double> sums(size_t(count * strips * width));
  std::vector<float> factors(size_t(count * width));
  const auto add_up = [&](int64_t task) {
    const int64_t n = task / strips, first = task % strips * kStrip;
    avx512::group_norm_moments<Element>(image, from + n * stride, first, std::min(first + kStrip, image.pixels),
                                        sums.data() + task * width);
  };
  const auto join = [&](int64_t n) {
    double* const all = sums.data() + n * strips * width;
    for (int64_t k = width; k < strips * width; ++k) all[k % width] += all[k];
    float* const mean = moments.data_ptr<float>() + n * 2 * image.groups;
    avx512::group_norm_factors<Element>(image, from + n * stride, all, mean, mean + image.groups,
                                        factors.data() + n * width);
  };
  const auto apply = [&](int64_t task) {
    const int64_t n = task / strips, first = task % strips * kStrip;
    avx512::group_norm_apply<Element>(image, from + n * stride, to + n * stride, first,
                                      std::min(first + kStrip, image.pixels), factors.data() + n * width);
  };
  if (strips == 1) {  // the image is still in the cache when it is written
    for_each_task(count, [&](int64_t n) {
      add_up(n);
      join(n);
      apply(n);
    });
    return;
  }
  for_each_task(count * strips, add_up);
  for (int64_t n = 0; n < count; ++n) join(n);
  for_each_task(count * strips, apply);
}

template <typename Element>
void backward_images(const avx512::GroupNormImage& image, const torch::Tensor& input, const torch::Tensor& gradient,
                     const torch::Tensor& moments, torch::Tensor& gradient_input, torch::Tensor& gradient_parameters) {
  const int64_t stride = image.pixels * image.channels, count = input.size(0);
  const Element *from = data_of<Element>(input), *upper = data_of<Element>(gradient);
  Element* to = static_cast<Element*>(gradient_input.data_ptr());
  const float* stats = moments.data_ptr<float>();
  float* parameters =
      gradient_parameters.data_ptr<float>();  // [N, 2, C]: summed over images afterwards, in a fixed order
  run_tasks(count, [&] {
    return [&, scratch = torch::empty({(image.pixels + 8) * image.channels}, torch::kFloat)](int64_t n) {
      const float* mean = stats + n * 2 * image.groups;
      float* own = parameters + n * 2 * image.channels;
      avx512::group_norm_backward<Element>(image, from + n * stride, upper + n * stride, mean, mean + image.groups,
                                           to + n * stride, own, own + image.channels, scratch.data_ptr<float>());
    };
  });
}

struct GroupNormSwish : public Function<GroupNormSwish> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& raw_input,
                               const torch::Tensor& raw_weight, const torch::Tensor& raw_bias, int64_t groups,
                               double eps, bool swish) {
    const torch::Tensor input = channels_last(raw_input);
    const torch::Tensor weight = raw_weight.contiguous(), bias = raw_bias.contiguous();
    torch::Tensor output = torch::empty_like(input);
    torch::Tensor moments = torch::empty({input.size(0), 2, groups}, torch::kFloat);  // mean and 1 / deviation
    const auto image = describe(input, weight, bias, groups, eps, swish);
    if (input.numel() > 0) {
      if (input.scalar_type() == torch::kFloat) {
        forward_images<float>(image, input, output, moments);
      } else {
        forward_images<uint16_t>(image, input, output, moments);
      }
    }
    context->save_for_backward({input, weight, bias, moments});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["swish"] = swish;
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &input = saved[0], &weight = saved[1], &bias = saved[2], &moments = saved[3];
    const auto image = describe(input, weight, bias, context->saved_data["groups"].toInt(),
                                context->saved_data["eps"].toDouble(), context->saved_data["swish"].toBool());
    const torch::Tensor gradient = channels_last(gradients[0].to(input.scalar_type()));
    torch::Tensor gradient_input = torch::empty_like(input);
    torch::Tensor parameters = torch::zeros({input.size(0), 2, image.channels}, torch::kFloat);
    if (input.numel() > 0) {
      if (input.scalar_type() == torch::kFloat) {
        backward_images<float>(image, input, gradient, moments, gradient_input, parameters);
      } else {
        backward_images<uint16_t>(image, input, gradient, moments, gradient_input, parameters);
      }
    }
    const torch::Tensor summed = parameters.sum(0);
    return {gradient_input, summed[0], summed[1], Variable(), Variable(), Variable()};
  }
};

}  // namespace

torch::Tensor group_norm_swish(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                               int64_t groups, double eps, bool swish) {
  require(input.dim() == 3 || input.dim() == 4, "group_norm_swish: input has {} dimensions, expected 3 or 4",
          input.dim());
  const int64_t channels = input.size(1);
  require(groups > 0 && channels % groups == 0, "group_norm_swish: {} channels do not divide into {} groups", channels,
          groups);
  require(weight.dim() == 1 && weight.size(0) == channels && bias.dim() == 1 && bias.size(0) == channels,
          "group_norm_swish: weight and bias have {} and {} elements, expected {}", weight.numel(), bias.numel(),
          channels);
  const auto dtype = input.scalar_type();
  const bool layout =
      input.dim() == 4 ? input.is_contiguous(torch::MemoryFormat::ChannelsLast) : dtype == torch::kBFloat16;
  const bool ours = cpu_has_avx512_bf16() && input.is_cpu() && weight.scalar_type() == torch::kFloat &&
                    bias.scalar_type() == torch::kFloat &&
                    (dtype == torch::kBFloat16 || (dtype == torch::kFloat && layout));
  if (ours) return GroupNormSwish::apply(input, weight, bias, groups, eps, swish);
  // On a CPU without our kernel bfloat16 is computed in float32 and rounded once; and always one channel after the
  // other, since LibTorch's channels-last form loses the variance where the mean is large.
  const auto inner = input.is_cpu() && dtype == torch::kBFloat16 ? torch::kFloat : dtype;
  const torch::Tensor x = input.is_cpu() ? input.to(inner).contiguous() : input;
  const torch::Tensor normal = torch::group_norm(x, groups, weight.to(inner), bias.to(inner), eps);
  const torch::Tensor output = (swish ? torch::silu(normal) : normal).to(dtype);
  return input.dim() == 4 ? output.contiguous(input.suggest_memory_format()) : output;
}

}  // namespace tessera
