/// Work is spread over the threads that are asked for, and its results do not depend on how many there are.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <functional>
#include <string>

#include "kernels/ops/int8_linear.h"
#include "kernels/ops/isa.h"
#include "kernels/ops/layers.h"

namespace tessera {
namespace threads_test {

class Threads : public ::testing::Test {
 protected:
  ~Threads() override { at::set_num_threads(before_); }

  /// The results of `work` on 1, 2, 3 and 7 threads are the same, bit by bit; `by_library`: but for the order of
  /// float32 sums, where no kernel of ours is for this processor (oneDNN shares a product's depth out by threads).
  static void expect_same(const std::string& what, const std::function<torch::Tensor()>& work,
                          bool by_library = false) {
    at::set_num_threads(1);
    const auto one = work();
    for (const int threads : {2, 3, 7}) {
      at::set_num_threads(threads);
      const auto several = work();
      EXPECT_TRUE(by_library ? torch::allclose(several, one, 1e-5, 1e-5) : torch::equal(several, one))
          << what << " on " << threads << " threads";
    }
  }

 private:
  int before_ = at::get_num_threads();
};

TEST_F(Threads, ParallelForUsesThem) {
#ifndef _OPENMP
  GTEST_SKIP() << "built without OpenMP (the thread sanitizer's build)";
#endif
  at::set_num_threads(3);
  std::atomic<int> seen{0};
  at::parallel_for(0, 3, 1, [&](int64_t, int64_t) { seen |= 1 << at::get_thread_num(); });
  EXPECT_EQ(seen, 7);
}

TEST_F(Threads, LinearLayersDoNotDependOnThem) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  for (const int64_t rows : {1, 15, 64, 257, 700}) {
    const auto x = torch::randn({rows, 96}).to(torch::kBFloat16), residual = torch::randn({rows, 200});
    const auto w = torch::randn({200, 96}), b = torch::randn({200});
    const auto name = [&](const char* what) { return std::string(what) + ", rows " + std::to_string(rows); };
    expect_same(name("linear"), [&] { return linear(x, w, b, Precision::bfloat16); });
    expect_same(name("gelu"), [&] { return linear_gelu(x, w, b, Precision::bfloat16); });
    expect_same(
        name("add"), [&] { return linear_add(x, w, b, residual, Precision::bfloat16); }, !cpu_has_avx512_bf16());
    expect_same(name("int8"), [&] { return int8_linear(x, w, b, Int8Result::rounded, {}, nullptr); });
    expect_same(name("int8 gelu"), [&] { return int8_linear(x, w, b, Int8Result::gelu, {}, nullptr); });
    expect_same(name("int8 sum"), [&] { return int8_linear(x, w, b, Int8Result::sum, residual, nullptr); });
  }
}

TEST_F(Threads, ConvolutionsDoNotDependOnThem) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(2);
  for (const int64_t size : {3, 17, 70}) {
    const auto x = torch::randn({2, 40, size, size + 5}).to(torch::kBFloat16);
    const auto w = torch::randn({48, 40, 3, 3}), b = torch::randn({48});
    for (const int64_t stride : {1, 2}) {
      expect_same("convolution of " + std::to_string(size) + ", stride " + std::to_string(stride),
                  [&] { return conv2d(x, w, b, stride, 1, Precision::bfloat16); });
    }
  }
}

TEST_F(Threads, NormalisationsDoNotDependOnThem) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(3);
  const auto x = torch::randn({1, 64, 80, 70}).to(torch::kBFloat16);
  const auto w = torch::randn({64}), b = torch::randn({64});
  expect_same("group norm", [&] { return group_norm_swish(x, w, b, 32, 1e-6, true); });
  const auto rows = torch::randn({300, 64});
  expect_same("layer norm", [&] { return layer_norm(rows, w, b, 1e-5, Precision::bfloat16); });
}

}  // namespace threads_test
}  // namespace tessera
