// Where an evaluation of the paper's prior spends its time: its 24 layers of width 512 with 8 heads, operation by
// operation in their order and with weights of their own each, so that every operation finds in the caches what it
// finds in earnest. usage: bench_denoiser_layer [threads] [repeats] [bfloat16 | int8 | float32] [images]
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/ops/layers.h"
#include "kernels/ops/machine_peak.h"
#include "kernels/ops/transformer_blocks.h"
#include "runtime/heap.h"

namespace {

using namespace tessera;

constexpr std::int64_t kLayers = 24, kWidth = 512, kHeads = 8, kCells = 256;

struct Layer {
  torch::Tensor weight, bias;
  PackedWeight packed, together;
  Layer(std::int64_t inputs, std::int64_t outputs)
      : weight(torch::randn({outputs, inputs}) * 0.02), bias(torch::randn({outputs}) * 0.02) {}
};

struct Block {
  torch::Tensor ones = torch::ones({kWidth}), zeros = torch::zeros({kWidth});
  Layer qkv{kWidth, 3 * kWidth}, out{kWidth, kWidth}, up{kWidth, 4 * kWidth}, down{4 * kWidth, kWidth};

  TransformerBlock parameters() {
    const auto dense = [](Layer& layer) { return TransformerBlock::Dense{layer.weight, layer.bias, &layer.together}; };
    return {{ones, zeros}, dense(qkv), dense(out), {ones, zeros}, dense(up), dense(down)};
  }
};

/// Microseconds of one operation, summed over the layers, in each repeat.
struct Operation {
  const char* name;
  double operations;  // multiplications and additions in all layers
  std::vector<double> microseconds;
};

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int index, int otherwise) { return argc > index ? std::atoi(argv[index]) : otherwise; };
  const int threads = std::max(1, number(1, 1)), repeats = std::max(2, number(2, 20));
  const std::string dtype = argc > 3 ? argv[3] : "bfloat16";
  const std::int64_t images = std::max(1, number(4, 1));
  if (dtype != "bfloat16" && dtype != "int8" && dtype != "float32") {
    fmt::print(stderr, "bench_denoiser_layer: {}: expected bfloat16, int8 or float32\n", dtype);
    return 2;
  }
  const auto precision = dtype == "int8"      ? Precision::int8
                         : dtype == "float32" ? Precision::float32
                                              : Precision::bfloat16;
  const auto peak = measure_machine_peak(threads);
  const double limit = dtype == "int8" ? peak.int8 : dtype == "float32" ? peak.float32 : peak.bfloat16;
  keep_freed_memory();
  torch::set_num_threads(threads);
  torch::manual_seed(0);
  const torch::NoGradGuard no_grad;
  std::vector<Block> blocks(kLayers);
  const auto rows = images * kCells;
  const auto input = torch::randn({rows, kWidth});
  const double scale = 1 / std::sqrt(static_cast<double>(kWidth / kHeads));
  const auto product = [&](std::int64_t inputs, std::int64_t outputs) {
    return 2.0 * static_cast<double>(kLayers * rows * inputs * outputs);
  };
  std::vector<Operation> operations = {{"layer norm", 0, {}},
                                       {"queries, keys, values", product(kWidth, 3 * kWidth), {}},
                                       {"attention", 2 * product(kCells, kWidth), {}},
                                       {"output, added", product(kWidth, kWidth), {}},
                                       {"layer norm", 0, {}},
                                       {"up, GELU", product(kWidth, 4 * kWidth), {}},
                                       {"down, added", product(4 * kWidth, kWidth), {}}};
  std::vector<TransformerBlock> parameters;
  for (auto& block : blocks) parameters.push_back(block.parameters());
  std::vector<double> together;
  for (int repeat = -1; repeat < repeats; ++repeat) {  // the first packs the weights
    std::vector<double> spent(operations.size());
    auto x = input.clone();
    for (auto& block : blocks) {
      auto last = std::chrono::steady_clock::now();
      std::size_t operation = 0;
      const auto done = [&](torch::Tensor result) {
        const auto now = std::chrono::steady_clock::now();
        spent[operation++] += std::chrono::duration<double, std::micro>(now - last).count();
        last = now;
        return result;
      };
      const auto dense = [&](auto&& apply, const torch::Tensor& from, Layer& layer, auto&&... more) {
        return done(apply(from, layer.weight, layer.bias, more..., precision, &layer.packed));
      };
      auto rest = done(layer_norm(x, block.ones, block.zeros, 1e-5, of_activations(precision)));
      rest = dense(linear, rest, block.qkv).view({images, kCells, 3 * kWidth});
      rest = done(attention_qkv(rest, kHeads, scale, false, precision)).view({rows, kWidth});
      x = dense(linear_add_onto, rest, block.out, x);
      rest = done(layer_norm(x, block.ones, block.zeros, 1e-5, of_activations(precision)));
      rest = dense(linear_gelu, rest, block.up);
      x = dense(linear_add_onto, rest, block.down, x);
    }
    if (transformer_blocks_apply(input, images, kHeads, precision, parameters.front())) {
      const auto begin = std::chrono::steady_clock::now();
      transformer_blocks(input, images, kHeads, scale, false, 1e-5, precision, parameters);
      const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
      if (repeat >= 0) together.push_back(took.count());
    }
    for (std::size_t i = 0; repeat >= 0 && i < spent.size(); ++i) operations[i].microseconds.push_back(spent[i]);
  }
  fmt::print("{} threads, {}, {} images; measured peak {:.0f} G operations a second\n", threads, dtype, images, limit);
  fmt::print("{:24}{:>14}{:>14}{:>12}{:>10}\n", "", "least us/layer", "quarter", "G/s", "of peak");
  std::vector<double> all(static_cast<std::size_t>(repeats));
  for (const auto& [name, count, microseconds] : operations) {
    const double least = quantile(microseconds, 0), speed = count / least * 1e-3;
    for (std::size_t i = 0; i < all.size(); ++i) all[i] += microseconds[i];
    fmt::print("{:24}{:14.1f}{:14.1f}", name, least / kLayers, quantile(microseconds, 0.25) / kLayers);
    if (count > 0) fmt::print("{:12.0f}{:9.0f}%", speed, limit > 0 ? 100 * speed / limit : 0);
    fmt::print("\n");
  }
  const auto print = [](const char* name, const std::vector<double>& microseconds) {
    fmt::print("{}: least {:.1f} ms, quarter {:.1f}, middle {:.1f}\n", name, quantile(microseconds, 0) * 1e-3,
               quantile(microseconds, 0.25) * 1e-3, quantile(microseconds, 0.5) * 1e-3);
  };
  print("all layers", all);
  if (!together.empty()) print("all layers as one operation", together);
}
