// Does what was made from a caption lie nearest to the caption's picture?
#include "metrics/caption_retrieval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "metrics/evaluation.h"
#include "runtime/error.h"

namespace tessera {
namespace caption_retrieval_test {

torch::Tensor some(std::vector<std::int64_t> shape, std::uint64_t seed) {
  return torch::randn(shape, at::detail::createCPUGenerator(seed));
}

TEST(CaptionRetrieval, PicturesOfTheirOwnCaptionsComeFirst) {
  const auto real = some({30, 8}, 1);
  const auto found = caption_retrieval(real, real.unsqueeze(1) + 0.01 * some({30, 3, 8}, 2));
  EXPECT_TRUE(found.ranks.eq(1).all().item<bool>());
  EXPECT_TRUE(found.nearest.equal(torch::arange(30)));
  EXPECT_EQ(found.top1.mean, 1);
  EXPECT_LT(found.top1.low, 1);  // thirty hits do not show that every one would hit
  EXPECT_GT(found.top1.low, 0.88);
  EXPECT_EQ(found.mean_rank.mean, 1);
  EXPECT_DOUBLE_EQ(found.chance_top1, 1.0 / 30);
  EXPECT_DOUBLE_EQ(found.chance_mean_rank, 15.5);
  EXPECT_LT(found.chance_of_top1, 1e-40);
}

TEST(CaptionRetrieval, PicturesThatSayNothingComeToChance) {
  double top1 = 0, rank = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const auto found = caption_retrieval(some({25, 6}, 100 + seed), some({25, 2, 6}, 200 + seed));
    top1 += found.top1.mean / 40;
    rank += found.mean_rank.mean / 40;
  }
  EXPECT_NEAR(top1, 1.0 / 25, 0.02);
  EXPECT_NEAR(rank, 13, 0.6);
}

TEST(CaptionRetrieval, ATableOfDistancesGivesTheRanksByHand) {
  // On a line: pictures at 0, 10, 20; made at 1 | 19 | 12.
  const auto real = torch::tensor({0.0, 10.0, 20.0}).view({3, 1});
  const auto found = caption_retrieval(real, torch::tensor({1.0, 19.0, 12.0}).view({3, 1, 1}));
  EXPECT_TRUE(found.ranks.equal(torch::tensor({1.0, 2.5, 2.0}, torch::kFloat64)));  // 10 is as far from 1 as from 19
  EXPECT_TRUE(found.nearest.equal(torch::tensor({0, 2, 1})));
  EXPECT_NEAR(found.top1.mean, 1.0 / 3, 1e-12);
  // One hit or more of three by guessing among three: 1 - (2/3)^3.
  EXPECT_NEAR(found.chance_of_top1, 19.0 / 27, 1e-12);
}

TEST(CaptionRetrieval, MadePicturesThatAreAllAlikeHitNothing) {
  const auto found = caption_retrieval(some({9, 4}, 3), torch::zeros({9, 2, 4}));
  EXPECT_EQ(found.top1.mean, 0);
  EXPECT_EQ(found.mean_rank.mean, 5);
  EXPECT_DOUBLE_EQ(found.chance_of_top1, 1);
}

TEST(CaptionRetrieval, WhatDoesNotFitIsNamed) {
  const auto message = [](const torch::Tensor& real, const torch::Tensor& made) -> std::string {
    try {
      (void)caption_retrieval(real, made);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(torch::zeros({3, 2}), torch::zeros({2, 1, 2})),
            "caption retrieval: expected features [N, D] of the pictures and [N, G, D] of what was made");
  EXPECT_EQ(message(torch::zeros({1, 2}), torch::zeros({1, 1, 2})), "real features: 1 rows, expected at least 2");
  auto broken = torch::zeros({3, 1, 2});
  broken[1][0][1] = NAN;
  EXPECT_EQ(message(torch::zeros({3, 2}), broken), "generated features: row 1 holds NaN or an infinity");
}

TEST(Proportion, WilsonsIntervalIsTheOneInTheTables) {
  // 8 of 10 at 95 %: 0.4902 to 0.9433 (Newcombe, "Two-sided confidence intervals for the single proportion", 1998).
  const auto eight = proportion_interval(8, 10);
  EXPECT_NEAR(eight.low, 0.4902, 1e-4);
  EXPECT_NEAR(eight.high, 0.9433, 1e-4);
  const auto none = proportion_interval(0, 20);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.1611, 1e-4);
  EXPECT_THROW(proportion_interval(3, 2), Error);
}

/// The mean colour of a picture.
class MeanColour : public FeatureNetwork {
 public:
  torch::Tensor features(const std::vector<torch::Tensor>& images) override {
    std::vector<torch::Tensor> rows;
    for (const auto& image : images) rows.push_back(image.to(torch::kFloat32).mean({1, 2}));
    return torch::stack(rows);
  }
  std::string label() const override { return "mean colour"; }
  std::string distance_name() const override { return "FD-test"; }
  bool published() const override { return false; }
  std::string key() const override { return "mean colour"; }
};

/// Pictures of one grey each, whose captions say which; the last two share theirs.
Dataset greys() {
  DatasetContent content;
  std::vector<torch::Tensor> images;
  for (std::int64_t i = 0; i < 7; ++i) {
    images.push_back(torch::full({3, 4, 4}, 30 * i, torch::kUInt8));
    DatasetItem item;
    item.file_name = fmt::format("{}.png", i);
    item.caption = fmt::format("grey {}", std::min<std::int64_t>(i, 5));
    content.items.push_back(item);
  }
  content.images = torch::stack(images);
  return {std::move(content), 0.0, 0};
}

TEST(CaptionFigures, AMakerThatFollowsTheCaptionIsToldFromOneThatDoesNot) {
  const auto data = greys();
  MeanColour network;
  HtmlReport report("captions");
  CaptionOptions options;
  options.count = 6;
  options.each = 2;
  const auto& indices = data.split(Split::all);
  const auto grey_of = [](const std::string& caption) { return 30 * (caption.back() - '0') + 7; };
  const auto good = caption_figures(
      data, indices, options, network,
      [&](const std::string& caption, std::int64_t) {
        return torch::full({2, 3, 4, 4}, grey_of(caption), torch::kUInt8);
      },
      report);
  EXPECT_EQ(good["top1"]["mean"], 1.0);
  EXPECT_EQ(good["captions"], 6);
  EXPECT_EQ(good["images"][3]["caption"], "grey 3");
  EXPECT_EQ(good["images"][3]["nearest_caption"], "grey 3");
  EXPECT_NE(report.html().find("nearest caption"), std::string::npos);
  const auto bad = caption_figures(
      data, indices, options, network,
      [&](const std::string&, std::int64_t number) {
        return torch::full({2, 3, 4, 4}, 30 * ((number + 2) % 6), torch::kUInt8);
      },
      report);
  EXPECT_EQ(bad["top1"]["mean"], 0.0);
  options.count = 7;
  try {
    (void)caption_figures(data, indices, options, network, {}, report);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "captions: 6 different ones in this part of the pictures, expected 7");
  }
}

}  // namespace caption_retrieval_test
}  // namespace tessera
