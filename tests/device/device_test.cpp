#include "kernels/ops/device.h"

#include <gtest/gtest.h>

#include "runtime/error.h"

namespace tessera {
namespace device_test {

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Device, NamesThatAreNoneSayWhatIsExpected) {
  EXPECT_EQ(device_from("cpu"), torch::Device(torch::kCPU));
  for (const char* name : {"gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:12345", "CPU"}) {
    EXPECT_EQ(error_of([&] { device_from(name); }), std::string("device '") + name + "': expected cpu, cuda or cuda:N");
  }
  if (!torch::cuda::is_available()) {
    EXPECT_EQ(error_of([] { device_from("cuda"); }), "device 'cuda': this machine or this LibTorch has no CUDA");
  } else {
    EXPECT_NE(error_of([] { device_from("cuda:99"); }).find("device 'cuda:99': this machine has"), std::string::npos);
  }
}

TEST(Device, PrecisionsBelongToTheirDevices) {
  const torch::Device cpu = torch::kCPU, gpu(torch::kCUDA, 0);
  for (const auto precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    EXPECT_EQ(precision_from(name_of(precision), cpu), precision);
  }
  EXPECT_EQ(precision_from("float16", gpu), Precision::float16);
  EXPECT_EQ(precision_from("bfloat16", gpu), Precision::bfloat16);
  EXPECT_EQ(error_of([&] { precision_from("float16", cpu); }), "dtype 'float16': expected device cuda, found cpu");
  EXPECT_EQ(error_of([&] { precision_from("int8", gpu); }), "dtype 'int8': expected device cpu, found cuda:0");
  EXPECT_EQ(error_of([&] { precision_from("half", cpu); }),
            "dtype 'half': expected one of auto, float32, bfloat16, float16, int8");
}

}  // namespace device_test
}  // namespace tessera
