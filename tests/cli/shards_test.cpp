// Bulk work in shards makes the bytes that one process makes.
#include <fstream>
#include <map>

#include "checkpoint/safetensors.h"
#include "cli/program.h"

namespace tessera {
namespace shards_test {

namespace fs = std::filesystem;
using testing::fails_in_one_line;
using testing::run;
using testing::run_command;

std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    files[entry.path().filename().string()] = {std::istreambuf_iterator<char>(stream), {}};
  }
  return files;
}

class Shards : public testing::ProgramTest {
 protected:
  void SetUp() override {
    testing::ProgramTest::SetUp();
    if (IsSkipped()) return;
    make_pictures("data", 20);
    auto made =
        run(fmt::format("train codec --data {} {} --steps 2 --out {}", at("data"), testing::tiny_codec(), at("m")));
    ASSERT_EQ(made.status, 0) << made.output;
    made = run(fmt::format("train prior --data {} {} --keep latest --steps 2 --model {}", at("data"),
                           testing::tiny_prior(), at("m")));
    ASSERT_EQ(made.status, 0) << made.output;
  }
  std::string generate(const std::string& output, const std::string& rest = "") const {
    return fmt::format("generate -m {} -n 21 -b 4 -s 3 --steps 4 -t 1 -o {} {}", at("m"), at(output), rest);
  }
};

TEST_F(Shards, OfGeneratedPicturesAreThoseOfOneProcess) {
  // The same output folder each time: its name is part of the pictures' records.
  ASSERT_EQ(run(generate("out")).status, 0);
  auto whole = files_in(folder_ / "out");
  ASSERT_EQ(whole.size(), 22U);
  fs::rename(folder_ / "out", folder_ / "whole");
  const auto processes = run(generate("out", "--processes 3"));
  ASSERT_EQ(processes.status, 0) << processes.output;
  EXPECT_TRUE(files_in(folder_ / "out") == whole) << "with their sheet";
  fs::remove_all(folder_ / "out");
  for (const char* shard : {"2/4", "0/4", "1/4"})
    ASSERT_EQ(run(generate("out", fmt::format("--shard {}", shard))).status, 0);
  const auto last = run_command(
      fmt::format("SLURM_ARRAY_TASK_ID=8 SLURM_ARRAY_TASK_MIN=5 SLURM_ARRAY_TASK_COUNT=4 '{}' {} --processes 2",
                  TESSERA_PROGRAM, generate("out", "--shard array")));
  ASSERT_EQ(last.status, 0) << last.output;
  whole.erase("sheet.png");
  EXPECT_TRUE(files_in(folder_ / "out") == whole);
}

TEST_F(Shards, OfEncodedPicturesAreTheRowsOfOneFile) {
  const auto encode = [&](const std::string& name, const std::string& rest) {
    const auto made =
        run(fmt::format("encode -m {} --data {} --split all -n 19 -t 1 -o {} {}", at("m"), at("data"), at(name), rest));
    EXPECT_EQ(made.status, 0) << made.output;
    return load_safetensors(folder_ / name).at("tokens");
  };
  const auto whole = encode("whole.safetensors", "");
  std::vector<torch::Tensor> parts;
  for (int i = 0; i < 3; ++i)
    parts.push_back(encode(fmt::format("part-{}.safetensors", i), fmt::format("--shard {}/3", i)));
  EXPECT_TRUE(torch::equal(torch::cat(parts), whole));
}

TEST_F(Shards, RefuseWhatIsMadeOfAllPictures) {
  EXPECT_TRUE(fails_in_one_line(run(generate("one.png", "--shard 0/2")), 2, "one file holds all pictures"));
  EXPECT_TRUE(fails_in_one_line(run(generate("out", "--processes 2 --sheet-only")), 2, "the sheet holds all"));
  EXPECT_TRUE(fails_in_one_line(run(generate("out", "--shard 2/2")), 2, "expected I/N with I below N"));
  EXPECT_TRUE(fails_in_one_line(run(generate("out", "--shard array")), 2, "not in a task of a Slurm array"));
  EXPECT_TRUE(
      fails_in_one_line(run(fmt::format("generate -m {} -n 4 --processes 2 -o {}", at("none"), at("out"))), 1, "none"));
}

}  // namespace shards_test
}  // namespace tessera
