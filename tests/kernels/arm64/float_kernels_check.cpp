/// The kernels without LibTorch against sums in float64, as a program of its own: scripts/check_arm64 builds it for a
/// processor for which there is no LibTorch here and runs it under emulation. Status 1 where something is off.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "kernels/cpu/attention/float_attention.h"
#include "kernels/cpu/gemm/float_gemm.h"
#include "kernels/ops/isa.h"

namespace tessera {
CpuLimit cpu_limit() {
  return CpuLimit::amx;
}
}  // namespace tessera

namespace {

using namespace tessera;

int faults = 0;

std::vector<float> numbers(std::size_t count) {
  static std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (auto& value : values) value = normal(random);
  return values;
}

void expect_near(double actual, double expected, double bound, const char* what, std::int64_t at) {
  if (std::fabs(actual - expected) <= bound) return;
  if (++faults < 20)
    std::printf("%s: element %ld is %.9g, expected %.9g +- %.2g\n", what, long(at), actual, expected, bound);
}

void check_gemm(std::int64_t rows, std::int64_t depth, std::int64_t columns, bool gelu) {
  const auto a = numbers(std::size_t(rows * depth)), weight = numbers(std::size_t(columns * depth)),
             bias = numbers(std::size_t(columns)), residual = numbers(std::size_t(rows * columns));
  std::vector<float> packed(std::size_t(float32::packed_size(columns, 1, depth))), output(std::size_t(rows * columns));
  float32::pack(weight.data(), depth, 0, 1, columns, 1, depth, packed.data());
  float32::Gemm gemm;
  gemm.a = a.data();
  gemm.a_ld = depth;
  gemm.depth = depth;
  gemm.b = packed.data();
  gemm.rows = rows;
  gemm.columns = columns;
  gemm.bias = bias.data();
  gemm.gelu = gelu;
  gemm.residual = residual.data();
  gemm.residual_ld = columns;
  gemm.output = output.data();
  gemm.output_ld = columns;
  float32::multiply(gemm);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto at = r * columns + c;
      double sum = double(bias[std::size_t(c)]) + double(residual[std::size_t(at)]),
             size = std::fabs(double(bias[std::size_t(c)])) + std::fabs(double(residual[std::size_t(at)]));
      for (std::int64_t d = 0; d < depth; ++d) {
        const double term = double(a[std::size_t(r * depth + d)]) * double(weight[std::size_t(c * depth + d)]);
        sum += term;
        size += std::fabs(term);
      }
      const double expected = gelu ? 0.5 * sum * (1 + std::erf(sum * std::sqrt(0.5))) : sum;
      expect_near(output[std::size_t(at)], expected, 1.2 * size * double(depth + 3) * 0x1p-24 + std::fabs(sum) * 4e-7,
                  gelu ? "gelu" : "gemm", at);
    }
  }
}

void check_attention(std::int64_t queries, std::int64_t keys, std::int64_t width, bool causal) {
  const auto q = numbers(std::size_t(queries * width)), k = numbers(std::size_t(keys * width)),
             v = numbers(std::size_t(keys * width));
  std::vector<float> output(std::size_t(queries * width));
  float32::Attention head;
  head.query = q.data();
  head.key = k.data();
  head.value = v.data();
  head.query_ld = head.key_ld = head.value_ld = head.output_ld = width;
  head.queries = queries;
  head.keys = keys;
  head.width = width;
  head.scale = 0.3F;
  head.causal = causal;
  head.output = output.data();
  std::vector<float> workspace(std::size_t(float32::attention_workspace(head)));
  float32::attention(head, workspace.data());
  for (std::int64_t i = 0; i < queries; ++i) {
    const auto seen = causal ? i + keys - queries + 1 : keys;
    std::vector<double> weights(static_cast<std::size_t>(seen));
    double most = -INFINITY, total = 0;
    for (std::int64_t j = 0; j < seen; ++j) {
      double& score = weights[std::size_t(j)];
      score = 0;
      for (std::int64_t d = 0; d < width; ++d)
        score += double(q[std::size_t(i * width + d)]) * double(k[std::size_t(j * width + d)]);
      score *= double(0.3F);
      most = std::max(most, score);
    }
    for (auto& weight : weights) total += weight = std::exp(weight - most);
    for (std::int64_t d = 0; d < width; ++d) {
      double mixed = 0;
      for (std::int64_t j = 0; j < seen; ++j)
        mixed += weights[std::size_t(j)] / total * double(v[std::size_t(j * width + d)]);
      expect_near(output[std::size_t(i * width + d)], mixed, 2e-5, "attention", i * width + d);
    }
  }
}

}  // namespace

int main() {
  if (!float32::is_available()) {
    std::puts("no float32 kernels for this processor");
    return 1;
  }
  int cases = 0;
  for (const bool flag : {false, true}) {
    for (const std::int64_t rows : {1, 5, 12, 13, 40})
      for (const std::int64_t depth : {1, 63, 300})
        for (const std::int64_t columns : {1, 8, 21, 64}) check_gemm(rows, depth, columns, flag), ++cases;
    for (const std::int64_t keys : {1, 17, 100})
      for (const std::int64_t width : {1, 20, 64}) check_attention(keys, keys, width, flag), ++cases;
    check_attention(30, 77, 33, flag), ++cases;
  }
  std::printf("%d cases, panels of %ld columns, %d elements off\n", cases, long(float32::panel()), faults);
  return faults == 0 ? 0 : 1;
}
