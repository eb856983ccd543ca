#include "support/fixtures.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "runtime/error.h"

namespace tessera::testing {
namespace {

const std::vector<std::string>& known_kinds() {
  static const std::vector<std::string> kinds = {"amused-pipeline",
                                                 "amused-512-transformer",
                                                 "lora",
                                                 "unleashing-vqgan-gumbel",
                                                 "unleashing-vqgan",
                                                 "unleashing-absorbing",
                                                 "unleashing-autoregressive",
                                                 "unleashing-big-canvas",
                                                 "unleashing-diffaug",
                                                 "unleashing-training",
                                                 "taming-vqmodel",
                                                 "taming-gumbel",
                                                 "taming-gpt",
                                                 "imagebart",
                                                 "vq-diffusion-original-vqvae",
                                                 "vq-diffusion-original",
                                                 "vq-diffusion-pipeline",
                                                 "clip-tokenizer",
                                                 "llamagen-vq",
                                                 "halton-maskgit",
                                                 "maskgit-vqgan",
                                                 "metrics-inception",
                                                 "metrics-lpips-vgg",
                                                 "metrics-lpips",
                                                 "metrics-prdc"};
  return kinds;
}

/// The longest known kind that the text starts with; empty if none.
std::string kind_of(const std::string& text) {
  std::string best;
  for (const auto& kind : known_kinds()) {
    if (text.starts_with(kind) && kind.size() > best.size()) best = kind;
  }
  return best;
}

}  // namespace

const torch::Tensor& FixtureCase::tensor(const std::string& key) const {
  const auto found = expected.find(key);
  if (found == expected.end()) fail("{}: expected.safetensors holds no tensor '{}'", name(), key);
  return found->second;
}

std::filesystem::path FixtureCase::checkpoint() const {
  return folder / description.at("checkpoint").at("file").get<std::string>();
}

::testing::AssertionResult FixtureCase::bytes_match(const std::string& key, const torch::Tensor& got,
                                                    const torch::Tensor& want) const {
  constexpr std::int64_t kStep = 1;
  const auto difference = (got.detach().to(torch::kCPU, torch::kInt64) - want.to(torch::kInt64)).abs();
  const auto differing = difference.gt(0).sum().item<std::int64_t>(), worst = difference.max().item<std::int64_t>();
  // A value in three thousand lies on a tie of rounding, which processors settle differently.
  const auto allowed = std::max<std::int64_t>(2, want.numel() / 300);
  if (worst <= kStep && differing <= allowed) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << name() << ": " << key << ": " << differing << " of " << want.numel()
                                       << " bytes differ, by up to " << worst << "; expected at most " << allowed
                                       << " by " << kStep;
}

::testing::AssertionResult FixtureCase::matches(const std::string& key, const torch::Tensor& got) const {
  const auto& want = tensor(key);
  if (got.sizes() != want.sizes()) {
    return ::testing::AssertionFailure() << name() << ": " << key << ": shape " << got.sizes() << ", expected "
                                         << want.sizes();
  }
  if (want.scalar_type() == torch::kUInt8) return bytes_match(key, got, want);
  if (!want.is_floating_point()) {
    const auto differing = (got.to(want.scalar_type()) != want).sum().item<std::int64_t>();
    if (differing == 0) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << name() << ": " << key << ": " << differing << " of " << want.numel()
                                         << " integers differ";
  }
  const auto& entry = description.at("tensors").at(key);
  const double atol = entry.value("suggested_atol", 1e-5);
  const double rtol = entry.value("suggested_rtol", 1e-4);
  const auto want64 = want.to(torch::kFloat64).flatten();
  const auto got64 = got.detach().to(torch::kCPU, torch::kFloat64).flatten();
  if (got64.isnan().ne(want64.isnan()).any().item<bool>()) {
    return ::testing::AssertionFailure() << name() << ": " << key << ": NaN in other places than the original's";
  }
  const auto difference = (got64 - want64).abs().nan_to_num(0, 0, 0);
  const auto excess = difference - (atol + rtol * want64.abs().nan_to_num(0));
  const auto worst = excess.argmax().item<std::int64_t>();
  if (excess[worst].item<double>() <= 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << name() << ": " << key << " at flat index " << worst << ": got "
                                       << got64[worst].item<double>() << ", expected " << want64[worst].item<double>()
                                       << " (atol " << atol << ", rtol " << rtol << "; "
                                       << (excess > 0).sum().item<std::int64_t>() << " of " << want.numel()
                                       << " out of tolerance)";
}

::testing::AssertionResult FixtureCase::near(const std::string& key, const torch::Tensor& got, double tolerance) const {
  const auto& want = tensor(key);
  if (!want.is_floating_point()) return matches(key, got);
  if (got.sizes() != want.sizes()) {
    return ::testing::AssertionFailure() << name() << ": " << key << ": shape " << got.sizes() << ", expected "
                                         << want.sizes();
  }
  constexpr double kZero = -69;  // log 1e-30 and below
  const auto want64 = want.to(torch::kFloat64).flatten().clamp_min(kZero);
  const auto got64 = got.detach().to(torch::kCPU, torch::kFloat64).flatten().clamp_min(kZero);
  const auto excess = ((got64 - want64).abs() - tolerance * (1 + want64.abs())).nan_to_num(1e30);
  const auto worst = excess.argmax().item<std::int64_t>();
  if (excess[worst].item<double>() <= 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << name() << ": " << key << " at flat index " << worst << ": got "
                                       << got64[worst].item<double>() << ", expected " << want64[worst].item<double>()
                                       << " (" << (excess > 0).sum().item<std::int64_t>() << " of " << want.numel()
                                       << " out of tolerance)";
}

std::filesystem::path fixtures_root() {
  const char* given = std::getenv("TESSERA_FIXTURES");
  return given && *given ? given : TESSERA_FIXTURES_DEFAULT;
}

std::vector<FixtureCase> fixture_cases(const std::string& kind) {
  std::vector<FixtureCase> cases;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           fixtures_root(), std::filesystem::directory_options::follow_directory_symlink)) {
    if (entry.path().filename() != "case.json") continue;
    FixtureCase found;
    found.folder = entry.path().parent_path();
    std::ifstream stream(entry.path());
    found.description = nlohmann::json::parse(stream);
    auto own = kind_of(found.description.value("case", ""));
    if (own.empty()) own = kind_of(found.name());
    if (own != kind) continue;
    if (const auto file = found.folder / "expected.safetensors"; std::filesystem::exists(file)) {
      found.expected = load_safetensors(file);
    }
    cases.push_back(std::move(found));
  }
  std::sort(cases.begin(), cases.end(), [](const auto& a, const auto& b) { return a.folder < b.folder; });
  return cases;
}

}  // namespace tessera::testing
