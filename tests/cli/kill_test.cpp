// Training killed with SIGKILL at random moments and resumed ends as the unbroken run ends, bit for bit.
#include <spawn.h>

#include <chrono>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "checkpoint/safetensors.h"
#include "cli/program.h"

extern char** environ;

namespace tessera {
namespace kill_test {

namespace fs = std::filesystem;
using testing::run;

std::string slurp(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Runs the program and, where `deadline` is not zero, kills it then. Out: the exit status; -1: it was killed.
int run_and_kill(const std::string& arguments, std::chrono::milliseconds deadline, const fs::path& log) {
  const auto command = fmt::format("exec '{}' {} >>'{}' 2>&1", TESSERA_PROGRAM, arguments, log.string());
  std::string shell = "sh", flag = "-c", text = command;
  char* const argv[] = {shell.data(), flag.data(), text.data(), nullptr};
  pid_t child = 0;
  if (::posix_spawn(&child, "/bin/sh", nullptr, nullptr, argv, environ) != 0) return -2;
  const auto begin = std::chrono::steady_clock::now();
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (deadline.count() > 0 && std::chrono::steady_clock::now() - begin >= deadline) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The last record of each kind of each step, without what depends on the clock.
std::map<std::string, nlohmann::json> records(const fs::path& file) {
  std::map<std::string, nlohmann::json> found;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    auto record = nlohmann::json::parse(line);
    record.erase("images_per_second");
    std::string kind = fmt::format("{:06}", record["step"].get<int>());
    for (const auto& [name, value] : record.items()) kind += " " + name;
    found[kind] = record;
  }
  return found;
}

class Kill : public testing::ProgramTest {
 protected:
  /// In: the command without its folder and --resume; `part` is codec or prior; `weights` the file it ends with.
  void expect_same_end(const std::string& command, const std::string& flag, const std::string& part,
                       const std::string& weights) {
    const auto begin = std::chrono::steady_clock::now();
    const auto unbroken = run(fmt::format("{} {} {}", command, flag, at("unbroken")));
    ASSERT_EQ(unbroken.status, 0) << unbroken.output;
    const auto length = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);

    const auto seed = std::random_device()();
    SCOPED_TRACE(fmt::format("kill moments of seed {}", seed));
    std::mt19937 random(seed);
    const auto state = folder_ / "broken/training" / part / "state.safetensors";
    int status = -1, kills = 0;
    for (int turn = 0; status == -1 && turn < 8; ++turn) {
      // The last turns are left alone.
      const auto deadline =
          turn < 4 ? std::chrono::milliseconds(1 + random() % length.count()) : std::chrono::milliseconds(0);
      const std::string resume = fs::exists(state) ? " --resume" : "";
      status = run_and_kill(fmt::format("{} {} {}{}", command, flag, at("broken"), resume), deadline, folder_ / "log");
      if (status == -1) ++kills;
    }
    ASSERT_EQ(status, 0) << slurp(folder_ / "log");
    RecordProperty("kills", kills);

    Metadata want_metadata, got_metadata;
    const auto want = load_safetensors(folder_ / "unbroken/training" / part / "state.safetensors", &want_metadata);
    const auto got = load_safetensors(state, &got_metadata);
    EXPECT_EQ(want_metadata, got_metadata);
    ASSERT_EQ(want.size(), got.size());
    for (const auto& [name, tensor] : want) EXPECT_TRUE(torch::equal(tensor, got.at(name))) << name;
    EXPECT_TRUE(slurp(folder_ / "unbroken" / weights) == slurp(folder_ / "broken" / weights)) << weights;
    EXPECT_EQ(records(folder_ / "unbroken/training" / part / "metrics.jsonl"),
              records(folder_ / "broken/training" / part / "metrics.jsonl"));
    for (const auto& entry : fs::directory_iterator(state.parent_path())) {
      EXPECT_EQ(entry.path().filename().string().find(".partial-"), std::string::npos) << entry.path();
    }
  }
};

constexpr const char* kLoop = "--steps 12 --save-every 1 --log-every 1 --validate-every 5";

TEST_F(Kill, ACodecWithItsDiscriminatorEndsAsIfUnbroken) {
  make_pictures("data", 20);
  const auto flags = testing::tiny_codec({{"adversarial", "true"},
                                          {"disc-start-step", "3"},
                                          {"discriminator-channels", "4"},
                                          {"discriminator-layers", "1"},
                                          {"reseed-every", "4"},
                                          {"flip", "true"},
                                          {"crop-scale", "1.3"},
                                          {"warmup", "3"}});
  expect_same_end(fmt::format("train codec --data {} {} {}", at("data"), flags, kLoop), "--out", "codec",
                  "vqvae/diffusion_pytorch_model.safetensors");
}

TEST_F(Kill, ACodecWithAnEmaCodebookEndsAsIfUnbroken) {
  make_pictures("data", 20);
  const auto flags = testing::tiny_codec({{"quantizer", "ema"}, {"reseed-every", "4"}});
  expect_same_end(fmt::format("train codec --data {} {} {}", at("data"), flags, kLoop), "--out", "codec",
                  "vqvae/diffusion_pytorch_model.safetensors");
}

class KillPrior : public Kill, public ::testing::WithParamInterface<const char*> {};

TEST_P(KillPrior, EndsAsIfUnbroken) {
  torch::manual_seed(4);
  save_safetensors(folder_ / "tokens.safetensors",
                   {{"train", torch::randint(0, 9, {30, 4, 4}, torch::kInt32)},
                    {"validation", torch::randint(0, 9, {6, 4, 4}, torch::kInt32)}},
                   {{"codebook_size", "9"}});
  // What the autoregressive prior does not use stays at its default.
  const bool causal = std::string(GetParam()) == "autoregressive";
  const auto flags = testing::tiny_prior({{"prior", GetParam()},
                                          {"dropout", "0.1"},
                                          {"time-sampling", causal ? "uniform" : "importance"},
                                          {"validation-terms", causal ? "16" : "2"},
                                          {"warmup", "3"}});
  expect_same_end(fmt::format("train prior --data {} {} {}", at("tokens.safetensors"), flags, kLoop), "--model",
                  "prior", "transformer/diffusion_pytorch_model.safetensors");
}

INSTANTIATE_TEST_SUITE_P(EveryKind, KillPrior, ::testing::Values("absorbing", "autoregressive"),
                         [](const auto& kind) { return std::string(kind.param); });

}  // namespace kill_test
}  // namespace tessera
