/// `tessera dataset` as a user runs it: its output and its exit status.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "image/image_io.h"

namespace tessera {
namespace dataset_verb_test {

namespace fs = std::filesystem;

struct Outcome {
  int status;
  std::string output;  // standard output and error together
};

Outcome run(const std::string& arguments) {
  const std::string command = std::string(TESSERA_PROGRAM) + " " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> chunk{};
  while (const auto count = std::fread(chunk.data(), 1, chunk.size(), pipe)) output.append(chunk.data(), count);
  return {WEXITSTATUS(::pclose(pipe)), output};
}

class DatasetVerb : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
    std::string name = (fs::temp_directory_path() / "tessera-cli-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directories(folder_ / "set/cat");
    fs::create_directories(folder_ / "set/dog");
    write_png(folder_ / "set/cat/1.png", Image(16, 16));
    write_png(folder_ / "set/dog/2.png", Image(20, 16));
  }
  void TearDown() override {
    std::error_code code;
    if (!folder_.empty()) fs::remove_all(folder_, code);
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  fs::path folder_;
};

TEST_F(DatasetVerb, PacksAndDescribesASet) {
  const auto packed = run("dataset pack --no-cache --data " + at("set") + " --size 8 --out " + at("set.tessera-pack"));
  ASSERT_EQ(packed.status, 0) << packed.output;
  const auto info = run("dataset info --json --data " + at("set.tessera-pack"));
  ASSERT_EQ(info.status, 0) << info.output;
  const auto report = nlohmann::json::parse(info.output, nullptr, false);
  ASSERT_TRUE(report.is_object()) << info.output;
  EXPECT_EQ(report["images"], 2);
  EXPECT_EQ(report["size"], 8);
  EXPECT_EQ(report["classes"], (std::vector<std::string>{"cat", "dog"}));
  EXPECT_NE(packed.output.find(report["key"].get<std::string>()), std::string::npos);
}

TEST_F(DatasetVerb, UsesTheCacheFolderThatIsNamed) {
  ASSERT_EQ(run("dataset info --cache " + at("cache") + " --data " + at("set")).status, 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "cache"), {}), 1);
}

std::string contents(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST_F(DatasetVerb, PartsOfAPackJoinToTheBytesOfOneMadeAtOnce) {
  fs::create_directories(folder_ / "set/eel");
  for (int i = 3; i < 9; ++i)
    write_png(folder_ / fmt::format("set/{}/{}.png", i % 2 ? "cat" : "eel", i), Image(16 + i, 16));
  std::ofstream(folder_ / "set/cat/broken.png") << "not a picture";
  std::ofstream(folder_ / "set/cat/3.txt") << "a cat";
  std::ofstream(folder_ / "set/README.md") << "pictures";
  const auto pack = "dataset pack --no-cache --data " + at("set") + " --size 8 --out " + at("set.tessera-pack");
  ASSERT_EQ(run(pack).status, 0);
  std::string parts;
  for (const int part : {2, 0, 1}) {
    const auto made = run(fmt::format("{} --shard {}/3", pack, part));
    ASSERT_EQ(made.status, 0) << made.output;
    parts += " " + at(fmt::format("set-0000{}-of-00003.tessera-pack", part));
  }
  const auto joined = run("dataset join" + parts + " --out " + at("joined.tessera-pack"));
  ASSERT_EQ(joined.status, 0) << joined.output;
  EXPECT_TRUE(contents(folder_ / "set.tessera-pack") == contents(folder_ / "joined.tessera-pack")) << joined.output;

  const auto refused = [&](const std::string& arguments, const std::string& words) {
    const auto outcome = run("dataset join " + arguments + " --out " + at("no.tessera-pack"));
    EXPECT_EQ(outcome.status, 1) << outcome.output;
    EXPECT_NE(outcome.output.find(words), std::string::npos) << outcome.output;
  };
  const auto part = [&](int i) { return at(fmt::format("set-0000{}-of-00003.tessera-pack", i)) + " "; };
  refused(part(0) + part(2), "part 1/3 is missing");
  refused(part(0) + part(1), "part 2/3 is missing");
  refused(part(0) + part(1) + part(1), "part 1/3 is there twice");
  refused(at("set.tessera-pack"), "is no part of a pack, but whole");
  const auto beyond = run(pack + " --shard 3/200");
  EXPECT_EQ(beyond.status, 1);
  EXPECT_NE(beyond.output.find("holds none: expected at most 9 shards"), std::string::npos) << beyond.output;
}

TEST_F(DatasetVerb, FailuresAreOneLineAndStatusOne) {
  std::ofstream(folder_ / "set/cat/broken.png") << "not a picture";
  for (const auto& arguments :
       {"dataset info --no-cache --data " + at("nothing"), "dataset info --no-cache --strict --data " + at("set"),
        "dataset pack --no-cache --size 8 --data " + at("set") + " --out " + at("no/such/x.tessera-pack"),
        "dataset pack --no-cache --size 64 --data " + at("set") + " --out " + at("x.tessera-pack")}) {
    const auto outcome = run(arguments);
    EXPECT_EQ(outcome.status, 1) << arguments << ": " << outcome.output;
    const auto last = outcome.output.rfind("tessera: ");
    ASSERT_NE(last, std::string::npos) << outcome.output;
    EXPECT_EQ(outcome.output.find('\n', last), outcome.output.size() - 1) << outcome.output;
  }
}

TEST_F(DatasetVerb, WrongUsageIsStatusTwo) {
  for (const auto& arguments :
       {std::string("dataset"), std::string("dataset pack"), "dataset info --data " + at("set") + " --wrong",
        "dataset pack --size 8 --data " + at("set") + " --out " + at("x.zip"),
        "dataset info --background mauve --data " + at("set"), "dataset info --size -4 --data " + at("set")}) {
    const auto outcome = run(arguments);
    EXPECT_EQ(outcome.status, 2) << arguments << ": " << outcome.output;
  }
}

}  // namespace dataset_verb_test
}  // namespace tessera
