// One loaded model for many: images under different prompts in one fill, and several fills at once.
#include <gtest/gtest.h>

#include <exception>
#include <thread>
#include <vector>

#include "pipeline/pipeline.h"
#include "runtime/error.h"

namespace tessera {
namespace shared_model_test {

const std::string kModels = std::string(TESSERA_SOURCE_DIR) + "/models/";

FillOptions options_of(std::uint64_t image) {
  FillOptions options;
  options.sampler = "ancestral";
  options.steps = 6;
  options.seed = 3;
  options.first_image = image;
  return options;
}

TEST(SharedModel, ImagesUnderDifferentPromptsAreThoseOfEachPromptAlone) {
  const torch::NoGradGuard no_grad;
  auto pipeline = Pipeline::load(kModels + "emoji64-text");
  const std::vector<PromptOptions> prompts = {
      {"cat face", "", -1, 3.0}, {"red heart", "", -1, 1.0}, {"", "", -1, 4.0}, {"cat face", "dog", -1, 3.0}};
  auto together = options_of(0);
  for (const auto& prompt : prompts) together.conditions.push_back(pipeline.condition_for(prompt));
  const auto made = pipeline.generate(4, together).grid.codes();
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    auto alone = options_of(i);
    alone.conditions = {pipeline.condition_for(prompts[i])};
    EXPECT_TRUE(pipeline.generate(1, alone).grid.codes()[0].equal(made[static_cast<std::int64_t>(i)]))
        << prompts[i].prompt;
  }
  EXPECT_FALSE(made[0].equal(made[3])) << "what an image is steered away from counts";
  auto other = options_of(0);
  other.conditions = {pipeline.condition_for(prompts[1])};
  EXPECT_FALSE(pipeline.generate(1, other).grid.codes()[0].equal(made[0])) << "the prompt counts";
  together.conditions.resize(3);
  EXPECT_THROW((void)pipeline.generate(4, together), Error);
}

TEST(SharedModel, CanvasesLookThroughWindowsUnderTheirOwnPrompts) {
  const torch::NoGradGuard no_grad;
  auto pipeline = Pipeline::load(kModels + "emoji64-text");
  auto together = options_of(0);
  for (const auto* prompt : {"cat face", "red heart"})
    together.conditions.push_back(pipeline.condition_for({prompt, "", -1, 3.0}));
  together.context_guidance = 1.5;  // its empty grid is each prompt's own
  const auto own = pipeline.prior_network().grid;
  const auto masked = [&](std::int64_t count) {
    return TokenGrid::all_masked(count, {own.h, own.w + 4}, pipeline.prior().codebook_size());
  };
  const auto made = pipeline.fill(masked(2), together).grid.codes();
  for (std::int64_t i = 0; i < 2; ++i) {
    auto alone = together;
    alone.first_image = static_cast<std::uint64_t>(i);
    alone.conditions = {together.conditions[static_cast<std::size_t>(i)]};
    EXPECT_TRUE(pipeline.fill(masked(1), alone).grid.codes()[0].equal(made[i])) << i;
  }
}

TEST(SharedModel, FillsOnSeveralThreadsAreThoseOfOne) {
  for (const auto* model : {"emoji64", "emoji64-text"}) {
    SCOPED_TRACE(model);
    std::vector<torch::Tensor> alone(3);
    {
      const torch::NoGradGuard no_grad;
      auto pipeline = Pipeline::load(kModels + model, {"bfloat16", "cpu", true});
      for (std::size_t i = 0; i < alone.size(); ++i) alone[i] = pipeline.generate(1, options_of(i)).grid.codes();
    }
    // A model that was just loaded: its weights are packed by whichever thread comes first.
    auto pipeline = Pipeline::load(kModels + model, {"bfloat16", "cpu", true});
    std::vector<torch::Tensor> made(alone.size());
    std::vector<std::exception_ptr> failed(alone.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < alone.size(); ++i) {
      threads.emplace_back([&, i] {
        const torch::NoGradGuard no_grad;
        try {
          made[i] = pipeline.generate(1, options_of(i)).grid.codes();
        } catch (...) {
          failed[i] = std::current_exception();
        }
      });
    }
    for (auto& thread : threads) thread.join();
    for (std::size_t i = 0; i < alone.size(); ++i) {
      if (failed[i]) std::rethrow_exception(failed[i]);
      EXPECT_TRUE(made[i].equal(alone[i])) << i;
    }
  }
}

TEST(SharedModel, APromptIsEncodedOnce) {
  auto pipeline = Pipeline::load(kModels + "emoji64-text");
  const auto first = pipeline.condition_for({"cat face", "", -1, 3.0});
  EXPECT_TRUE(first.same_as(pipeline.condition_for({"cat face", "", -1, 3.0})));
  EXPECT_FALSE(first.same_as(pipeline.condition_for({"cat face", "", -1, 2.0})));
  EXPECT_FALSE(first.same_as(pipeline.condition_for({"cat", "", -1, 3.0})));
  EXPECT_EQ(first_of_its_kind({first, pipeline.condition_for({}), first}), (std::vector<std::int64_t>{0, 1, 0}));
}

}  // namespace shared_model_test
}  // namespace tessera
