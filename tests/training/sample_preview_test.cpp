#include "training/sample_preview.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "image/image_io.h"

namespace tessera {
namespace sample_preview_test {

TEST(SamplePreview, ShowsARepeatedTrainingGridBesideTheSampleThatRepeatsIt) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  torch::manual_seed(3);
  CodecOptions options;
  options.image_size = 8;
  options.channel_multipliers = {1, 1};
  options.attention_resolutions.clear();
  options.embedding_width = 8;
  options.codebook_size = 6;
  Codec codec(options);
  codec->eval();
  TokenData data;
  data.codebook_size = 6;
  data.train = torch::randint(0, 6, {40, 4, 4});
  data.validation = torch::randint(0, 6, {9, 4, 4});
  auto samples = torch::randint(0, 6, {5, 4, 4});
  samples[2] = data.train[17];

  const auto folder = std::filesystem::temp_directory_path() / fmt::format("tessera-preview-{}", ::getpid());
  {
    Recorder recorder(folder);
    make_sample_preview(codec, data)(30, {samples, 6}, recorder);
  }
  const auto sheet = read_image(folder / "previews/neighbours-0000030.png");
  // Two strips a row, each a picture of 8 pixels, a gap of 4, three neighbours with 2 pixels around; 8 around strips.
  const int strip_width = 8 + 4 + 3 * 10 + 2, strip_height = 12;
  ASSERT_EQ(sheet.width, 2 * (strip_width + 8) + 8);
  ASSERT_EQ(sheet.height, 3 * (strip_height + 8) + 8);
  const int left = 8, top = 8 + strip_height + 8 + 2;  // the third sample
  EXPECT_EQ(crop(sheet, left, top, 8, 8), crop(sheet, left + 8 + 4 + 2, top, 8, 8));
  EXPECT_NE(crop(sheet, left, top, 8, 8), crop(sheet, left + 8 + 4 + 12, top, 8, 8));

  std::ifstream lines(folder / "metrics.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const auto metrics = nlohmann::json::parse(line);
  EXPECT_EQ(metrics["step"], 30);
  EXPECT_GT(metrics["samples_equal_cells"].get<double>(), 0.2);  // one of five is wholly equal
  EXPECT_LT(metrics["samples_nearest_distance"].get<double>(), metrics["validation_nearest_distance"].get<double>());
  EXPECT_LT(metrics["validation_equal_cells"].get<double>(), 1);
  std::filesystem::remove_all(folder);
}

}  // namespace sample_preview_test
}  // namespace tessera
