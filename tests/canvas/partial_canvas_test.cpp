#include "canvas/partial_canvas.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "canvas/fill_canvas.h"
#include "checkpoint/safetensors.h"
#include "denoiser/transformer.h"
#include "runtime/error.h"

namespace tessera {
namespace partial_canvas_test {

constexpr std::int64_t kCodes = 9;

class PartialFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-partial-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(PartialFile, ACanvasThatStoppedGoesOnToTheSameEnd) {
  TransformerOptions options;
  options.codebook_size = kCodes;
  options.grid = {3, 3};
  options.layers = 1;
  options.heads = 1;
  options.width = 8;
  Transformer network(options, Initialisation::framework, 1);
  network->eval();
  FillOptions fill;
  fill.steps = 6;
  const WindowOptions windows{0, true, 0};
  const auto start = TokenGrid::all_masked(2, {5, 7}, kCodes);
  const auto file = folder_ / "canvas.safetensors";
  const auto stopped = fill_canvas(start, *network, {3, 3}, fill, windows, [&](const FillProgress& at) {
    if (at.step < 3) return true;
    save_partial(file, {"options", {torch::ones({5, 7}, torch::kInt64)}, start.codes(), {at.tokens, at.step}});
    return false;
  });
  EXPECT_TRUE(stopped.report.cancelled);
  const auto partial = load_partial(file);
  partial.require_same(start, "options", "canvas");
  EXPECT_EQ(partial.now.step, 3);
  ASSERT_EQ(partial.finished.size(), 1U);
  EXPECT_TRUE(partial.finished[0].eq(1).all().item<bool>());
  EXPECT_GT((partial.now.tokens == kCodes).sum().item<std::int64_t>(), 0);
  const auto resumed = fill_canvas(start, *network, {3, 3}, fill, windows, {}, partial.now).grid.codes();
  EXPECT_TRUE(resumed.equal(fill_canvas(start, *network, {3, 3}, fill, windows).grid.codes()));
  EXPECT_THROW(partial.require_same(start, "other options", "canvas"), Error);
  EXPECT_THROW(partial.require_same(TokenGrid::all_masked(2, {7, 5}, kCodes), "options", "canvas"), Error);
}

TEST_F(PartialFile, HostileFilesAreErrors) {
  const auto file = folder_ / "canvas.safetensors";
  const auto grid = torch::zeros({1, 2, 2}, torch::kInt64);
  const Metadata good = {{"format", "tessera-partial-canvas 1"}, {"made_by", ""}, {"finished", "0"}, {"step", "4"}};
  const auto fails = [&](const TensorMap& tensors, const Metadata& metadata) {
    save_safetensors(file, tensors, metadata);
    try {
      load_partial(file);
    } catch (const Error& error) {
      return std::string(error.what()).starts_with(file.string());
    }
    return false;
  };
  EXPECT_FALSE(fails({{"start", grid}, {"tokens", grid}}, good));
  EXPECT_TRUE(fails({{"start", grid}}, good));
  EXPECT_TRUE(fails({{"start", grid}, {"tokens", grid[0]}}, good));
  EXPECT_TRUE(fails({{"start", grid.to(torch::kFloat32)}, {"tokens", grid}}, good));
  EXPECT_TRUE(fails({{"start", grid}, {"tokens", grid}}, {}));
  for (const auto* field : {"format", "finished", "step"}) {
    for (const auto* value : {"", "-1", "1e9", "99999999999999999999", "7 "}) {
      auto wrong = good;
      wrong[field] = value;
      EXPECT_TRUE(fails({{"start", grid}, {"tokens", grid}}, wrong)) << field << " " << value;
    }
  }
}

}  // namespace partial_canvas_test
}  // namespace tessera
