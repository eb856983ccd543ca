/// The transformer over words and codes, as a denoiser of either side.
#include "denoiser/joint.h"

#include <gtest/gtest.h>

#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "runtime/error.h"

namespace tessera {
namespace joint_test {

JointOptions small_options() {
  JointOptions options;
  options.codebook_size = 5;
  options.grid = {2, 3};
  options.vocabulary = 7;
  options.words = 4;
  options.layers = 2;
  options.heads = 2;
  options.width = 16;
  return options;
}

struct Sides {
  Transformer network;
  std::shared_ptr<JointDenoiser> picture, caption;
};

Sides sides() {
  const auto options = small_options();
  Transformer network(options.sequence(), Initialisation::framework, 3);
  network->eval();
  auto picture = std::make_shared<JointDenoiser>(network, options, JointSide::picture);
  return {network, picture, picture->other_side()};
}

torch::Tensor as_states(const torch::Tensor& tokens) {
  return tokens.to(torch::kFloat32).unsqueeze(1);
}

TEST(Joint, ASequenceHoldsWordsThenCodesAndOneMask) {
  const auto words = torch::tensor({{5, 1, 7, 0}}), codes = torch::tensor({{0, 4, 5, 5, 2, 1}});
  EXPECT_TRUE(joint_sequence(small_options(), words, codes).equal(torch::tensor({{10, 6, 12, 5, 0, 4, 12, 12, 2, 1}})));
  EXPECT_THROW((void)joint_sequence(small_options(), words, words), Error);
}

TEST(Joint, EitherSideIsTheNetworksOwnGivenTheOther) {
  const torch::NoGradGuard no_grad;
  auto both = sides();
  const auto words = torch::tensor({{5, 1, 7, 0}, {5, 2, 3, 6}});
  const auto codes = torch::tensor({{0, 4, 5, 5, 2, 1}, {5, 5, 5, 5, 5, 3}});
  const auto all = both.network->forward(joint_sequence(small_options(), words, codes));
  std::vector<Condition> told(2), shown(2);
  for (std::int64_t n = 0; n < 2; ++n) {
    told[static_cast<std::size_t>(n)].states = as_states(words[n]);
    shown[static_cast<std::size_t>(n)].states = as_states(codes[n]);
  }
  const auto cells = torch::tensor({0, 3, 6, 11});
  const auto of_picture = both.picture->begin(told)->logits({codes, cells});
  const auto expected = torch::stack({all[0][4], all[0][7], all[1][4], all[1][9]}).narrow(1, 0, 5);
  EXPECT_TRUE(torch::allclose(of_picture, log_probabilities(expected), 1e-4, 1e-5));
  const auto of_caption = both.caption->begin(shown)->logits({words, torch::tensor({2, 4, 7})});
  const auto of_words = torch::stack({all[0][2], all[1][0], all[1][3]}).narrow(1, 5, 7);
  EXPECT_TRUE(torch::allclose(of_caption, log_probabilities(of_words), 1e-4, 1e-5));
  EXPECT_EQ(both.picture->codebook_size(), 5);
  EXPECT_EQ(both.caption->codebook_size(), 7);
}

TEST(Joint, NothingIsKnownWithoutAConditionAndGuidanceLeadsAwayFromIt) {
  const torch::NoGradGuard no_grad;
  auto both = sides();
  const auto codes = torch::tensor({{0, 4, 5, 5, 2, 1}}), cells = torch::tensor({2, 3});
  EXPECT_TRUE(both.picture->nothing_known().eq(7).all().item<bool>());
  EXPECT_EQ(both.picture->nothing_known().size(0), 4);
  EXPECT_TRUE(both.caption->nothing_known().eq(5).all().item<bool>());
  Condition told;
  told.states = as_states(torch::tensor({5, 1, 2, 6}));
  const auto without = both.picture->begin()->logits({codes, cells});
  const auto with = both.picture->begin({told})->logits({codes, cells});
  EXPECT_FALSE(torch::allclose(without, with, 1e-3, 1e-3));
  told.scale = 3;
  EXPECT_TRUE(
      torch::allclose(both.picture->begin({told})->logits({codes, cells}), guided(without, with, 3), 1e-4, 1e-4));
  told.scale = 0;
  EXPECT_TRUE(torch::allclose(both.picture->begin({told})->logits({codes, cells}), without, 1e-4, 1e-5));
}

TEST(Joint, ItsConfigurationIsReadAndSaysThatItTakesAText) {
  const auto options = small_options();
  const auto config = options.to_config();
  const auto facts = network_facts(config, "here");
  EXPECT_EQ(facts.condition(), "text");
  EXPECT_EQ(facts.words, 4);
  EXPECT_EQ(facts.vocabulary, 7);
  EXPECT_EQ(facts.grid, options.grid);
  EXPECT_FALSE(facts.sees_time());
  auto network = Transformer(options.sequence(), Initialisation::framework, 1);
  const auto loaded = network_of(config, "here").load({config, network->state(), "here"});
  EXPECT_EQ(loaded->parameter_count(), network->parameter_count());
  auto wrong = config;
  wrong["tessera"]["words"] = 1;
  EXPECT_THROW((void)network_facts(wrong, "here"), Error);
}

TEST(Joint, AConditionThatDoesNotFitIsNamed) {
  auto both = sides();
  Condition told;
  told.states = as_states(torch::tensor({5, 1, 2}));
  EXPECT_THROW((void)both.picture->begin({told}), Error);
  told.states = as_states(torch::tensor({5, 1, 2, 8}));
  try {
    (void)both.picture->begin({told});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "joint transformer: a condition of tokens 1 to 8, expected 0 to 7");
  }
}

}  // namespace joint_test
}  // namespace tessera
