#include "training/recorder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "training/adam.h"

namespace tessera {
namespace recorder_test {

namespace fs = std::filesystem;

class Records : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tessera-records-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::vector<int> steps() const {
    std::vector<int> found;
    std::ifstream stream(folder_ / "metrics.jsonl");
    for (std::string line; std::getline(stream, line);) found.push_back(nlohmann::json::parse(line)["step"].get<int>());
    return found;
  }

  fs::path folder_;
};

TEST_F(Records, AResumedRunDropsWhatAKilledOneHadNotSaved) {
  {
    Recorder recorder(folder_);
    for (const int step : {2, 4, 6, 8}) recorder.scalars(step, {{"loss", 1.0}});
    recorder.series(8, "by_time", {1, 2});
  }
  std::ofstream(folder_ / "metrics.jsonl", std::ios::app) << "{\"step\":3,\"lo";  // killed while writing
  {
    Recorder recorder(folder_, 4);
    recorder.scalars(6, {{"loss", 2.0}});
  }
  EXPECT_EQ(steps(), (std::vector<int>{2, 4, 6}));
  { const Recorder recorder(folder_); }
  EXPECT_EQ(steps(), (std::vector<int>{2, 4, 6})) << "nothing is dropped unless asked";
}

TEST_F(Records, WhatCannotBeWrittenDoesNotEndTheRun) {
  Recorder recorder(folder_);
  fs::remove_all(folder_ / "previews");
  std::ofstream(folder_ / "previews") << "no folder";
  EXPECT_NO_THROW(recorder.image(1, "samples", Image(4, 4)));
  recorder.scalars(2, {{"loss", 1.0}});
  EXPECT_EQ(steps(), (std::vector<int>{2}));
}

TEST(Adam, AGradientThatIsNotFiniteTouchesNoWeight) {
  auto layer = torch::nn::Linear(2, 1);
  const auto before = layer->weight.detach().clone();
  Adam adam(layer->named_parameters(), AdamOptions{});
  (layer->forward(torch::ones({1, 2})) * std::numeric_limits<float>::quiet_NaN()).sum().backward();
  EXPECT_THROW(adam.step(1e-3), Error);
  EXPECT_TRUE(torch::equal(layer->weight, before));
}

}  // namespace recorder_test
}  // namespace tessera
