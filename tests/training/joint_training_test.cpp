/// A prior of both directions learns to fill pictures from captions and captions from pictures.
#include <gtest/gtest.h>

#include "checkpoint/bundle.h"
#include "denoiser/joint.h"
#include "prior/prior.h"
#include "sampling/fill.h"
#include "support/scratch.h"
#include "training/prior_trainer.h"
#include "training/training_loop.h"

namespace tessera {
namespace joint_training_test {

const std::vector<std::string> kNames = {"grey", "red", "green", "blue", "white"};
constexpr std::int64_t kCodes = 5;

/// Two rows of two cells, each of one code, and a caption that names both.
TokenData pictures() {
  TokenData made;
  std::vector<torch::Tensor> grids;
  for (std::int64_t i = 0; i < kCodes * kCodes; ++i) {
    const auto above = i / kCodes, below = i % kCodes;
    grids.push_back(torch::tensor({above, above, below, below}).view({2, 2}));
    made.conditions.train_captions.push_back(kNames[static_cast<std::size_t>(above)] + " over " +
                                             kNames[static_cast<std::size_t>(below)]);
  }
  made.train = made.validation = torch::stack(grids);
  made.conditions.validation_captions = made.conditions.train_captions;
  made.codebook_size = kCodes;
  made.key = "pairs";
  return made;
}

PriorRecipe small_recipe() {
  PriorRecipe recipe;
  recipe.prior = "joint";
  recipe.condition = "text";
  recipe.text_length = 6;
  recipe.text_merges = 40;
  recipe.layers = 2;
  recipe.heads = 2;
  recipe.width = 64;
  recipe.steps = 2500;
  recipe.batch_size = 25;
  recipe.learning_rate = 2e-3;
  recipe.warmup = 50;
  recipe.ema_decay = 0.9;
  recipe.precision = "float32";
  recipe.validation_grids = 25;
  choose_defaults(recipe, pictures());
  return recipe;
}

FillOptions raster(std::int64_t cells) {
  FillOptions options;
  options.sampler = "raster";
  options.steps = options.total_steps = cells;
  options.draw.temperature = 0;
  return options;
}

TEST(JointTraining, EitherSideIsFilledGivenTheOtherOrAPartOfIt) {
  const auto folder = testing::scratch_folder("joint");
  const auto made = pictures();
  const auto recipe = small_recipe();
  {
    auto task = make_prior_training(recipe, made, folder, {});
    LoopOptions loop;
    loop.steps = recipe.steps;
    loop.validate_every = recipe.steps;
    loop.save_every = 0;
    (void)run_training(*task, loop, folder / "training" / "prior");
  }
  const torch::NoGradGuard no_grad;
  Prior prior(load_bundle(folder), "trained", {}, {});
  EXPECT_EQ(prior.facts().condition(), "text");
  EXPECT_EQ(prior.facts().process, "absorbing");
  auto& joint = dynamic_cast<JointDenoiser&>(prior.denoiser());
  const auto captioner = joint.other_side();
  const auto& tokenizer = *prior.tokenizer();
  const auto picture_of = [&](const std::string& prompt) {
    PromptOptions asked;
    asked.prompt = prompt;
    asked.guidance_scale = 1;
    auto options = raster(4);
    options.conditions = {prior.condition_for(asked)};
    return fill(TokenGrid::all_masked(1, {2, 2}, kCodes), joint, options).grid.flat()[0];
  };
  const auto caption_of = [&](const torch::Tensor& cells, const std::string& begins) {
    auto ids = tokenizer.encode(begins);
    ids.insert(ids.begin(), tokenizer.start_token());
    auto words = torch::full({1, 1, 6}, tokenizer.vocabulary_size(), torch::kInt64);
    for (std::size_t i = 0; i < ids.size(); ++i) words[0][0][static_cast<std::int64_t>(i)] = ids[i];
    auto options = raster(6);
    options.conditions.emplace_back().states = cells.to(torch::kFloat32).unsqueeze(1);
    const auto filled =
        fill(TokenGrid(words, tokenizer.vocabulary_size()), *captioner, options).grid.flat().contiguous();
    const auto* out = filled.data_ptr<std::int64_t>();
    return tokenizer.decode({out, out + 6});
  };
  int drawn = 0, named = 0;
  for (std::int64_t i = 0; i < kCodes * kCodes; ++i) {
    const auto truth = made.train[i].flatten();
    const auto& caption = made.conditions.train_captions[static_cast<std::size_t>(i)];
    drawn += picture_of(caption).equal(truth);
    named += caption_of(truth, "") == caption;
  }
  EXPECT_GE(drawn, 23) << "of 25 pictures, each from its caption";
  EXPECT_GE(named, 23) << "of 25 captions, each from its picture";
  // Half of a picture and half of a caption.
  const auto half = torch::tensor(std::vector<std::int64_t>{3, 3, kCodes, kCodes});
  EXPECT_TRUE(caption_of(half, "").starts_with("blue over ")) << caption_of(half, "");
  EXPECT_EQ(caption_of(torch::tensor(std::vector<std::int64_t>{kCodes, kCodes, 1, 1}), "green over").substr(0, 14),
            "green over red");
  const auto open = picture_of("white over...");
  EXPECT_TRUE(open.slice(0, 0, 2).eq(4).all().item<bool>()) << open;
  // From nothing.
  auto options = raster(4);
  options.draw.temperature = 1;
  const auto free = fill(TokenGrid::all_masked(60, {2, 2}, kCodes), joint, options).grid.codes();
  EXPECT_GT(free.select(2, 0).eq(free.select(2, 1)).to(torch::kFloat64).mean().item<double>(), 0.9);
  std::filesystem::remove_all(folder);
}

TEST(JointTraining, GoesOnFromABundleOfItsKind) {
  const auto folder = testing::scratch_folder("joint-start");
  auto recipe = small_recipe();
  recipe.steps = 1;
  make_prior_training(recipe, pictures(), folder, {})->write_bundle(0);
  PriorRecipe next;
  next.start_from = folder.string();
  inherit_architecture(next);
  EXPECT_EQ(next.prior, "joint");
  EXPECT_EQ(next.condition, "text");
  EXPECT_EQ(next.text_length, 6);
  choose_defaults(next, pictures());
  EXPECT_NO_THROW((void)make_prior_training(next, pictures(), folder / "next", {}));
  std::filesystem::remove_all(folder);
}

}  // namespace joint_training_test
}  // namespace tessera
