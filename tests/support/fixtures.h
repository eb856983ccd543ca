/// Access to the parity cases: numbers computed by the original programs (see tests/fixtures/README.md).
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace tessera::testing {

/// One folder with a case.json.
struct FixtureCase {
  std::filesystem::path folder;
  nlohmann::json description;  // case.json
  TensorMap expected;          // expected.safetensors: inputs and expected outputs

  std::string name() const { return folder.filename().string(); }
  const nlohmann::json& hyperparameters() const { return description.at("hyperparameters"); }
  /// A tensor of expected.safetensors. Fails the test (throws) when the case does not hold it.
  const torch::Tensor& tensor(const std::string& key) const;
  bool has(const std::string& key) const { return expected.count(key) > 0; }
  /// The checkpoint named by case.json.
  std::filesystem::path checkpoint() const;
  /// Checks `got` against tensor `key` with the tolerance that case.json states (exact for integers, one step for
  /// bytes); reports the worst index.
  ::testing::AssertionResult matches(const std::string& key, const torch::Tensor& got) const;
  /// The same with the tolerance of README-vq-diffusion.md: floats to 1e-4 + 1e-4 |expected|, where everything at or
  /// below -69 (log of zero probability) counts as equal. Integers exactly.
  ::testing::AssertionResult near(const std::string& key, const torch::Tensor& got, double tolerance = 1e-4) const;

 private:
  /// 8-bit values: within one step, few of them, which are counted.
  ::testing::AssertionResult bytes_match(const std::string& key, const torch::Tensor& got,
                                         const torch::Tensor& want) const;
};

/// $TESSERA_FIXTURES, or the repository's copy.
std::filesystem::path fixtures_root();

/// Every case whose `case` field is `kind` or `kind` with a suffix that starts no other kind: searched recursively by
/// case.json.
std::vector<FixtureCase> fixture_cases(const std::string& kind);

}  // namespace tessera::testing

/// Runs the body for every case of a kind; skips visibly where a foreign fixtures root has none, fails where ours has
/// none.
#define TESSERA_FOR_EACH_CASE(variable, kind)                                                               \
  const auto variable##_cases = ::tessera::testing::fixture_cases(kind);                                    \
  if (variable##_cases.empty()) {                                                                           \
    if (std::getenv("TESSERA_FIXTURES")) GTEST_SKIP() << "no case '" << kind << "' under TESSERA_FIXTURES"; \
    FAIL() << "no case '" << kind << "' under " << ::tessera::testing::fixtures_root();                     \
  }                                                                                                         \
  for (const auto& variable : variable##_cases)
