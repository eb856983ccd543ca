/// The tokens that every sampler makes with every shipped bundle for every kind of edit, as they were recorded: a
/// change of the code that is not meant to change pictures changes none of them.
/// TESSERA_RECORD_GOLDEN=1 writes tests/pipeline/golden_tokens.json anew.
#include <gtest/gtest.h>

#include <fmt/ranges.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "pipeline/pipeline.h"
#include "pipeline/sampling_choice.h"
#include "runtime/random.h"

namespace tessera {
namespace {

const std::string kFile = std::string(TESSERA_SOURCE_DIR) + "/tests/pipeline/golden_tokens.json";
// In float32 the logits of two processors differ in their last bits, and a uniform may lie between them. Recorded with
// LibTorch 1.13; those of 2.x compute exp and the like otherwise, which guidance enlarges.
constexpr std::size_t kMostOtherCases = TORCH_VERSION_MAJOR < 2 ? 2 : 6;

struct Edit {
  std::string name;
  torch::Tensor codes;  // [1, h, w], K where open
};

/// Kept cells hold codes from a counter, so that no codec takes part.
std::vector<Edit> edits(Extent own, std::int64_t codes) {
  const RandomStream stream(7, Purpose::draw_tokens, 0, 0);
  const auto known = [&](std::int64_t h, std::int64_t w) {
    auto grid = torch::empty({1, h, w}, torch::kInt64);
    for (std::int64_t cell = 0; cell < h * w; ++cell) {
      grid.data_ptr<std::int64_t>()[cell] =
          static_cast<std::int64_t>(stream.uniform(static_cast<std::uint32_t>(cell)) * static_cast<double>(codes));
    }
    return grid;
  };
  using torch::indexing::Slice;
  std::vector<Edit> all = {{"generate", torch::full({1, own.h, own.w}, codes, torch::kInt64)}};
  auto box = known(own.h, own.w);
  box.index_put_({0, Slice(4, 9), Slice(3, 12)}, codes);
  all.push_back({"inpaint", box});
  auto kept = torch::full({1, own.h, own.w}, codes, torch::kInt64);
  kept.index_put_({0, Slice(5, 11), Slice(5, 11)}, known(6, 6)[0]);
  all.push_back({"keep", kept});
  auto wide = torch::full({1, own.h, own.w + 6}, codes, torch::kInt64);
  wide.index_put_({0, Slice(), Slice(0, own.w)}, known(own.h, own.w)[0]);
  all.push_back({"outpaint", wide});
  auto pieces = torch::full({1, own.h, own.w}, codes, torch::kInt64);
  pieces.index_put_({0, Slice(), Slice(0, 7)}, known(own.h, 7)[0]);
  pieces.index_put_({0, Slice(), Slice(9, own.w)}, known(own.h, own.w - 9)[0]);
  all.push_back({"stitch", pieces});
  auto near = known(own.h, own.w);
  for (std::int64_t cell = 0; cell < near.numel(); cell += 3) near.data_ptr<std::int64_t>()[cell] = codes;
  all.push_back({"variations", near});
  return all;
}

/// Tokens as text, three hexadecimal digits each: a line of a file can be compared with another.
std::string text_of(const torch::Tensor& tokens) {
  std::string text;
  const auto flat = tokens.flatten().contiguous();
  for (std::int64_t i = 0; i < flat.numel(); ++i) text += fmt::format("{:03x}", flat.data_ptr<std::int64_t>()[i]);
  return text;
}

nlohmann::ordered_json made_now() {
  nlohmann::ordered_json made;
  for (const auto* bundle : {"emoji64", "emoji64-text"}) {
    auto pipeline = Pipeline::load(std::string(TESSERA_SOURCE_DIR) + "/models/" + bundle);
    for (const auto& edit : edits(pipeline.prior_network().grid, pipeline.prior().codebook_size())) {
      for (const auto* sampler : {"ancestral", "confidence", "mlm", "purity", "raster"}) {
        SamplingChoice choice;
        choice.options.set("sampler", sampler).set("steps", 5).set("temperature", 0.9);
        choice.seed = 11;
        if (pipeline.condition() == "text") {
          choice.options.set("prompt", "cat face").set("cfg_scale", 3);
        }
        const auto options = resolve(choice, pipeline, {edit.codes.size(1), edit.codes.size(2)});
        const auto result = pipeline.fill({edit.codes, pipeline.prior().codebook_size()}, options);
        made[fmt::format("{} {} {}", bundle, edit.name, sampler)] = text_of(result.grid.codes());
      }
    }
  }
  return made;
}

TEST(GoldenTokens, EverySamplerBundleAndEditMakesWhatWasRecorded) {
  const torch::NoGradGuard no_grad;
  const auto made = made_now();
  if (std::getenv("TESSERA_RECORD_GOLDEN")) {
    std::ofstream(kFile) << made.dump(0) << "\n";
    GTEST_SKIP() << "recorded " << made.size() << " cases";
  }
  const auto recorded = nlohmann::json::parse(std::ifstream(kFile));
  ASSERT_EQ(made.size(), recorded.size());
  std::vector<std::string> others;
  for (const auto& [name, tokens] : made.items()) {
    ASSERT_TRUE(recorded.contains(name)) << name;
    if (recorded[name] != tokens) others.push_back(name);
  }
  EXPECT_LE(others.size(), kMostOtherCases) << fmt::format("{}", fmt::join(others, "; "));
}

}  // namespace
}  // namespace tessera
