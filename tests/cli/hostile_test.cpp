// Files of strangers given to the built program: no signal, one line, bounded memory and time.
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "checkpoint/bundle.h"
#include "checkpoint/safetensors.h"
#include "cli/program.h"
#include "runtime/stop_signal.h"

namespace tessera {
namespace hostile_test {

namespace fs = std::filesystem;
using testing::fails_in_one_line;
using testing::quoted;
using testing::run;
using testing::run_command;

std::string bytes_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void put(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string repeated(std::string_view piece, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

/// Runs the program with no more address space than 6 GiB and no more than 10 s of a processor.
testing::Outcome bounded(const std::string& arguments) {
  return run_command(fmt::format("ulimit -v {} -t 10; exec '{}' {}", 6 << 20, TESSERA_PROGRAM, arguments));
}

/// Works on copies of the text model that ships with the program, and on a small trained one.
class Hostile : public testing::ProgramTest {
 protected:
  fs::path copy_of(const std::string& model) const {
    const auto to = folder_ / model;
    fs::remove_all(to);
    fs::copy(fs::path(TESSERA_SOURCE_DIR) / "models" / model, to, fs::copy_options::recursive);
    return to;
  }
};

TEST_F(Hostile, NestingEndsInOneLineInEveryReader) {
  const auto deep = repeated("[", 500'000), objects = repeated("{\"a\":", 150'000);
  for (const auto* file : {"model_index.json", "vqvae/config.json", "transformer/config.json", "scheduler/config.json",
                           "text_encoder/config.json", "tokenizer/vocab.json"}) {
    for (const auto& text : {deep, objects, "{\"a\":" + deep, repeated("{},", 300'000)}) {
      const auto model = copy_of("emoji64-text");
      if (!fs::exists(model / file)) continue;
      put(model / file, text);
      const auto outcome = bounded(fmt::format("generate -t 1 --steps 1 -m {} -o {}", quoted(model), at("o.png")));
      EXPECT_TRUE(fails_in_one_line(outcome, 1, "not a JSON object")) << file << " " << text.substr(0, 8);
    }
  }
  put(folder_ / "r.toml", "[codec]\n" + repeated("a.", 300'000) + "a = 1\n");
  make_pictures("data", 4);
  EXPECT_TRUE(fails_in_one_line(
      bounded(fmt::format("train codec --data {} --out {} --recipe {}", at("data"), at("m"), at("r.toml"))), 1,
      "r.toml:2: a key of more than 32 parts"));
  put(folder_ / "layout.json", deep);
  EXPECT_TRUE(fails_in_one_line(bounded(fmt::format("stitch -m {} --layout {} -o {}", quoted(copy_of("emoji64-text")),
                                                    at("layout.json"), at("o.png"))),
                                1, "layout.json"));
  const auto png = bytes_of(folder_ / "data/000.png");
  put(folder_ / "deep.png", with_png_text(png, {{"tessera", deep}}));
  EXPECT_EQ(bounded("info " + at("deep.png")).status, 0);
  put(folder_ / "data/metadata.jsonl", "{\"file_name\":\"000.png\",\"x\":" + deep + "\n");
  EXPECT_EQ(bounded(fmt::format("dataset pack --data {} --size 16 -o {}", at("data"), at("d.tessera-pack"))).status, 0);
}

TEST_F(Hostile, AConfigurationThatAsksForGigabytesIsComparedFirst) {
  const auto cases = std::vector<std::tuple<std::string, std::string, std::int64_t>>{
      {"text_encoder/config.json", "/hidden_size", 1 << 14},    {"text_encoder/config.json", "/vocab_size", 1 << 22},
      {"transformer/config.json", "/attention_head_dim", 4096}, {"transformer/config.json", "/num_layers", 512},
      {"vqvae/config.json", "/layers_per_block", 512},          {"vqvae/config.json", "/num_vq_embeddings", 1 << 24}};
  for (const auto& [file, field, value] : cases) {
    const auto model = copy_of("emoji64-text");
    auto config = nlohmann::json::parse(bytes_of(model / file));
    config[nlohmann::json::json_pointer(field)] = value;
    put(model / file, config.dump());
    const auto outcome = bounded(fmt::format("generate -t 1 --steps 1 -m {} -o {}", quoted(model), at("o.png")));
    EXPECT_TRUE(fails_in_one_line(outcome, 1, "")) << file << field;
    EXPECT_LT(outcome.output.size(), 30'000u) << file << field;
  }
}

TEST_F(Hostile, LongNamesAndEscapesOfStrangersDoNotReachTheTerminal) {
  const auto model = copy_of("emoji64-text");
  const auto weights = model / "vqvae/diffusion_pytorch_model.safetensors";
  fs::remove(weights);
  put(weights.string() + ".index.json", R"({"weight_map":{"a":")" + std::string(3'000'000, 'x') + "\"}}");
  const auto outcome = bounded(fmt::format("generate -t 1 --steps 1 -m {} -o {}", quoted(model), at("o.png")));
  EXPECT_TRUE(fails_in_one_line(outcome, 1, "[...]"));
  EXPECT_LT(outcome.output.size(), 20'000u);
  const auto other = copy_of("emoji64-text");
  auto config = nlohmann::json::parse(bytes_of(other / "scheduler/config.json"));
  config["tessera"]["sampling"] = {{"sampler", "\x1b[31mred"}};
  put(other / "scheduler/config.json", config.dump());
  EXPECT_EQ(run("info " + quoted(other)).output.find('\x1b'), std::string::npos);
}

TEST_F(Hostile, AFlippedBitIsFoundAndNamed) {
  const auto model = copy_of("emoji64");
  EXPECT_EQ(run("verify " + quoted(model)).status, 0);
  std::mt19937 random(7);
  for (const auto* file :
       {"vqvae/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.safetensors"}) {
    const auto whole = bytes_of(model / file);
    for (int i = 0; i < 3; ++i) {
      auto flipped = whole;
      const auto at_byte = 8 + random() % (whole.size() - 8);
      flipped[at_byte] = static_cast<char>(flipped[at_byte] ^ (1 << (random() % 8)));
      put(model / file, flipped);
      EXPECT_TRUE(
          fails_in_one_line(run(fmt::format("generate -t 1 --steps 1 -m {} -o {}", quoted(model), at("o.png"))), 1, ""))
          << file << " byte " << at_byte;
      EXPECT_FALSE(fs::exists(folder_ / "o.png"));
      EXPECT_TRUE(fails_in_one_line(run("verify " + quoted(model)), 1, ""));
    }
    put(model / file, whole);
  }
}

TEST_F(Hostile, WhatTheProgramWritesCarriesAChecksum) {
  make_pictures("data", 8);
  ASSERT_EQ(run(fmt::format("train codec --data {} --steps 2 --out {} {}", at("data"), at("m"), testing::tiny_codec()))
                .status,
            0);
  ASSERT_EQ(run(fmt::format("dataset pack --data {} --size 16 -o {}", at("data"), at("d.tessera-pack"))).status, 0);
  std::mt19937 random(11);
  for (const auto* file :
       {"m/training/codec/state.safetensors", "m/vqvae/diffusion_pytorch_model.safetensors", "d.tessera-pack"}) {
    const auto whole = bytes_of(folder_ / file);
    ASSERT_EQ(run("verify " + at(file)).status, 0) << file;
    for (int i = 0; i < 5; ++i) {
      auto flipped = whole;
      const auto at_byte = random() % whole.size();
      flipped[at_byte] = static_cast<char>(flipped[at_byte] ^ (1 << (random() % 8)));
      put(folder_ / file, flipped);
      EXPECT_TRUE(fails_in_one_line(run("verify " + at(file)), 1, fs::path(file).filename().string()))
          << file << " byte " << at_byte;
    }
    put(folder_ / file, whole);
  }
}

TEST_F(Hostile, WeightsThatWereExchangedAreNotTakenForTheOldOnes) {
  make_pictures("data", 12);
  const auto codec = [&](const char* out, int seed) {
    return run(fmt::format("train codec --data {} --steps 2 --out {} {} --seed {}", at("data"), at(out),
                           testing::tiny_codec(), seed));
  };
  ASSERT_EQ(codec("a", 1).status, 0);
  ASSERT_EQ(codec("b", 2).status, 0);
  const auto prior =
      fmt::format("train prior --data {} --steps 1 --model {} {}", at("data"), at("a"), testing::tiny_prior());
  ASSERT_EQ(run(prior).status, 0);
  const auto weights = "vqvae/diffusion_pytorch_model.safetensors";
  put(folder_ / "a" / weights, bytes_of(folder_ / "b" / weights));
  fs::remove_all(folder_ / "a/training");
  EXPECT_TRUE(fails_in_one_line(run(prior), 1, "the weights' hash is"));
}

TEST_F(Hostile, AnInterruptedTrainingHasAStatusOfItsOwnAndGoesOn) {
  make_pictures("data", 12);
  for (const int signal : {SIGHUP, SIGTERM, SIGINT}) {
    const auto out = fmt::format("m{}", signal);
    const auto command = fmt::format("train codec --data {} --out {} {} --steps 100000 --save-every 0 --log-every 1",
                                     at("data"), at(out), testing::tiny_codec());
    std::thread killer([&] {
      const auto lines = folder_ / out / "training/codec/metrics.jsonl";
      for (int i = 0; i < 1200 && (!fs::exists(lines) || fs::file_size(lines) == 0); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      std::ifstream lock(folder_ / out / "training/.lock");
      pid_t process = 0;
      if (lock >> process) ::kill(process, signal);
    });
    const auto outcome = run(command);
    killer.join();
    EXPECT_TRUE(fails_in_one_line(outcome, kInterruptedStatus, "--resume")) << signal;
    EXPECT_TRUE(fs::exists(folder_ / out / "training/codec/state.safetensors"));
  }
}

TEST_F(Hostile, AReplacedModelIsTheOldOneOrTheNewOneWhateverMomentTheProgramIsKilled) {
  const auto source = fs::path(TESSERA_SOURCE_DIR) / "models/emoji64";
  const auto model = copy_of("emoji64");
  std::mt19937 random(3);
  int killed = 0;
  for (int i = 0; i < 12; ++i) {
    const auto outcome =
        run_command(fmt::format("timeout -s KILL 0.{:03} '{}' convert -m {} -o {} --dtype {}", 20 + random() % 400,
                                TESSERA_PROGRAM, quoted(source), quoted(model), i % 2 ? "float32" : "float16"));
    killed += outcome.status != 0;
    const auto info = run("info " + quoted(model));
    EXPECT_EQ(info.status, 0) << info.output;
  }
  EXPECT_EQ(run(fmt::format("convert -m {} -o {} --dtype float32", quoted(source), quoted(model))).status, 0);
  for (const auto& entry : fs::directory_iterator(folder_))
    EXPECT_EQ(entry.path().filename().string().find(".staged-"), std::string::npos) << entry.path();
  RecordProperty("kills", killed);
}

}  // namespace hostile_test
}  // namespace tessera
