/// The training operations beside LibTorch's own, forward and backward, in one run: bench_training_ops [threads]
/// [repeats] Times are the least of the repeats of processor time of the calling thread (one thread) or of wall time
/// (more threads), since other programs share the machine; forward and backward of each operation run alternately on
/// both sides.
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "kernels/ops/layers.h"

namespace {

using torch::Tensor;
int threads = 1;
int repeats = 7;

double now() {
  timespec t{};
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) * 1e-6;
}

struct Times {
  double forward = 1e30, backward = 1e30;  // ms
};

using Operation = std::function<Tensor(const std::vector<Tensor>&)>;

void once(const Operation& operation, std::vector<Tensor>& inputs, Tensor& gradient, Times& times) {
  const double start = now();
  const Tensor y = operation(inputs);
  const double middle = now();
  if (!gradient.defined()) gradient = torch::randn_like(y);
  const double again = now();
  torch::autograd::grad({y}, inputs, {gradient});
  const double end = now();
  times.forward = std::min(times.forward, middle - start);
  times.backward = std::min(times.backward, end - again);
}

std::vector<Tensor> leaves(const std::vector<Tensor>& from, torch::ScalarType dtype, torch::MemoryFormat format) {
  std::vector<Tensor> result;
  for (size_t i = 0; i < from.size(); ++i) {
    Tensor t = from[i].detach().clone();
    if (i == 0) t = t.to(dtype);
    if (i == 0 && t.dim() == 4) t = t.contiguous(format);
    result.push_back(t.requires_grad_());
  }
  return result;
}

/// flops: of the forward, or 0. Compares ours on bfloat16 channels-last with LibTorch float32 and LibTorch bfloat16
/// channels-last.
void compare(const std::string& name, double flops, const std::vector<Tensor>& inputs, const Operation& ours,
             const Operation& theirs, const Operation& theirs_bf16) {
  const auto nhwc = torch::MemoryFormat::ChannelsLast, nchw = torch::MemoryFormat::Contiguous;
  auto a = leaves(inputs, torch::kBFloat16, nhwc), b = leaves(inputs, torch::kFloat, nchw),
       c = leaves(inputs, torch::kBFloat16, nhwc);
  Tensor ga, gb, gc;
  Times ta, tb, tc;
  for (int i = 0; i < repeats; ++i) {
    once(ours, a, ga, ta);
    if (i < 3) once(theirs, b, gb, tb);
    once(theirs_bf16, c, gc, tc);
  }
  std::printf("%-28s ours %7.2f %7.2f  torch bf16 %7.2f %7.2f (x%.1f x%.1f)  torch f32 %7.2f %7.2f (x%.1f x%.1f)",
              name.c_str(), ta.forward, ta.backward, tc.forward, tc.backward, tc.forward / ta.forward,
              tc.backward / ta.backward, tb.forward, tb.backward, tb.forward / ta.forward, tb.backward / ta.backward);
  if (flops > 0) std::printf("  ours GFLOP/s %.0f %.0f", flops / ta.forward * 1e-6, 2 * flops / ta.backward * 1e-6);
  std::printf("\n");
  std::fflush(stdout);
}

void convolutions() {
  struct Case {
    int64_t images, from, to, size, kernel, stride;
  };
  for (const Case& c : {Case{16, 32, 32, 64, 3, 1},
                        {16, 64, 64, 64, 3, 1},
                        {16, 64, 128, 32, 3, 1},
                        {16, 128, 128, 32, 3, 1},
                        {16, 128, 128, 16, 3, 1},
                        {16, 128, 128, 16, 1, 1},
                        {16, 64, 64, 64, 3, 2},
                        {16, 3, 64, 64, 3, 1},
                        {16, 64, 3, 64, 3, 1}}) {
    const int64_t pad = c.kernel / 2, out = (c.size + 2 * pad - c.kernel) / c.stride + 1;
    const double flops = 2. * double(c.images * c.from * c.to * c.kernel * c.kernel * out * out);
    const std::vector<Tensor> inputs = {torch::randn({c.images, c.from, c.size, c.size}),
                                        torch::randn({c.to, c.from, c.kernel, c.kernel}) * 0.05, torch::randn({c.to})};
    const auto plain = [&](const std::vector<Tensor>& t) { return torch::conv2d(t[0], t[1], t[2], c.stride, pad); };
    const auto ours = [&](const std::vector<Tensor>& t) {
      return tessera::conv2d(t[0], t[1], t[2], c.stride, pad, tessera::Precision::bfloat16);
    };
    const auto bf16 = [&](const std::vector<Tensor>& t) {
      const auto w = t[1].to(torch::kBFloat16).contiguous(torch::MemoryFormat::ChannelsLast);
      return torch::conv2d(t[0], w, t[2].to(torch::kBFloat16), c.stride, pad);
    };
    compare("conv" + std::to_string(c.kernel) + "x" + std::to_string(c.kernel) + " " + std::to_string(c.from) + "->" +
                std::to_string(c.to) + " " + std::to_string(c.size) + "^2 /" + std::to_string(c.stride) + " N" +
                std::to_string(c.images),
            flops, inputs, ours, plain, bf16);
  }
}

void group_norms() {
  struct Case {
    int64_t channels, size;
  };
  for (const Case& c : {Case{32, 64}, {64, 64}, {128, 32}, {128, 16}}) {
    const std::vector<Tensor> inputs = {torch::randn({16, c.channels, c.size, c.size}), torch::randn({c.channels}),
                                        torch::randn({c.channels})};
    compare(
        "norm+swish " + std::to_string(c.channels) + " " + std::to_string(c.size) + "^2 N16", 0, inputs,
        [&](const std::vector<Tensor>& t) { return tessera::group_norm_swish(t[0], t[1], t[2], 32, 1e-6, true); },
        [&](const std::vector<Tensor>& t) { return torch::silu(torch::group_norm(t[0], 32, t[1], t[2], 1e-6)); },
        [&](const std::vector<Tensor>& t) {
          return torch::silu(torch::group_norm(t[0], 32, t[1].to(torch::kBFloat16), t[2].to(torch::kBFloat16), 1e-6));
        });
  }
}

void linears() {
  struct Case {
    int64_t rows, from, to;
  };
  for (const Case& c :
       {Case{8192, 256, 1024}, {8192, 1024, 256}, {8192, 384, 1152}, {8192, 384, 384}, {8192, 384, 256}}) {
    const std::vector<Tensor> inputs = {torch::randn({c.rows, c.from}), torch::randn({c.to, c.from}) * 0.05,
                                        torch::randn({c.to})};
    compare(
        "linear " + std::to_string(c.rows) + " x " + std::to_string(c.from) + " -> " + std::to_string(c.to),
        2. * double(c.rows * c.from * c.to), inputs,
        [&](const std::vector<Tensor>& t) { return tessera::linear(t[0], t[1], t[2], tessera::Precision::bfloat16); },
        [&](const std::vector<Tensor>& t) { return torch::linear(t[0], t[1], t[2]); },
        [&](const std::vector<Tensor>& t) {
          return torch::linear(t[0], t[1].to(torch::kBFloat16), t[2].to(torch::kBFloat16));
        });
  }
}

void rows() {
  const std::vector<Tensor> inputs = {torch::randn({8192, 384}), torch::randn({384}), torch::randn({384})};
  compare(
      "layer_norm 8192 x 384", 0, inputs,
      [&](const std::vector<Tensor>& t) { return tessera::layer_norm(t[0], t[1], t[2], 1e-5); },
      [&](const std::vector<Tensor>& t) { return torch::layer_norm(t[0], {384}, t[1], t[2]); },
      [&](const std::vector<Tensor>& t) {
        return torch::layer_norm(t[0], {384}, t[1].to(torch::kBFloat16), t[2].to(torch::kBFloat16));
      });
  const std::vector<Tensor> wide = {torch::randn({8192, 1536})};
  const auto plain = [&](const std::vector<Tensor>& t) { return torch::gelu(t[0]); };
  compare(
      "gelu 8192 x 1536", 0, wide, [&](const std::vector<Tensor>& t) { return tessera::gelu_activation(t[0]); }, plain,
      plain);
}

void attentions() {
  struct Case {
    int64_t images, cells, heads, width;
  };
  for (const Case& c : {Case{32, 256, 6, 64}, {32, 256, 8, 48}, {16, 256, 1, 128}}) {
    const int64_t features = c.heads * c.width;
    const double scale = 1 / std::sqrt(double(c.width));
    const std::vector<Tensor> inputs = {torch::randn({c.images, c.cells, 3 * features})};
    const auto plain = [&](const std::vector<Tensor>& t) {
      const auto parts = t[0].view({c.images, c.cells, 3, c.heads, c.width}).permute({2, 0, 3, 1, 4}).unbind(0);
      const auto weights = torch::softmax(torch::matmul(parts[0] * scale, parts[1].transpose(2, 3)), -1);
      return torch::matmul(weights, parts[2]).transpose(1, 2).flatten(2);
    };
    compare(
        "attention N" + std::to_string(c.images) + " L" + std::to_string(c.cells) + " " + std::to_string(c.heads) +
            " heads of " + std::to_string(c.width),
        4. * double(c.images * c.cells * c.cells * features), inputs,
        [&](const std::vector<Tensor>& t) {
          return tessera::attention_qkv(t[0], c.heads, scale, false, tessera::Precision::bfloat16);
        },
        plain, plain);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) threads = std::atoi(argv[1]);
  if (argc > 2) repeats = std::atoi(argv[2]);
  const std::string only = argc > 3 ? argv[3] : "";
  at::set_num_threads(threads);
  std::printf("%d thread(s); ms forward, ms backward; (ratio to ours)\n", threads);
  if (only.empty() || only == "norm") group_norms();
  if (only.empty() || only == "conv") convolutions();
  if (only.empty() || only == "linear") linears();
  if (only.empty() || only == "rows") rows();
  if (only.empty() || only == "attention") attentions();
}
