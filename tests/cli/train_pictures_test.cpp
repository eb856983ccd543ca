// `tessera train pictures/`: from pictures to a model without knowing anything.
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace tessera {
namespace train_pictures_test {

namespace fs = std::filesystem;
using testing::fails_in_one_line;
using testing::run;

class TrainPictures : public testing::ProgramTest {};

TEST_F(TrainPictures, ADryRunSaysWhatWouldBeDoneAndWritesNothing) {
  make_pictures("data", 24);
  const auto outcome = run(fmt::format("train {} --out {} --minutes 0.1 --dry-run -t 1", at("data"), at("model")));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  for (const char* topic : {"pictures ", "size ", "held out ", "condition ", "codec ", "prior ", "time ", "writes "}) {
    EXPECT_NE(outcome.output.find(std::string("\n") + topic), std::string::npos) << topic << outcome.output;
  }
  EXPECT_FALSE(fs::exists(folder_ / "model"));
}

TEST_F(TrainPictures, MakesAModelAndTheRecipeThatRepeatsIt) {
  make_pictures("data", 24);
  const auto train = fmt::format("train {} --out {} --minutes 0.05 -t 1 --yes", at("data"), at("model"));
  const auto outcome = run(train);
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  for (const char* file : {"model_index.json", "samples.png", "reconstructions.png", "training/recipe.toml",
                           "training/codec/previews", "training/prior/previews"}) {
    EXPECT_TRUE(fs::exists(folder_ / "model" / file)) << file;
  }
  EXPECT_EQ(run(fmt::format("generate -m {} -n 1 --steps 4 --output {}", at("model"), at("one.png"))).status, 0);
  EXPECT_TRUE(fails_in_one_line(run(train), 1, "a run is there already: give --resume, or another --out"));
  const auto again = run(train + " --resume");
  EXPECT_EQ(again.status, 0) << again.output;
  EXPECT_EQ(again.output.find("codec: step"), std::string::npos) << "what is done is not done again";

  // The recipe, as the verbs for those who know read it; two steps are enough to see that they take it.
  const auto recipe = at("model/training/recipe.toml");
  const auto codec =
      run(fmt::format("train codec --data {} --recipe {} --steps 2 --out {}", at("data"), recipe, at("second")));
  ASSERT_EQ(codec.status, 0) << codec.output;
  const auto prior =
      run(fmt::format("train prior --data {} --recipe {} --steps 2 --model {}", at("data"), recipe, at("second")));
  ASSERT_EQ(prior.status, 0) << prior.output;
}

TEST_F(TrainPictures, WhatIsMissingIsNamed) {
  EXPECT_TRUE(fails_in_one_line(run("train"), 2, "expected your pictures"));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("train {} --yes --out {}", at("nowhere"), at("model"))), 1, "nowhere"));
  fs::create_directories(folder_ / "empty");
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("train {} --yes --out {}", at("empty"), at("model2"))), 1, "no "));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("train {} --resume --out {}", at("empty"), at("model3"))), 1,
                                "no run of tessera train to resume"));
}

}  // namespace train_pictures_test
}  // namespace tessera
