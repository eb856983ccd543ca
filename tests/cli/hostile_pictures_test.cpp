// Large pictures given to verbs that take them through the networks: tiled, or refused before they are decoded.
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "cli/program.h"

namespace tessera {
namespace hostile_pictures_test {

using testing::fails_in_one_line;
using testing::quoted;
using testing::run;

class HostilePictures : public testing::ProgramTest {
 protected:
  /// A picture of one colour, whose file is small.
  std::string plain(const std::string& name, int width, int height) const {
    write_png(folder_ / name, Image(width, height, {10, 120, 230}));
    return at(name);
  }
  const std::string model_ = quoted(std::filesystem::path(TESSERA_SOURCE_DIR) / "models/emoji64");
};

TEST_F(HostilePictures, WhatGoesThroughTheCodecAsAWholeIsRefusedUndecodedWhereItIsLarge) {
  const auto large = plain("large.png", 2100, 2000);
  const auto says = "large.png: 2100x2000 pixels, expected at most 4194304 in all";
  const auto output = at("o.png");
  EXPECT_TRUE(
      fails_in_one_line(run(fmt::format("reconstruct -t 1 -m {} -i {} -o {}", model_, large, output)), 1, says));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("encode -t 1 -m {} -i {} -o {}", model_, large, at("t.safetensors"))),
                                1, says));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("variations -t 1 --steps 1 -m {} -i {} -o {}", model_, large, output)),
                                1, says));
  for (const auto* verb : {"outpaint --right 8", "inpaint --keep-box 0,0,8,8"}) {
    EXPECT_TRUE(fails_in_one_line(run(fmt::format("{} -t 1 --steps 1 -m {} -i {} -o {}", verb, model_, large, output)),
                                  1, says))
        << verb;
  }
  EXPECT_TRUE(fails_in_one_line(
      run(fmt::format("reconstruct -t 1 -m {} -i {} -o {} --max-pixels 1000", model_, plain("s.png", 40, 40), output)),
      1, "s.png: 40x40 pixels, expected at most 1000 in all"));
  save_safetensors(folder_ / "tokens.safetensors", {{"tokens", torch::zeros({1, 3000, 3000}, torch::kUInt8)}});
  EXPECT_TRUE(fails_in_one_line(
      run(fmt::format("decode -t 1 -m {} --tokens {} -o {}", model_, at("tokens.safetensors"), at("d"))), 1,
      "tokens.safetensors: 3000x3000 tokens are"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "d"));
}

TEST_F(HostilePictures, ManyTextsAndManyOptionsAreToldInLinearTime) {
  PngText texts, options = {{"tessera", "{"}};
  for (int i = 0; i < 300'000; ++i) {
    texts[fmt::format("k{}", i)] = "v";
    options["tessera"] += fmt::format("\"k{}\":1,", i);
  }
  options["tessera"].back() = '}';
  for (const auto& text : {texts, options}) {
    write_png(folder_ / "many.png", Image(8, 8), text);
    const auto outcome =
        testing::run_command(fmt::format("ulimit -t 10; '{}' info {}", TESSERA_PROGRAM, at("many.png")));
    EXPECT_EQ(outcome.status, 0);
    EXPECT_LT(outcome.output.size(), 200'000U);
  }
}

TEST_F(HostilePictures, WhatIsEditedIsRefusedUndecodedWhereItIsLarger) {
  const auto larger = plain("larger.png", 7000, 5000);
  const auto says = "larger.png: 7000x5000 pixels, expected at most 33554432 in all";
  EXPECT_TRUE(fails_in_one_line(
      run(fmt::format("inpaint --box 0,0,8,8 -t 1 --steps 1 -m {} -i {} -o {}", model_, larger, at("o.png"))), 1,
      says));
}

TEST_F(HostilePictures, WhatIsLargerThanTheModelIsReconstructedInTiles) {
  const auto outcome =
      run(fmt::format("reconstruct -t 1 --json -m {} -i {} -o {}", model_, plain("p.png", 330, 200), at("o.png")));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const auto report = nlohmann::json::parse(outcome.output.substr(outcome.output.find('{')));
  EXPECT_EQ(report["images"].size(), 1u);
  const auto sheet = read_image(folder_ / "o.png");
  ASSERT_EQ(run(fmt::format("encode -t 1 -m {} -i {} -o {}", model_, at("p.png"), at("t.safetensors"))).status, 0);
  ASSERT_EQ(run(fmt::format("decode -t 1 -m {} --tokens {} -o {}", model_, at("t.safetensors"), at("d"))).status, 0);
  const auto decoded = read_image(folder_ / "d/00000.png");
  EXPECT_EQ(2 * decoded.width + 6, sheet.width);
  EXPECT_EQ(decoded.height + 4, sheet.height);
  EXPECT_EQ(crop(sheet, decoded.width + 4, 2, decoded.width, decoded.height), decoded) << "both go through tiles";
}

}  // namespace hostile_pictures_test
}  // namespace tessera
