// `tessera generate --neighbours`, run as a user does.
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace tessera {
namespace neighbours_test {

using testing::fails_in_one_line;
using testing::run;

using Neighbours = testing::ProgramTest;

TEST_F(Neighbours, OfEverySampleAreShownAndListed) {
  make_pictures("data", 24);
  auto outcome =
      run(fmt::format("train codec --data {} --out {} --steps 2 {}", at("data"), at("m"), testing::tiny_codec()));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  outcome =
      run(fmt::format("train prior --data {} --model {} --steps 2 {}", at("data"), at("m"), testing::tiny_prior()));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "m/training/prior/previews/neighbours-0000002.png"));

  outcome = run(fmt::format("generate -m {} -n 3 -t 1 --neighbours {} --neighbour-count 2 -o {}", at("m"), at("data"),
                            at("out")));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("neighbours.png"), std::string::npos) << outcome.output;
  const auto text = read_png_text(folder_ / "out/neighbours.png");
  ASSERT_TRUE(text.contains("tessera-neighbours"));
  const auto report = nlohmann::json::parse(text.at("tessera-neighbours"));
  EXPECT_NE(report["distance"].get<std::string>().find("codec latents"), std::string::npos);
  ASSERT_EQ(report["samples"].size(), 3U);
  for (const auto& sample : report["samples"]) {
    ASSERT_EQ(sample["nearest"].size(), 2U);
    EXPECT_LE(sample["nearest"][0]["distance"].get<double>(), sample["nearest"][1]["distance"].get<double>());
    EXPECT_TRUE(std::filesystem::exists(folder_ / "data" / sample["nearest"][0]["file"].get<std::string>()));
  }
  const auto sheet = read_image(folder_ / "out/neighbours.png");
  EXPECT_EQ(sheet.height, 3 * (20 + 8) + 8);  // three strips, one below the other

  outcome = run(fmt::format("generate -m {} -n 1 -t 1 --neighbours {} -o {}", at("m"), at("data"), at("one.png")));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "one-neighbours.png"));
  EXPECT_TRUE(fails_in_one_line(
      run(fmt::format("generate -m {} --neighbours {} -o {}", at("m"), at("none"), at("two.png"))), 1, "no such file"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "two.png"));
}

}  // namespace neighbours_test
}  // namespace tessera
