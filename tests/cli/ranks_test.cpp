// A training that several processes share learns what one process learns, bit for bit, and ends in one line where one
// of them is lost. Seconds: models of a few thousand weights.
#include <arpa/inet.h>
#include <spawn.h>
#include <sys/socket.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <thread>

#include "checkpoint/safetensors.h"
#include "cli/program.h"

extern char** environ;

namespace tessera {
namespace ranks_test {

namespace fs = std::filesystem;
using testing::fails_in_one_line;
using testing::run;
using testing::run_command;
using Clock = std::chrono::steady_clock;

std::string contents(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// A port that was free a moment ago.
int free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(descriptor);
  return ntohs(address.sin_port);
}

/// As torchrun starts it.
std::string variables(int rank, int ranks, int port) {
  return fmt::format("RANK={} WORLD_SIZE={} LOCAL_RANK={} MASTER_ADDR=127.0.0.1 MASTER_PORT={}", rank, ranks, rank,
                     port);
}

class Ranks : public testing::ProgramTest {
 protected:
  void SetUp() override {
    testing::ProgramTest::SetUp();
    if (IsSkipped()) return;
    torch::manual_seed(4);
    save_safetensors(folder_ / "tokens.safetensors",
                     {{"train", torch::randint(0, 9, {30, 4, 4}, torch::kInt32)},
                      {"validation", torch::randint(0, 9, {6, 4, 4}, torch::kInt32)}},
                     {{"codebook_size", "9"}});
  }

  std::string prior(const std::string& rest, const testing::Flags& changed = {}) const {
    testing::Flags flags = {{"batch-size", "8"}, {"shards", "4"}, {"dropout", "0.1"}, {"warmup", "3"}};
    for (const auto& [name, value] : changed) flags[name] = value;
    return fmt::format("train prior --data {} {} {}", at("tokens.safetensors"), testing::tiny_prior(flags), rest);
  }

  fs::path state(const std::string& name, const std::string& part) const {
    return folder_ / name / "training" / part / "state.safetensors";
  }

  void expect_same(const std::string& one, const std::string& other, const std::string& part) const {
    Metadata want_metadata, got_metadata;
    const auto want = load_safetensors(state(one, part), &want_metadata);
    const auto got = load_safetensors(state(other, part), &got_metadata);
    EXPECT_EQ(want_metadata, got_metadata) << other;
    ASSERT_EQ(want.size(), got.size());
    for (const auto& [name, tensor] : want) EXPECT_TRUE(torch::equal(tensor, got.at(name))) << other << ": " << name;
    const auto* weights = part == "codec" ? "vqvae/diffusion_pytorch_model.safetensors"
                                          : "transformer/diffusion_pytorch_model.safetensors";
    EXPECT_TRUE(contents(folder_ / one / weights) == contents(folder_ / other / weights)) << other << ": " << weights;
  }

  /// In: the command for a model folder, which is made ready by `prepare`.
  void expect_same_bits(const std::function<std::string(const std::string& name)>& command, const std::string& part,
                        const std::vector<int>& counts = {1, 2, 4}) {
    for (const int count : counts) {
      const auto made = run(fmt::format("{} --processes {}", command(fmt::format("r{}", count)), count));
      ASSERT_EQ(made.status, 0) << made.output;
      if (count != counts.front()) expect_same(fmt::format("r{}", counts.front()), fmt::format("r{}", count), part);
    }
  }

  pid_t start(const std::string& command, const std::string& log) const {
    const auto text = fmt::format("exec env {} >'{}' 2>&1", command, (folder_ / log).string());
    std::string shell = "sh", flag = "-c", script = text;
    char* const argv[] = {shell.data(), flag.data(), script.data(), nullptr};
    pid_t child = 0;
    EXPECT_EQ(::posix_spawn(&child, "/bin/sh", nullptr, nullptr, argv, environ), 0);
    return child;
  }

  std::string program() const { return fmt::format("'{}'", TESSERA_PROGRAM); }
};

TEST_F(Ranks, OfACodecWithDiscriminatorAndEmaCodebookLearnTheSameBits) {
  make_pictures("data", 20);
  const auto flags = testing::tiny_codec({{"adversarial", "true"},
                                          {"quantizer", "ema"},
                                          {"disc-start-step", "3"},
                                          {"discriminator-channels", "4"},
                                          {"discriminator-layers", "1"},
                                          {"reseed-every", "2"},
                                          {"flip", "true"},
                                          {"crop-scale", "1.3"},
                                          {"batch-size", "8"},
                                          {"shards", "4"},
                                          {"warmup", "3"}});
  expect_same_bits(
      [&](const std::string& name) {
        return fmt::format("train codec --data {} {} --steps 8 --validate-every 3 --out {}", at("data"), flags,
                           at(name));
      },
      "codec");
  const auto sharded =
      run(fmt::format("train codec --data {} {} --steps 8 --validate-every 3 --out {} --processes 3 --shard-optimizer",
                      at("data"), flags, at("sharded")));
  ASSERT_EQ(sharded.status, 0) << sharded.output;
  expect_same("r1", "sharded", "codec");
}

TEST_F(Ranks, OfAGumbelCodecLearnTheSameBits) {
  make_pictures("data", 20);
  const auto flags = testing::tiny_codec({{"quantizer", "gumbel"}, {"batch-size", "8"}, {"shards", "2"}});
  expect_same_bits(
      [&](const std::string& name) {
        return fmt::format("train codec --data {} {} --steps 4 --out {}", at("data"), flags, at(name));
      },
      "codec", {1, 2});
}

TEST_F(Ranks, OfAnAbsorbingPriorLearnTheSameBitsAlsoWhereShardsDoNotDivideEvenly) {
  const auto command = [&](const std::string& name) {
    return prior(fmt::format("--time-sampling importance --steps 12 --validate-every 5 --model {}", at(name)));
  };
  expect_same_bits(command, "prior", {1, 2, 3, 4});
}

TEST_F(Ranks, LearnTheSameBitsHoweverGradientsAndOptimizerAreShared) {
  // More weights than travel at once.
  const testing::Flags large = {{"width", "192"}, {"heads", "4"}, {"layers", "4"}, {"ema-decay", "0.9"}};
  const auto train = [&](const std::string& name, int ranks, const std::string& rest, int steps = 4) {
    return run(
        prior(fmt::format("--steps {} --validate-every 2 --model {} --processes {} {}", steps, at(name), ranks, rest),
              large));
  };
  const auto one = train("one", 1, "");
  ASSERT_EQ(one.status, 0) << one.output;
  int index = 0;
  for (const auto& [ranks, rest] :
       std::vector<std::pair<int, std::string>>{{2, "--overlap-gradients=false"},
                                                {3, "--shard-optimizer"},
                                                {4, "--shard-optimizer"},
                                                {2, "--shard-optimizer --overlap-gradients=false"}}) {
    const auto name = fmt::format("shared{}", index++);
    const auto made = train(name, ranks, rest);
    ASSERT_EQ(made.status, 0) << rest << made.output;
    expect_same("one", name, "prior");
  }
  // A state that was gathered from its ranks is gone on with by others, and by one.
  ASSERT_EQ(train("two", 2, "--shard-optimizer", 2).status, 0);
  ASSERT_EQ(train("two", 4, "--shard-optimizer --resume", 3).status, 0);
  ASSERT_EQ(train("two", 1, "--resume", 4).status, 0);
  ASSERT_EQ(train("three", 1, "", 2).status, 0);
  ASSERT_EQ(train("three", 1, "--resume", 3).status, 0);
  ASSERT_EQ(train("three", 1, "--resume", 4).status, 0);
  expect_same("three", "two", "prior");
}

TEST_F(Ranks, LearnTheSameBitsByGradientsOfHalfTheBytes) {
  const auto command = [&](const std::string& name) {
    return prior(fmt::format("--gradient-type bfloat16 --steps 8 --model {}", at(name)));
  };
  expect_same_bits(command, "prior", {1, 2, 3, 4});
  ASSERT_EQ(run(prior(fmt::format("--steps 8 --model {}", at("exact")))).status, 0);
  const auto exact = load_safetensors(state("exact", "prior")), rounded = load_safetensors(state("r1", "prior"));
  double furthest = 0, largest = 0;
  for (const auto& [name, tensor] : exact) {
    if (!name.starts_with("adam.first.")) continue;
    furthest = std::max(furthest, (tensor - rounded.at(name)).abs().max().item<double>());
    largest = std::max(largest, tensor.abs().max().item<double>());
  }
  EXPECT_GT(furthest, 0);
  EXPECT_LT(furthest, 0.05 * largest);
  EXPECT_TRUE(fails_in_one_line(
      run(prior(fmt::format("--gradient-type bfloat16 --steps 8 --model {}", at("x")), {{"shards", "1"}})), 1,
      "gradient_type bfloat16 is not used by one shard"));
}

TEST_F(Ranks, OfAnAutoregressivePriorLearnTheSameBits) {
  expect_same_bits(
      [&](const std::string& name) {
        return prior(fmt::format("--steps 6 --model {}", at(name)),
                     {{"prior", "autoregressive"}, {"validation-terms", "16"}});
      },
      "prior");
}

TEST_F(Ranks, OfAMaskAndReplacePriorToldTextLearnTheSameBits) {
  make_pictures("data", 20);
  std::ofstream table(folder_ / "data/metadata.jsonl");
  for (int i = 0; i < 20; ++i)
    table << fmt::format("{{\"file_name\": \"{:03}.png\", \"text\": \"pattern number {}\"}}\n", i, i);
  table.close();
  const auto made =
      run(fmt::format("train codec --data {} {} --steps 2 --out {}", at("data"), testing::tiny_codec(), at("codec")));
  ASSERT_EQ(made.status, 0) << made.output;
  const auto flags = testing::tiny_prior({{"process", "mask-and-replace"},
                                          {"condition", "text"},
                                          {"text-width", "32"},
                                          {"text-layers", "1"},
                                          {"text-length", "8"},
                                          {"text-merges", "10"},
                                          {"total-steps", "10"},
                                          {"keep", "latest"},
                                          {"batch-size", "8"},
                                          {"shards", "4"}});
  expect_same_bits(
      [&](const std::string& name) {
        fs::copy(folder_ / "codec", folder_ / name, fs::copy_options::recursive);
        return fmt::format("train prior --data {} {} --steps 5 --model {}", at("data"), flags, at(name));
      },
      "prior");
}

TEST_F(Ranks, MeetByTheVariablesOfTorchrun) {
  ASSERT_EQ(run(prior(fmt::format("--steps 4 --model {}", at("one")))).status, 0);
  const auto port = free_port();
  const auto command = prior(fmt::format("--steps 4 --model {}", at("two")));
  const auto both = run_command(fmt::format("env {0} {1} {2} & env {3} {1} {2}; s=$?; wait $!; exit $s",
                                            variables(1, 2, port), program(), command, variables(0, 2, port)));
  EXPECT_EQ(both.status, 0) << both.output;
  expect_same("one", "two", "prior");
}

TEST_F(Ranks, MeetInAFileAndRefuseAStaleOne) {
  const auto command =
      prior(fmt::format("--steps 4 --rank-timeout 20 --rendezvous {} --model {}", at("meet"), at("m")));
  const auto both =
      run_command(fmt::format("RANK=1 WORLD_SIZE=2 {0} {1} & RANK=0 WORLD_SIZE=2 {0} {1}; s=$?; wait; "
                              "exit $s",
                              program(), command));
  EXPECT_EQ(both.status, 0) << both.output;
  EXPECT_FALSE(fs::exists(folder_ / "meet")) << "the file goes with the job";
  // Of a run that was killed: rank 0 alone came and never left.
  const auto alone = fmt::format("RANK=0 WORLD_SIZE=2 {} {}", program(), command);
  const auto killed = start(fmt::format("RANK=0 WORLD_SIZE=2 {} {}", program(), command), "log");
  for (int i = 0; i < 200 && contents(folder_ / "meet").find("seen/0") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ::kill(killed, SIGKILL);
  ::waitpid(killed, nullptr, 0);
  EXPECT_TRUE(fails_in_one_line(run_command(alone), 1, "rank 0 is in it already"));
}

TEST_F(Ranks, SayInTimeWhoDidNotCome) {
  const auto port = free_port();
  const auto command = prior(fmt::format("--steps 4 --rank-timeout 6 --model {}", at("m")));
  const auto begin = Clock::now();
  const auto second = start(fmt::format("{} {} {}", variables(1, 3, port), program(), command), "second");
  const auto first = run_command(fmt::format("env {} {} {}", variables(0, 3, port), program(), command));
  EXPECT_TRUE(fails_in_one_line(first, 1, "rank 2 did not come to 127.0.0.1:"));
  EXPECT_NE(first.output.find("0, 1 are there"), std::string::npos) << first.output;
  EXPECT_NE(first.output.find("lo (127.0.0.1)"), std::string::npos) << first.output;
  ::waitpid(second, nullptr, 0);
  const auto without_first = run_command(fmt::format("env {} {} {}", variables(1, 2, free_port()), program(), command));
  EXPECT_TRUE(fails_in_one_line(without_first, 1, "rank 0 does not answer at 127.0.0.1:"));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(60));
}

TEST_F(Ranks, SayThatThePortIsInUse) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  const int port = ntohs(address.sin_port);
  const auto command = prior(fmt::format("--steps 4 --rank-timeout 2 --model {}", at("m")));
  EXPECT_TRUE(fails_in_one_line(run_command(fmt::format("env {} {} {}", variables(0, 2, port), program(), command)), 1,
                                fmt::format("port {} of this machine is in use", port)));
  EXPECT_TRUE(fails_in_one_line(run_command(fmt::format("env {} {} {}", variables(1, 2, port), program(), command)), 1,
                                fmt::format("127.0.0.1:{}", port)));
  ::close(listener);
}

/// One of two ranks gets a signal in the middle of its work; the other ends, and the run goes on with three.
class RanksLost : public Ranks, public ::testing::WithParamInterface<int> {};

TEST_P(RanksLost, EndInOneLineAndGoOnWithAnotherNumberOfThem) {
  const auto training = [&](const std::string& name) {
    return prior(fmt::format("--steps 150 --save-every 5 --log-every 1 --rank-timeout 8 --model {}", at(name)));
  };
  const auto port = free_port();
  const pid_t second = start(fmt::format("{} {} {}", variables(1, 2, port), program(), training("broken")), "second");
  const pid_t first = start(fmt::format("{} {} {}", variables(0, 2, port), program(), training("broken")), "first");
  for (int i = 0; i < 600 && !fs::exists(state("broken", "prior")); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE(fs::exists(state("broken", "prior"))) << contents(folder_ / "first");
  const auto begin = Clock::now();
  ::kill(second, GetParam());
  int status = 0;
  ASSERT_EQ(::waitpid(first, &status, 0), first);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(30));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  ::kill(second, SIGKILL);
  ::waitpid(second, nullptr, 0);
  testing::Outcome end{1, contents(folder_ / "first")};
  EXPECT_TRUE(fails_in_one_line(end, 1, "rank 1 of 2"));
  EXPECT_NE(end.output.find("the last saved state (step "), std::string::npos) << end.output;

  const auto resumed = run(fmt::format("{} --resume --processes 3", training("broken")));
  ASSERT_EQ(resumed.status, 0) << resumed.output;
  const auto unbroken = run(training("unbroken"));
  ASSERT_EQ(unbroken.status, 0) << unbroken.output;
  expect_same("unbroken", "broken", "prior");
}

INSTANTIATE_TEST_SUITE_P(Signals, RanksLost, ::testing::Values(SIGKILL, SIGSTOP),
                         [](const auto& signal) { return signal.param == SIGKILL ? "Killed" : "Stopped"; });

TEST_F(Ranks, RefuseAnotherRecipe) {
  const auto port = free_port();
  const auto command = [&](int seed) { return prior(fmt::format("--steps 4 --seed {} --model {}", seed, at("m"))); };
  const auto second = start(fmt::format("{} {} {}", variables(1, 2, port), program(), command(1)), "second");
  EXPECT_TRUE(fails_in_one_line(run_command(fmt::format("env {} {} {}", variables(0, 2, port), program(), command(0))),
                                1, "rank 1 has seed 1, rank 0 has 0"));
  ::waitpid(second, nullptr, 0);
  EXPECT_TRUE(fails_in_one_line(run(prior(fmt::format("--processes 8 --model {}", at("m")))), 1, "shards 4 for 8"));
  EXPECT_TRUE(fails_in_one_line(run(prior(fmt::format("--model {}", at("m")), {{"shards", "3"}})), 1,
                                "shards 3, expected a number that divides batch_size 8"));
}

TEST_F(Ranks, StopTogetherOnASignalAndSaveTheirState) {
  const auto command = prior(fmt::format("--steps 100000 --save-every 5 --processes 2 --model {}", at("m")));
  const auto parent = start(fmt::format("{} {}", program(), command), "log");
  for (int i = 0; i < 600 && !fs::exists(state("m", "prior")); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ::kill(parent, SIGTERM);
  int status = 0;
  ::waitpid(parent, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3) << contents(folder_ / "log");
  EXPECT_NE(contents(folder_ / "log").find("--resume goes on"), std::string::npos);
}

}  // namespace ranks_test
}  // namespace tessera
