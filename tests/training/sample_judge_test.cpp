// The judge of a prior in training: near is better, repeated is worse, and an error that says what a figure is worth.
#include "training/sample_judge.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "checkpoint/bundle.h"
#include "metrics/kid.h"
#include "support/scratch.h"
#include "training/recorder.h"

namespace tessera {
namespace sample_judge_test {

constexpr std::int64_t kCodes = 512;

/// A codec that ships: other codes are other colours and edges.
Codec shipped_codec() {
  const auto bundle = std::string(TESSERA_SOURCE_DIR) + "/models/general64";
  const auto part = load_bundle(bundle).codec;
  Codec codec(codec_options_from_json(part->config));
  codec->load(part->tensors, bundle);
  codec->eval();
  return codec;
}

/// Grids of the codes [low, high).
torch::Tensor grids_of(std::int64_t count, std::int64_t low, std::int64_t high) {
  return torch::randint(low, high, {count, 16, 16});
}

TokenData data_of(std::int64_t train, std::int64_t held_out) {
  TokenData data;
  data.codebook_size = kCodes;
  data.train = grids_of(train, 0, 128);
  data.validation = grids_of(held_out, 0, 128);
  return data;
}

TEST(SampleJudge, SamplesLikeTheTrainingPicturesLieNearerThanOthers) {
  const auto codec = shipped_codec();
  torch::manual_seed(3);  // how many numbers the codec's making takes depends on the processor
  SampleJudge judge(codec, data_of(64, 12), shipped_backbone("mobilenetv2"));
  const auto like = judge.look_at(grids_of(64, 0, 128)), unlike = judge.look_at(grids_of(64, 384, 512));
  EXPECT_LT(like.distance + 3 * (like.standard_error + unlike.standard_error), unlike.distance)
      << like.distance << " +- " << like.standard_error << ", " << unlike.distance << " +- " << unlike.standard_error;
  EXPECT_LT(like.judgement().score, unlike.judgement().score);
  EXPECT_GT(like.standard_error, 0);
  EXPECT_EQ(like.copied, 0);
  EXPECT_EQ(unlike.copied, 0);
}

TEST(SampleJudge, RepeatedTrainingPicturesGoBehindEverythingNew) {
  const auto codec = shipped_codec();
  const auto data = data_of(48, 12);
  SampleJudge judge(codec, data, shipped_backbone("mobilenetv2"));
  auto repeated = data.train.slice(0, 0, 24).clone();
  repeated.select(1, 0).fill_(2);  // but for a row
  const auto copies = judge.look_at(repeated);
  EXPECT_EQ(copies.copied, 1);
  EXPECT_GT(copies.judgement().score, judge.look_at(grids_of(24, 384, 512)).judgement().score);
  auto few = grids_of(24, 0, 128);
  few.slice(0, 0, 3).copy_(data.train.slice(0, 0, 3));
  EXPECT_NEAR(judge.look_at(few).copied, 3.0 / 24, 1e-9);
  EXPECT_LT(judge.look_at(few).judgement().score, copies.judgement().score) << "some repetition is usual";
}

TEST(SampleJudge, WithoutHeldOutPicturesNothingIsSaidOfCopies) {
  const auto codec = shipped_codec();
  const auto data = data_of(8, 0);
  SampleJudge judge(codec, data, shipped_backbone("mobilenetv2"));
  EXPECT_LT(judge.look_at(data.train).copied, 0);
  EXPECT_LT(judge.look_at(data.train).judgement().score, 1e3);
  TokenData one = data;
  one.train = data.train.slice(0, 0, 1);
  EXPECT_EQ(make_sample_judge(codec, one).grids, 0) << "one picture is nothing to compare with";
}

TEST(SampleReview, TheLatestIsKeptWhereTheRecipeSaysSo) {
  const auto codec = shipped_codec();
  const auto data = data_of(16, 4);
  PriorRecipe recipe;
  EXPECT_EQ(make_sample_review(recipe, codec, data).count(), 32);
  recipe.keep = "latest";
  const auto review = make_sample_review(recipe, codec, data);
  EXPECT_EQ(review.count(), 16);
  Recorder recorder(testing::scratch_folder("sample-review"));
  EXPECT_FALSE(review(1, TokenGrid(grids_of(16, 0, 128), kCodes), recorder).has_value());
  EXPECT_EQ(SampleReview{}.count(), 0);
}

TEST(SquaredMmd, ItsErrorIsHowFarItMovesWithTheSamples) {
  torch::manual_seed(5);
  const auto reference = torch::randn({400, 6});
  std::vector<double> values, errors;
  for (int i = 0; i < 200; ++i) {
    const auto estimate = squared_mmd_with_error(torch::randn({60, 6}) + 0.3, reference);
    values.push_back(estimate.value);
    errors.push_back(estimate.standard_error);
  }
  const double spread = torch::tensor(values, torch::kFloat64).std().item<double>();
  const double said = torch::tensor(errors, torch::kFloat64).mean().item<double>();
  EXPECT_GT(said / spread, 0.75);
  EXPECT_LT(said / spread, 1.3);
}

}  // namespace sample_judge_test
}  // namespace tessera
