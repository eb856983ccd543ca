// What `tessera train` sees in a set of pictures and proposes for it.
#include "training/training_plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/shipped_files.h"
#include "support/scratch.h"
#include "training/recipe.h"

namespace tessera {
namespace training_plan_test {

using testing::scratch_folder;

/// A picture of two plain areas, as drawings have, or one in which every pixel differs from its neighbours.
Image picture(int side, bool drawn, int number) {
  Image image(side, side);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      auto* pixel = image.at(x, y);
      const int value = drawn ? (x < side / 2 ? 40 : 200) + number : (x * 37 + y * 91 + number * 13) % 256;
      for (int channel = 0; channel < 3; ++channel) pixel[channel] = static_cast<std::uint8_t>(value);
    }
  }
  return image;
}

FileSurvey files_of(int count, int side) {
  FileSurvey files;
  files.pictures = count;
  files.sides.assign(static_cast<std::size_t>(count), side);
  return files;
}

TEST(Survey, SeesSizesDuplicatesAndWhatKindOfPicturesTheyAre) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  const auto drawings = scratch_folder("drawings"), photographs = scratch_folder("photographs");
  for (int i = 0; i < 6; ++i) {
    write_png(drawings / (std::to_string(i) + ".png"), picture(32 + 8 * i, true, i));
    write_png(photographs / (std::to_string(i) + ".png"), picture(40, false, i % 3));
  }
  write_file_atomically(drawings / "broken.png", "no picture");
  const auto files = survey_files(drawings);
  EXPECT_EQ(files.pictures, 7);
  EXPECT_EQ(files.unreadable, 1);
  EXPECT_EQ(files.sides, (std::vector<int>{32, 40, 48, 56, 64, 72}));
  EXPECT_NEAR(files.share_of(48), 4.0 / 6, 1e-12);

  DatasetOptions options;
  options.size = 32;
  options.use_cache = false;
  options.path = drawings;
  const auto drawn = survey_pictures(Dataset::open(options));
  EXPECT_FALSE(drawn.photographs) << drawn.flat_share;
  EXPECT_EQ(drawn.duplicates, 0);
  EXPECT_EQ(drawn.skipped, 1);
  options.path = photographs;
  const auto taken = survey_pictures(Dataset::open(options));
  EXPECT_TRUE(taken.photographs) << taken.flat_share;
  EXPECT_EQ(taken.duplicates, 3);
}

TEST(TrainingPlan, TheSizeFollowsThePicturesAndTheTime) {
  PlanOptions options;
  options.start_from_nothing = true;
  EXPECT_EQ(choose_size(files_of(10, 32), options).first, 32);
  EXPECT_EQ(choose_size(files_of(10, 50), options).first, 64) << "a little enlarged";
  EXPECT_EQ(choose_size(files_of(10, 4000), options).first, 64) << "20 minutes";
  options.minutes = 120;
  EXPECT_EQ(choose_size(files_of(10, 4000), options).first, 128);
  options.accelerated = true;
  EXPECT_EQ(choose_size(files_of(10, 4000), options).first, 256);
  options.size = 96;
  EXPECT_EQ(choose_size(files_of(10, 4000), options), (std::pair<std::int64_t, std::string>{96, "as asked for"}));
}

TEST(TrainingPlan, OfFewPicturesMoreAreHeldOut) {
  EXPECT_DOUBLE_EQ(share_held_out(10000), 0.05);
  EXPECT_DOUBLE_EQ(share_held_out(320), 0.1);
  EXPECT_DOUBLE_EQ(share_held_out(20), 0.2);
}

TEST(TrainingPlan, SaysWhyAndFitsTheTime) {
  PictureSurvey pictures;
  pictures.pictures = 600;
  pictures.train = 570;
  pictures.held_out = 30;
  pictures.flat_share = 0.2;
  pictures.photographs = true;
  PlanOptions options;
  options.size = 64;
  options.minutes = 10;
  options.start_from_nothing = true;
  auto plan = plan_training(files_of(600, 80), pictures, options);
  EXPECT_TRUE(plan.codec.flip);
  EXPECT_TRUE(plan.prior.flip) << "photographs have no left and right";
  EXPECT_EQ(plan.prior.condition, "none");
  EXPECT_GT(plan.prior.dropout, 0) << "few pictures";
  EXPECT_FALSE(plan.codec.adversarial);
  fit_steps(plan, 0.5, 0.1);
  EXPECT_LE(0.5 * static_cast<double>(plan.codec.steps) + 0.1 * static_cast<double>(plan.prior.steps), 600);
  EXPECT_GT(0.5 * static_cast<double>(plan.codec.steps) + 0.1 * static_cast<double>(plan.prior.steps), 400);
  const auto text = plan.text();
  for (const char* topic : {"pictures", "held out", "condition", "codec", "sharpness", "prior", "time", "stop"}) {
    EXPECT_NE(text.find(topic), std::string::npos) << topic << " in\n" << text;
  }

  options.start_from_nothing = false;
  options.start = std::string(TESSERA_SOURCE_DIR) + "/models/general64";
  options.size = 128;
  plan = plan_training(files_of(600, 200), pictures, options);
  EXPECT_EQ(plan.codec.patch_size, 2);
  EXPECT_EQ(plan.codec.codec_options().grid(), (Extent{16, 16})) << "the cells that it has at 64 pixels";
  options.start.clear();
  options.start_from_nothing = true;
  options.size = 64;

  pictures.photographs = false;
  pictures.pictures = pictures.captioned = 3000;
  pictures.train = 2850;
  plan = plan_training(files_of(600, 80), pictures, options);
  EXPECT_FALSE(plan.codec.flip) << "letters and flags would be mirrored";
  EXPECT_EQ(plan.prior.condition, "text");
  pictures.captioned = 30;
  EXPECT_EQ(plan_training(files_of(600, 80), pictures, options).prior.condition, "none");
  pictures.classes = 5;
  pictures.labelled = 3000;
  EXPECT_EQ(plan_training(files_of(600, 80), pictures, options).prior.condition, "class");
  pictures.train = 1;
  EXPECT_THROW(plan_training(files_of(600, 80), pictures, options), Error);
}

TEST(TrainingPlan, ItsRecipeIsReadBackAsItWas) {
  TrainingPlan plan;
  plan.lines = {{"size", "64x64"}};
  plan.codec.image_size = 64;
  plan.codec.channel_multipliers = {1, 2, 3};
  plan.codec.learning_rate = 3.5e-4;
  plan.codec.start_from = "a \"quoted\" folder";
  plan.prior.steps = 777;
  plan.prior.condition = "class";
  const auto file = scratch_folder("plan") / "recipe.toml";
  write_file_atomically(file, plan.recipe("pictures", "out"));
  TrainingPlan read;
  read_recipe(file, "codec", read.codec.fields());
  read_recipe(file, "prior", read.prior.fields());
  EXPECT_EQ(to_json(read.codec.fields()), to_json(plan.codec.fields()));
  EXPECT_EQ(to_json(read.prior.fields()), to_json(plan.prior.fields()));
}

TEST(ShippedFiles, AreFoundWhereverTheProgramIsStartedFrom) {
  const auto home = scratch_folder("home");
  std::filesystem::create_directories(home / "models" / "mine");
  ::setenv("TESSERA_HOME", home.c_str(), 1);
  EXPECT_EQ(find_shipped("models/mine"), home / "models" / "mine");
  ::unsetenv("TESSERA_HOME");
  EXPECT_TRUE(find_shipped("CMakeLists.txt").has_value() || !std::filesystem::exists("/proc/self/exe"));
  EXPECT_FALSE(find_shipped("models/there-is-no-such-model").has_value());
}

}  // namespace training_plan_test
}  // namespace tessera
