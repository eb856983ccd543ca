// `tessera import` and `tessera info`, run as a user does.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "checkpoint/bundle.h"
#include "support/fixtures.h"

namespace tessera {
namespace import_test {

using nlohmann::json;

struct Outcome {
  int status = -1;
  std::string output;  // standard output and error together
};

/// Runs the program with these arguments (for a shell).
Outcome run(const std::string& arguments) {
  Outcome outcome;
  const auto command = std::string("'") + TESSERA_PROGRAM + "' " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) return outcome;
  char buffer[4096];
  for (std::size_t count = 0; (count = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    outcome.output.append(buffer, count);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

std::string quoted(const std::filesystem::path& path) {
  return fmt::format("'{}'", path.string());
}

class ImportVerb : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-import-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(ImportVerb, WritesABundleOfEveryPublishedCodec) {
  for (const char* kind : {"unleashing-vqgan", "unleashing-vqgan-gumbel", "taming-vqmodel"}) {
    TESSERA_FOR_EACH_CASE(fixture, kind) {
      const auto output = folder_ / fixture.name();
      const auto outcome = run("import " + quoted(fixture.checkpoint()) + " --output " + quoted(output));
      ASSERT_EQ(outcome.status, 0) << outcome.output;
      const auto bundle = load_bundle(output, true);
      EXPECT_TRUE(bundle.codec);
      EXPECT_FALSE(bundle.denoiser);
      const auto info = run("info --json " + quoted(output));
      ASSERT_EQ(info.status, 0) << info.output;
      const auto report = json::parse(info.output);
      EXPECT_EQ(report["parts"]["vqvae"]["tensors"], bundle.codec->tensors.size());
      EXPECT_EQ(report["parts"]["vqvae"]["hash"], part_hash(bundle, "vqvae"));
    }
  }
}

TEST_F(ImportVerb, WritesABundleOfAPriorAndKeepsItsTrainingState) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-absorbing") {
    const auto& h = fixture.hyperparameters();
    const auto output = folder_ / fixture.name();
    const auto arguments =
        fmt::format("import {} -o {} --heads {} --grid {}x{}", quoted(fixture.checkpoint()), quoted(output),
                    h["bert_n_head"].dump(), h["latent_shape"][1].dump(), h["latent_shape"][2].dump());
    auto outcome = run(arguments);
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    const auto bundle = load_bundle(output, true);
    ASSERT_TRUE(bundle.denoiser);
    EXPECT_EQ(bundle.denoiser->config["tessera"]["heads"], h["bert_n_head"]);
    EXPECT_EQ((*bundle.scheduler)["tessera"]["total_steps"], h["total_steps"]);
    EXPECT_TRUE(load_safetensors(output / "training/imported.safetensors").contains("Lt_history"));
    // The same folder again only when asked to.
    outcome = run(arguments);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.output.find("--overwrite"), std::string::npos);
    EXPECT_EQ(run(arguments + " --overwrite").status, 0);
  }
}

TEST_F(ImportVerb, ACodecAndAPriorOfOtherCodesDoNotBelongTogether) {
  const auto codecs = testing::fixture_cases("unleashing-vqgan");
  const auto priors = testing::fixture_cases("unleashing-absorbing");
  if (codecs.empty() || priors.empty()) GTEST_SKIP() << "no such cases";
  if (codecs[0].hyperparameters()["codebook_size"] == priors[0].hyperparameters()["codebook_size"])
    GTEST_SKIP() << "they do";
  const auto& h = priors[0].hyperparameters();
  const auto outcome = run(fmt::format("import {} {} -o {} --heads 1 --grid {}x{}", quoted(codecs[0].checkpoint()),
                                       quoted(priors[0].checkpoint()), quoted(folder_ / "m"),
                                       h["latent_shape"][1].dump(), h["latent_shape"][2].dump()));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.output.find("do not belong together"), std::string::npos) << outcome.output;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "m"));
}

TEST_F(ImportVerb, WrongUsageAndBrokenFilesGiveOneLineAndAStatus) {
  std::ofstream(folder_ / "text.th") << "hello";
  const std::string text = quoted(folder_ / "text.th");
  const std::pair<std::string, int> cases[] = {{"import", 2},
                                               {"import " + text, 2},
                                               {"import " + text + " -o x --grid 3", 2},
                                               {"import " + text + " -o x --grid 3x0", 2},
                                               {"import " + text + " -o x --heads 0", 2},
                                               {"import " + text + " -o x --image-size big", 2},
                                               {"import " + text + " -o x", 1},
                                               {"import /nowhere/x.th -o x", 1},
                                               {"info", 2},
                                               {"info " + text, 1},
                                               {"info /nowhere", 1},
                                               {"info " + quoted(folder_), 1}};
  for (const auto& [arguments, status] : cases) {
    const auto outcome = run(arguments);
    EXPECT_EQ(outcome.status, status) << arguments << ": " << outcome.output;
    EXPECT_TRUE(outcome.output.starts_with("tessera: ")) << arguments << ": " << outcome.output;
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << arguments << ": " << outcome.output;
  }
}

TEST_F(ImportVerb, InfoListsTheTensorsOfEveryFileFormat) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-autoregressive") {
    auto outcome = run("info --json " + quoted(fixture.checkpoint()));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    const auto archive = json::parse(outcome.output);
    EXPECT_EQ(archive["format"], "torch zip archive");
    EXPECT_EQ(archive["tensors"], fixture.description["checkpoint"]["keys"].size());
    outcome = run("info --json " + quoted(fixture.folder / "expected.safetensors"));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    const auto file = json::parse(outcome.output);
    EXPECT_EQ(file["format"], "safetensors");
    EXPECT_EQ(file["list"].size(), fixture.expected.size());
    outcome = run("info " + quoted(fixture.checkpoint()));
    EXPECT_NE(outcome.output.find("net.head.weight"), std::string::npos);
  }
}

}  // namespace import_test
}  // namespace tessera
