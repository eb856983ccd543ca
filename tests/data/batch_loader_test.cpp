#include "data/batch_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "data/sample_files.h"

namespace tessera::testing {
namespace batch_loader_test {

bool same(const Batch& left, const Batch& right) {
  return torch::equal(left.images, right.images) && torch::equal(left.indices, right.indices) &&
         torch::equal(left.flipped, right.flipped);
}

TEST(BatchLoader, EveryEpochIsAnotherPermutationOfTheSplit) {
  const auto dataset = synthetic_dataset(30, 4, 0.3, 5);
  const BatchLoader loader(dataset, Split::train, {.batch_size = 1, .seed = 3});
  const auto count = loader.images_per_epoch();
  ASSERT_EQ(count, static_cast<std::int64_t>(dataset.split(Split::train).size()));
  std::set<std::vector<std::int64_t>> orders;
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < count; ++i) order.push_back(loader.indices(epoch * count + i).at(0));
    orders.insert(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, dataset.split(Split::train));
  }
  EXPECT_EQ(orders.size(), 5U);
}

TEST(BatchLoader, ABatchIsAPureFunctionOfSeedAndStep) {
  const auto dataset = synthetic_dataset(17, 8);
  const BatchOptions ahead{.batch_size = 5, .seed = 9, .flip = true, .crop_scale = 1.5, .prefetch = 3};
  BatchOptions plain = ahead;
  plain.prefetch = 0;
  BatchLoader in_order(dataset, Split::all, ahead);
  BatchLoader anywhere(dataset, Split::all, ahead);
  BatchLoader without_thread(dataset, Split::all, plain);
  std::vector<Batch> batches;
  for (std::int64_t step = 0; step < 12; ++step) batches.push_back(in_order.batch(step));
  for (const std::int64_t step : {11, 3, 3, 4, 6, 5, 0, 1, 2, 10, 7}) {
    EXPECT_TRUE(same(anywhere.batch(step), batches[static_cast<std::size_t>(step)])) << step;
    EXPECT_TRUE(same(without_thread.batch(step), batches[static_cast<std::size_t>(step)])) << step;
  }
  plain.seed = 10;
  BatchLoader other_seed(dataset, Split::all, plain);
  EXPECT_FALSE(same(other_seed.batch(0), batches[0]));
}

TEST(BatchLoader, WhatAnImageBecomesDoesNotDependOnTheBatchSize) {
  const auto dataset = synthetic_dataset(11, 8);
  BatchLoader ones(dataset, Split::all, {.batch_size = 1, .seed = 2, .flip = true, .crop_scale = 1.25});
  BatchLoader fours(dataset, Split::all, {.batch_size = 4, .seed = 2, .flip = true, .crop_scale = 1.25});
  for (std::int64_t step = 0; step < 8; ++step) {
    const auto batch = fours.batch(step);
    for (std::int64_t row = 0; row < 4; ++row)
      EXPECT_TRUE(torch::equal(batch.images[row], ones.batch(4 * step + row).images[0]));
  }
}

TEST(BatchLoader, ProcessesShareAStepAsOneProcessWouldTakeIt) {
  const auto dataset = synthetic_dataset(13, 4);
  BatchLoader whole(dataset, Split::all, {.batch_size = 6, .seed = 4, .flip = true});
  BatchLoader first(dataset, Split::all, {.batch_size = 6, .seed = 4, .flip = true, .first_row = 0, .rows = 2});
  BatchLoader second(dataset, Split::all, {.batch_size = 6, .seed = 4, .flip = true, .first_row = 2, .rows = 4});
  for (std::int64_t step = 0; step < 6; ++step) {
    EXPECT_TRUE(
        torch::equal(whole.batch(step).images, torch::cat({first.batch(step).images, second.batch(step).images})));
  }
}

TEST(BatchLoader, HoldsTheImagesThatItsIndicesName) {
  const auto dataset = synthetic_dataset(9, 4);
  BatchLoader loader(dataset, Split::all, {.batch_size = 7, .seed = 1, .flip = false});
  const auto batch = loader.batch(3);
  EXPECT_TRUE(torch::equal(batch.images, dataset.images().index_select(0, batch.indices)));
  EXPECT_FALSE(batch.flipped.any().item<bool>());
  for (std::int64_t row = 0; row < 7; ++row)
    EXPECT_EQ(loader.indices(3)[static_cast<std::size_t>(row)], batch.indices[row].item<std::int64_t>());
}

TEST(BatchLoader, FlipsHalfOfTheImagesAndSaysWhich) {
  const auto dataset = synthetic_dataset(50, 4);
  BatchLoader loader(dataset, Split::all, {.batch_size = 50, .seed = 1, .flip = true});
  std::int64_t flipped = 0;
  for (std::int64_t step = 0; step < 40; ++step) {
    const auto batch = loader.batch(step);
    flipped += batch.flipped.sum().item<std::int64_t>();
    const auto originals = dataset.images().index_select(0, batch.indices);
    const auto expected = torch::where(batch.flipped.view({50, 1, 1, 1}), originals.flip({3}), originals);
    ASSERT_TRUE(torch::equal(batch.images, expected));
  }
  EXPECT_NEAR(static_cast<double>(flipped), 1000, 5 * std::sqrt(500.0));  // binomial, 2,000 draws
}

TEST(BatchLoader, CropIsABilinearEnlargementCutAtARandomPlace) {
  DatasetContent content;
  constexpr std::int64_t kSide = 8;
  content.images = (torch::arange(kSide * kSide * 3) % 251).to(torch::kUInt8).view({1, 3, kSide, kSide}).contiguous();
  content.items.push_back({"only.png", "", -1, "{}"});
  const Dataset dataset(std::move(content), 0, 0);
  const auto enlarged = torch::upsample_bilinear2d(dataset.images().to(torch::kFloat32), {12, 12}, false);
  BatchLoader loader(dataset, Split::all, {.batch_size = 1, .seed = 1, .crop_scale = 1.5});
  std::set<std::pair<std::int64_t, std::int64_t>> places;
  for (std::int64_t step = 0; step < 60; ++step) {
    const auto image = loader.batch(step).images.to(torch::kFloat32);
    bool found = false;
    for (std::int64_t top = 0; top <= 4 && !found; ++top) {
      for (std::int64_t left = 0; left <= 4 && !found; ++left) {
        const auto part = enlarged.slice(2, top, top + kSide).slice(3, left, left + kSide);
        found = (part - image).abs().max().item<double>() <= 0.5 + 1e-3;
        if (found) places.insert({top, left});
      }
    }
    EXPECT_TRUE(found) << step;
  }
  EXPECT_GT(places.size(), 15U);
}

TEST(BatchLoader, ABatchMayBeLargerThanTheSplit) {
  const auto dataset = synthetic_dataset(3, 4);
  BatchLoader loader(dataset, Split::all, {.batch_size = 10, .seed = 1});
  const auto batch = loader.batch(5);
  EXPECT_EQ(batch.images.size(0), 10);
  EXPECT_EQ(batch.indices.max().item<std::int64_t>(), 2);
}

TEST(BatchLoader, RejectsEmptySplitsAndImpossibleOptions) {
  const auto dataset = synthetic_dataset(3, 4);
  EXPECT_TRUE(
      contains(error_of([&] { BatchLoader(dataset, Split::validation, {.batch_size = 2}); }), "no validation images"));
  EXPECT_THROW(BatchLoader(dataset, Split::all, {.batch_size = 0}), Error);
  EXPECT_THROW(BatchLoader(dataset, Split::all, {.batch_size = 1, .crop_scale = 0.5}), Error);
  EXPECT_THROW(BatchLoader(dataset, Split::all, {.batch_size = 2, .first_row = 1, .rows = 2}), Error);
  BatchLoader loader(dataset, Split::all, {.batch_size = 1});
  EXPECT_THROW(loader.batch(-1), Error);
}

}  // namespace batch_loader_test
}  // namespace tessera::testing
