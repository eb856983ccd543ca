/// Weights taken from a file as they lie there.
#include "kernels/ops/weight_loading.h"

#include <gtest/gtest.h>

#include <fstream>

#include "kernels/ops/layers.h"
#include "runtime/mapped_file.h"
#include "support/scratch.h"

namespace tessera {
namespace weight_loading_test {

/// A tensor over a mapped file that holds its values.
struct InFile {
  explicit InFile(const torch::Tensor& values) : folder(testing::scratch_folder("weights")) {
    const auto bytes = values.contiguous();
    std::ofstream(folder / "weight", std::ios::binary)
        .write(static_cast<const char*>(bytes.data_ptr()), static_cast<std::streamsize>(bytes.nbytes()));
    file = MappedFile::open(folder / "weight");
    tensor = torch::from_blob(file->data(), values.sizes(), values.options());
  }
  ~InFile() { std::filesystem::remove_all(folder); }
  InFile(const InFile&) = delete;
  InFile& operator=(const InFile&) = delete;
  std::filesystem::path folder;
  std::shared_ptr<MappedFile> file;
  torch::Tensor tensor;
};

torch::Tensor new_parameter(const torch::Tensor& like) {
  return torch::zeros(like.sizes()).requires_grad_();
}

TEST(WeightLoading, SharesWhatTheLayerCanComputeWithAndCopiesTheRest) {
  torch::manual_seed(1);
  const auto values = torch::randn({64, 96});
  const InFile wide(values), half(values.to(torch::kHalf));
  const auto rounded = values.to(torch::kHalf).to(torch::kFloat);
  PackedWeight packed;
  struct Case {
    const InFile& from;
    WeightLoading loading;
    PackedWeight* packed;
    bool shared;
  };
  for (const auto& each :
       {Case{wide, WeightLoading::copy, &packed, false}, Case{wide, WeightLoading::share, &packed, true},
        Case{wide, WeightLoading::share, nullptr, true}, Case{half, WeightLoading::share, &packed, false},
        Case{half, WeightLoading::share_halves, &packed, true},
        Case{half, WeightLoading::share_halves, nullptr, false}}) {
    auto parameter = new_parameter(values);
    const auto seen_by_a_layer = parameter;
    load_parameter(parameter, each.from.tensor, each.loading, each.packed);
    EXPECT_EQ(seen_by_a_layer.data_ptr() == each.from.tensor.data_ptr(), each.shared);
    EXPECT_TRUE(seen_by_a_layer.to(torch::kFloat).equal(&each.from == &wide ? values : rounded));
    if (!each.shared) {
      EXPECT_EQ(seen_by_a_layer.scalar_type(), torch::kFloat);
    }
  }
}

TEST(WeightLoading, LayersGiveTheSameWithSharedWeightsBeforeAndAfterTheyAreGivenBack) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(2);
  const auto x = torch::randn({33, 96}), image = torch::randn({2, 32, 9, 9});
  const auto bias = torch::randn({64}), residual = torch::randn({33, 64});
  for (const auto type : {torch::kFloat, torch::kHalf}) {
    const auto matrix = torch::randn({64, 96}).to(type), kernel = torch::randn({64, 32, 3, 3}).to(type);
    const InFile matrix_file(matrix), kernel_file(kernel);
    for (const auto precision : {Precision::bfloat16, Precision::int8}) {
      PackedWeight of_matrix, of_kernel;
      auto w = new_parameter(matrix), k = new_parameter(kernel);
      load_parameter(w, matrix_file.tensor, WeightLoading::share_halves, &of_matrix);
      load_parameter(k, kernel_file.tensor, WeightLoading::share_halves, &of_kernel);
      const auto full = matrix.to(torch::kFloat), full_kernel = kernel.to(torch::kFloat);
      for (int call = 0; call < 2; ++call) {  // the second finds the weights packed and their pages gone
        EXPECT_TRUE(linear(x, w, bias, precision, &of_matrix).equal(linear(x, full, bias, precision)));
        EXPECT_TRUE(linear_gelu(x, w, bias, precision, &of_matrix).equal(linear_gelu(x, full, bias, precision)));
        EXPECT_TRUE(linear_add(x, w, bias, residual, precision, &of_matrix)
                        .equal(linear_add(x, full, bias, residual, precision)));
        EXPECT_TRUE(linear_unrounded(x, w, {}, precision, &of_matrix).equal(linear_unrounded(x, full, {}, precision)));
        EXPECT_TRUE(conv2d(image, k, bias, 1, 1, precision, &of_kernel)
                        .equal(conv2d(image, full_kernel, bias, 1, 1, precision)));
      }
      EXPECT_TRUE(w.equal(matrix));  // read from the file again
    }
    if (type == torch::kFloat) continue;
    // Not what share_halves is for, and still right.
    const auto is_near = [](const torch::Tensor& a, const torch::Tensor& b) { return a.allclose(b, 1e-4, 1e-4); };
    const auto p = Precision::float32;
    EXPECT_TRUE(is_near(linear(x, matrix, bias, p), linear(x, matrix.to(torch::kFloat), bias, p)));
    EXPECT_TRUE(is_near(conv2d(image, kernel, bias, 1, 1, p), conv2d(image, kernel.to(torch::kFloat), bias, 1, 1, p)));
  }
}

TEST(WeightLoading, AWeightThatWasWrittenToIsNeverGivenBack) {
  const torch::NoGradGuard no_grad;
  const auto values = torch::randn({128, 128});
  const InFile file(values);
  PackedWeight packed;
  auto weight = new_parameter(values);
  load_parameter(weight, file.tensor, WeightLoading::share, &packed);
  weight.add_(1);
  (void)linear(torch::randn({4, 128}), weight, {}, Precision::bfloat16, &packed);
  EXPECT_TRUE(weight.equal(values + 1));
}

TEST(WeightLoading, InferenceGivesWhatTheForwardOfATrainingStepDoes) {
  torch::manual_seed(3);
  const auto x = torch::randn({40, 64}), w = torch::randn({96, 64}), b = torch::randn({96}), r = torch::randn({40, 96});
  const auto image = torch::randn({2, 64, 7, 5}), k = torch::randn({32, 64, 3, 3}), s = torch::randn({32});
  const auto with_gradient = [](const torch::Tensor& weight) { return weight.clone().requires_grad_(); };
  const auto p = Precision::bfloat16;
  EXPECT_TRUE(linear(x, w, b, p).equal(linear(x, with_gradient(w), b, p)));
  EXPECT_TRUE(linear_gelu(x, w, b, p).equal(linear_gelu(x, with_gradient(w), b, p)));
  EXPECT_TRUE(linear_add(x, w, b, r, p).equal(linear_add(x, with_gradient(w), b, r, p)));
  EXPECT_TRUE(conv2d(image, k, s, 2, 1, p).equal(conv2d(image, with_gradient(k), s, 2, 1, p)));
  EXPECT_FALSE(linear(x, w, b, p).requires_grad());
  EXPECT_TRUE(linear(x, with_gradient(w), b, p).requires_grad());
}

TEST(WeightLoading, UnsetParametersHaveShapesAlone) {
  EXPECT_FALSE(UnsetParameters::active());
  {
    const UnsetParameters unset;
    const UnsetParameters inner;
    EXPECT_TRUE(UnsetParameters::active());
    EXPECT_EQ(parameter_of_zeros({3, 4}).sizes(), torch::IntArrayRef({3, 4}));
  }
  EXPECT_FALSE(UnsetParameters::active());
  EXPECT_TRUE(parameter_of_zeros({3, 4}).equal(torch::zeros({3, 4})));
}

}  // namespace weight_loading_test
}  // namespace tessera
