/// What the tests of a GPU share. Where there is none they are skipped, and ctest says so.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "kernels/ops/device.h"

namespace tessera::testing {

/// The device under test: cuda, or what TESSERA_TEST_DEVICE says. With cpu the tests compare the CPU with itself, which
/// tests them.
inline std::string device_name() {
  const char* const given = std::getenv("TESSERA_TEST_DEVICE");
  return given ? given : "cuda";
}

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (device_name() != "cpu" && !torch::cuda::is_available())
      GTEST_SKIP() << "no GPU here, or a LibTorch without CUDA";
  }
  static torch::Device device() { return device_from(device_name()); }
  /// What a GPU computes in besides float32; the CPU knows one of them.
  static std::vector<Precision> low_precisions() {
    if (device().is_cpu()) return {Precision::bfloat16};
    return {Precision::bfloat16, Precision::float16};
  }
};

}  // namespace tessera::testing
