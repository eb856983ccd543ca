// `tessera train codec | prior` as a user meets them in the first minutes.
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/program.h"
#include "runtime/folder_lock.h"

namespace tessera {
namespace train_verb_test {

namespace fs = std::filesystem;
using testing::fails_in_one_line;
using testing::run;

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<nlohmann::json> records_of(const fs::path& file) {
  std::vector<nlohmann::json> records;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) records.push_back(nlohmann::json::parse(line));
  return records;
}

class TrainVerb : public testing::ProgramTest {
 protected:
  testing::Outcome codec(const std::string& flags, const testing::Flags& changed = {}) const {
    return run(fmt::format("train codec --data {} {} {}", at("data"), testing::tiny_codec(changed), flags));
  }
};

TEST_F(TrainVerb, TheCardNamesOnlyWhatWasTrained) {
  make_pictures("data", 12);
  const testing::Flags adversarial{
      {"adversarial", "true"}, {"discriminator-channels", "4"}, {"discriminator-layers", "1"}};
  auto never = adversarial;
  never["disc-start-step"] = "30000";
  const auto without = codec("--steps 4 --out " + at("without"), never);
  ASSERT_EQ(without.status, 0) << without.output;
  const auto card = text_of(folder_ / "without/README.md");
  EXPECT_NE(card.find("VQ-VAE at 16x16"), std::string::npos) << card;
  EXPECT_NE(card.find("no discriminator was trained"), std::string::npos);
  EXPECT_EQ(card.find("PatchGAN"), std::string::npos);

  // By default it starts half-way, whatever the run's length.
  const auto with = codec("--steps 8 --out " + at("with"), adversarial);
  ASSERT_EQ(with.status, 0) << with.output;
  EXPECT_NE(text_of(folder_ / "with/README.md").find("VQGAN at 16x16"), std::string::npos);
  EXPECT_NE(text_of(folder_ / "with/README.md").find("PatchGAN discriminator for 3 steps"), std::string::npos);
}

TEST_F(TrainVerb, FiguresOfNothingHeldOutAreNotCalledSo) {
  make_pictures("data", 12);
  const auto outcome = codec("--steps 3 --validation-fraction 0 --out " + at("model"));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("12 training pictures (none are held out)"), std::string::npos) << outcome.output;
  EXPECT_EQ(outcome.output.find("held-out pictures"), std::string::npos) << outcome.output;
  bool training = false;
  for (const auto& record : records_of(folder_ / "model/training/codec/metrics.jsonl")) {
    for (const auto& [name, value] : record.items()) EXPECT_FALSE(name.starts_with("validation_")) << name;
    training = training || record.contains("training_psnr_db");
  }
  EXPECT_TRUE(training);
}

TEST_F(TrainVerb, TheFirstStepsSayHowManyCodesAreInUse) {
  make_pictures("data", 12);
  ASSERT_EQ(codec("--steps 3 --out " + at("model")).status, 0);
  const auto records = records_of(folder_ / "model/training/codec/metrics.jsonl");
  ASSERT_FALSE(records.empty());
  EXPECT_EQ(records.front()["step"], 1);
  EXPECT_GT(records.front()["codes_in_use"].get<double>(), 0);
}

TEST_F(TrainVerb, AStartTakesTheArchitectureAlongAndSaysWhatItCouldNotTake) {
  make_pictures("data", 12);
  ASSERT_EQ(codec("--steps 2 --out " + at("first")).status, 0);
  // Not a word of its geometry.
  const auto same =
      run(fmt::format("train codec --data {} --start-from {} --steps 2 --adversarial=false --batch-size 4 "
                      "--out {}",
                      at("data"), at("first"), at("second")));
  ASSERT_EQ(same.status, 0) << same.output;
  EXPECT_NE(same.output.find("tensors taken over"), std::string::npos) << same.output;
  EXPECT_EQ(same.output.find("; anew"), std::string::npos) << same.output;
  EXPECT_EQ(nlohmann::json::parse(text_of(folder_ / "first/vqvae/config.json")),
            nlohmann::json::parse(text_of(folder_ / "second/vqvae/config.json")));

  const auto other =
      run(fmt::format("train codec --data {} --start-from {} --codebook-size 8 --steps 2 "
                      "--adversarial=false --batch-size 4 --out {}",
                      at("data"), at("first"), at("third")));
  ASSERT_EQ(other.status, 0) << other.output;
  EXPECT_NE(other.output.find("anew: quantize.embedding"), std::string::npos) << other.output;

  // Another size keeps attention at the levels that have it.
  const auto smaller =
      run(fmt::format("train codec --data {} --start-from {} --image-size 8 --steps 2 "
                      "--adversarial=false --batch-size 4 --out {}",
                      at("data"), at("first"), at("fourth")));
  ASSERT_EQ(smaller.status, 0) << smaller.output;
  EXPECT_EQ(smaller.output.find("; anew"), std::string::npos) << smaller.output;
  const auto first = nlohmann::json::parse(text_of(folder_ / "first/vqvae/config.json")),
             fourth = nlohmann::json::parse(text_of(folder_ / "fourth/vqvae/config.json"));
  EXPECT_EQ(first["down_block_types"], fourth["down_block_types"]);
  EXPECT_NE(first["sample_size"], fourth["sample_size"]);
}

TEST_F(TrainVerb, TwoTrainingsIntoOneFolderAreToldApartFromTheFirstSecond) {
  make_pictures("data", 12);
  const FolderLock other(folder_ / "model" / "training");
  EXPECT_TRUE(fails_in_one_line(codec("--steps 2 --out " + at("model")), 1, "another training writes there (process "));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("train prior --data {} --model {} --steps 2", at("data"), at("model"))),
                                1, "another training writes there (process "));
}

TEST_F(TrainVerb, AverageAndPlainWeightsAreComparedAndTheBetterOnesKept) {
  make_pictures("data", 20);
  ASSERT_EQ(codec("--steps 4 --out " + at("model")).status, 0);
  const auto prior =
      run(fmt::format("train prior --data {} --model {} --layers 1 --heads 2 --width 16 --steps 6 "
                      "--batch-size 4 --validation-fraction 0.3 --ema-decay 0.9999 --ema-warmup=false "
                      "--learning-rate 1e-2",
                      at("data"), at("model")));
  ASSERT_EQ(prior.status, 0) << prior.output;
  double averaged = 0, plain = 0, kept = 0;
  for (const auto& record : records_of(folder_ / "model/training/prior/metrics.jsonl")) {
    if (!record.contains("validation_bits_per_token")) continue;
    averaged = record["validation_bits_of_averaged_weights"];
    plain = record["validation_bits_of_plain_weights"];
    kept = record["validation_bits_per_token"];
  }
  EXPECT_LT(plain, averaged) << "an average of 10,000 steps is the start of a run of six";
  EXPECT_EQ(kept, plain);
  EXPECT_NE(text_of(folder_ / "model/README.md").find("plain weights"), std::string::npos);
}

}  // namespace train_verb_test
}  // namespace tessera
