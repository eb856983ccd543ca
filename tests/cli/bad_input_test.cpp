// What a careless or hostile user gives to every verb: one clear line, exit status 1 or 2, nothing broken left behind.
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "cli/program.h"

namespace tessera {
namespace bad_input_test {

namespace fs = std::filesystem;
using testing::fails_in_one_line;
using testing::quoted;
using testing::run;

/// Arguments for a shell, the exit status, and what the one line says.
struct Case {
  std::string arguments;
  int status;
  std::string says;
};

void put(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Runs on one small trained model, made once.
class BadInput : public testing::ProgramTest {
 protected:
  static void SetUpTestSuite() {
    if (!image_files_supported()) return;
    std::string name = (fs::temp_directory_path() / "tessera-model-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    shared_ = name;
    testing::make_pictures(shared_ / "data", 12);
    const auto common = fmt::format("--data {}/data --steps 1", name);
    auto outcome = run(fmt::format("train codec {} --out {}/m {}", common, name, testing::tiny_codec()));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    outcome = run(fmt::format("train prior {} --model {}/m {}", common, name, testing::tiny_prior()));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
  }
  static void TearDownTestSuite() {
    std::error_code code;
    if (!shared_.empty()) fs::remove_all(shared_, code);
  }
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    model_ = quoted(shared_ / "m");
    data_ = quoted(shared_ / "data");
    put(folder_ / "text.png", "no picture\n");
    put(folder_ / "file", "a file, no folder\n");
    const auto picture = bytes_of(shared_ / "data/000.png");
    put(folder_ / "cut.png", picture.substr(0, picture.size() / 2));
    write_png(folder_ / "small.png", Image(2, 3));
    fs::create_directories(folder_ / "empty");
  }
  void expect(const std::vector<Case>& cases) const {
    for (const auto& [arguments, status, says] : cases) {
      EXPECT_TRUE(fails_in_one_line(run(arguments), status, says)) << "tessera " << arguments;
    }
  }
  /// A copy of the model in which `file` holds other bytes.
  std::string broken_model(const std::string& file, const std::string& bytes) const {
    const auto copy = folder_ / "broken";
    fs::remove_all(copy);
    fs::copy(shared_ / "m", copy, fs::copy_options::recursive);
    put(copy / file, bytes);
    return quoted(copy);
  }

  static inline fs::path shared_;
  std::string model_, data_;
};

TEST_F(BadInput, Generate) {
  const auto good = fmt::format("generate -t 1 -m {} -o {} ", model_, at("out"));
  expect(
      {{"generate", 2, "--model"},
       {fmt::format("generate -m /nowhere/model -o {}", at("out")), 1, "/nowhere/model: no such model folder"},
       {fmt::format("generate -m {} -o {}", at("empty"), at("out")), 1, "model_index.json"},
       {fmt::format("generate -m {} -o {}", at("file"), at("out")), 1, "no such model folder"},
       {good + "-n 0", 2, "--count 0"},
       {good + "-b 0", 2, "--batch 0"},
       {good + "--sampler eulr", 2, "ancestral"},
       {good + "--steps -1", 2, "--steps"},
       {good + "--temperature -1", 2, "temperature"},
       {good + "--top-p 1.5", 2, "top_p"},
       {good + "--seed yes", 2, "--seed"},
       {good + "--dtype float8", 1, "expected one of auto, float32, bfloat16"},
       {good + "--device tpu", 1, "expected cpu"},
       {good + "-t -3", 2, "--threads"},
       {fmt::format("generate -t 1 --steps 1 -m {} -o {}/out", model_, at("file")), 1, "file/out"},
       {fmt::format("generate -t 1 --steps 1 -m {} -o {}/none/out.png", model_, at("file")), 1, "cannot be written"}});
}

TEST_F(BadInput, Verbs) {
  expect({{"", 2, "subcommand"},
          {"generat -m x", 2, "generat: no such verb, expected one of bench"},
          {"generat -m x", 2, "; did you mean generate?"},
          {"xyzzy", 2, "variations, verify\n"},
          {"--frobnicate", 2, "subcommand"}});
}

TEST_F(BadInput, BrokenModels) {
  const auto weights = std::string("vqvae/diffusion_pytorch_model.safetensors");
  const auto whole = bytes_of(shared_ / "m" / weights);
  const auto config = nlohmann::json::parse(bytes_of(shared_ / "m/vqvae/config.json"));
  const auto prior = nlohmann::json::parse(bytes_of(shared_ / "m/transformer/config.json"));
  const auto scheduler = nlohmann::json::parse(bytes_of(shared_ / "m/scheduler/config.json"));
  const auto with = [](nlohmann::json json, const char* pointer, const nlohmann::json& value) {
    json[nlohmann::json::json_pointer(pointer)] = value;
    return json.dump();
  };
  const std::vector<std::tuple<std::string, std::string, std::string>> cases = {
      {"model_index.json", "{\"vqvae\": [", "not a JSON object"},
      {"model_index.json", "[]", "not a JSON object"},
      {weights, "", ""},
      {weights, whole.substr(0, 5), ""},
      {weights, whole.substr(0, whole.size() / 2), ""},
      {weights, std::string(whole.size(), '\xff'), ""},
      {"vqvae/config.json", "{}", ""},
      {"vqvae/config.json", with(config, "/num_vq_embeddings", 17), "17"},
      {"vqvae/config.json", with(config, "/num_vq_embeddings", "many"), "num_vq_embeddings"},
      {"vqvae/config.json", with(config, "/block_out_channels", nlohmann::json::array()), "block_out_channels"},
      {"vqvae/config.json", with(config, "/sample_size", -16), "16"},
      {"vqvae/config.json", with(config, "/tessera/format", 99), "format 99"},
      {"transformer/config.json", with(prior, "/tessera/codebook_size", 15), ""},
      {"transformer/config.json", with(prior, "/tessera/grid", "4x4"), "grid"},
      {"transformer/config.json", with(prior, "/tessera/heads", 0), "heads"},
      {"scheduler/config.json", with(scheduler, "/tessera/total_steps", "many"), "total_steps"},
      {"scheduler/config.json", with(scheduler, "/tessera/total_steps", 0), "total_steps"},
      {"scheduler/config.json", with(scheduler, "/tessera/process", "uniform"), "process"},
      {"scheduler/config.json", "", "not a JSON object"}};
  for (const auto& [file, bytes, says] : cases) {
    const auto model = broken_model(file, bytes);
    EXPECT_TRUE(
        fails_in_one_line(run(fmt::format("generate -t 1 --steps 1 -m {} -o {}", model, at("out.png"))), 1, says))
        << file << ": " << bytes.substr(0, 200);
  }
  expect({{fmt::format("reconstruct -m {} --data {} -o {}", broken_model(weights, whole.substr(0, 99)), data_,
                       at("r.png")),
           1, ""},
          {fmt::format("convert -m {} -o {}", broken_model(weights, whole.substr(0, 99)), at("c")), 1, ""},
          {fmt::format("bench --repeats 1 -m {}", broken_model(weights, whole.substr(0, 99))), 1, ""},
          {fmt::format("info {}", broken_model(weights, whole.substr(0, 99))), 1, ""}});
}

TEST_F(BadInput, CodecVerbs) {
  save_safetensors(folder_ / "float.safetensors", {{"tokens", torch::zeros({1, 4, 4})}});
  save_safetensors(folder_ / "flat.safetensors", {{"tokens", torch::zeros({16}, torch::kInt32)}});
  save_safetensors(folder_ / "none.safetensors", {{"tokens", torch::zeros({0, 4, 4}, torch::kInt32)}});
  save_safetensors(folder_ / "large.safetensors", {{"tokens", torch::full({1, 4, 4}, 99, torch::kInt32)}});
  save_safetensors(folder_ / "mask.safetensors", {{"tokens", torch::full({1, 4, 4}, 16, torch::kInt32)}});
  save_safetensors(folder_ / "other.safetensors", {{"tokens", torch::zeros({1, 4, 4}, torch::kInt32)}},
                   {{"codebook_size", "512"}});
  const auto decode = fmt::format("decode -t 1 -m {} -o {} --tokens ", model_, at("d"));
  const auto reconstruct = fmt::format("reconstruct -t 1 -m {} -o {} ", model_, at("r.png"));
  const auto encode = fmt::format("encode -t 1 -m {} -o {} ", model_, at("t.safetensors"));
  expect({{decode + at("absent.safetensors"), 1, "absent.safetensors"},
          {decode + at("text.png"), 1, "text.png"},
          {decode + at("float.safetensors"), 1, "whole numbers"},
          {decode + at("flat.safetensors"), 1, "[N, h, w]"},
          {decode + at("none.safetensors"), 1, "empty"},
          {decode + at("large.safetensors"), 1, ""},
          {decode + at("mask.safetensors"), 1, "MASK"},
          {decode + at("other.safetensors"), 1, "tokens of 512 codes, the model has 16"},
          {reconstruct, 2, "either --image or --data"},
          {reconstruct + "-i " + at("absent.png"), 1, "absent.png"},
          {reconstruct + "-i " + at("text.png"), 1, "text.png"},
          {reconstruct + "-i " + at("cut.png"), 1, "cut.png"},
          {reconstruct + "-i " + at("small.png"), 1, "expected at least 4x4"},
          {reconstruct + "--data " + data_ + " -n 0", 2, "--count 0"},
          {reconstruct + "--data " + data_ + " --split tset", 1, "train, validation, test, all"},
          {reconstruct + "--data " + data_ + " --split test", 1, "no test images"},
          {reconstruct + "--data " + data_ + " --background mauve", 1, "mauve"},
          {reconstruct + "--data " + at("empty"), 1, "empty"},
          {encode, 2, "either --image or --data"},
          {encode + "-i " + at("text.png"), 1, "text.png"},
          {fmt::format("encode -t 1 -m {} -i {} -o {}/no/t.safetensors", model_, quoted(shared_ / "data/000.png"),
                       at("empty")),
           1, "cannot be written"},
          {fmt::format("convert -m {} -o {} --dtype int4", model_, at("c")), 2, "int4"},
          {fmt::format("convert -m {} -o {}", model_, at("file")), 1, "file"},
          {"bench --repeats 0 -m " + model_, 2, "--repeats 0"},
          {"bench --dtype int4", 1, "expected one of"}});
}

TEST_F(BadInput, TrainingACodec) {
  put(folder_ / "recipe.toml", "[codec]\nimage_size = \"big\"\n");
  put(folder_ / "torn.toml", "[codec\n");
  put(folder_ / "cut.zip", "PK\x03\x04 and no more");
  put(folder_ / "texts/a.png", "no picture");
  const auto on = [&](const std::string& data) {
    return fmt::format("train codec --out {} {} --data {}", at("m"), testing::tiny_codec(), data);
  };
  const auto with = [&](const testing::Flags& changed) {
    return fmt::format("train codec --out {} {} --data {}", at("m"), testing::tiny_codec(changed), data_);
  };
  expect({{"train", 2, ""},
          {fmt::format("train codec --out {}", at("m")), 2, "--data"},
          {on("/nowhere/data"), 1, "/nowhere/data"},
          {on(at("s-{0..3}.tar")), 1, "s-0.tar"},
          {on(at("empty")), 1, "empty"},
          {on(at("cut.zip")), 1, "cut.zip"},
          {on(at("file")), 1, "file"},
          {on(at("texts")), 1, "texts"},
          {with({{"image-size", "64"}}), 1, "64"},  // larger than the pictures
          {with({{"image-size", "18"}}), 1, "image size 18"},
          {with({{"batch-size", "0"}}), 1, "batch_size 0"},
          {with({{"steps", "-5"}}), 1, "steps -5"},
          {with({{"learning-rate", "0"}}), 1, "learning_rate 0"},
          {with({{"base-channels", "7"}}), 1, "7 base channels"},
          {with({{"channel-multipliers", "1,x"}}), 2, "channel-multipliers"},
          {with({{"codebook-size", "1"}}), 1, "codebook size 1"},
          {with({{"quantizer", "softest"}}), 1, "nearest, gumbel, ema"},
          {with({{"adversarial", "true"}, {"discriminator-layers", "3"}}), 1, "discriminator_layers 3"},
          {with({{"lpips-vgg", "/nowhere/vgg.pth"}}), 1, "go together"},
          {with({{"lpips-vgg", "/nowhere/vgg.pth"}, {"lpips-heads", "/nowhere/heads.pth"}}), 1, "/nowhere/heads.pth"},
          {with({{"validation-fraction", "1.5"}}), 1, "validation_fraction"},
          {with({{"precision", "float8"}}), 1, "auto, float32, bfloat16"},
          {on(data_) + " --recipe " + at("absent.toml"), 1, "absent.toml"},
          {on(data_) + " --recipe " + at("recipe.toml"), 1, "recipe.toml:2: image_size"},
          {on(data_) + " --recipe " + at("torn.toml"), 1, "torn.toml:1"},
          {on(data_) + " --steps 1 --resume", 1, "no saved state"},
          {fmt::format("train codec --steps 1 --data {} --out {} {}", data_, at("file"), testing::tiny_codec()), 1,
           "file"}});
  EXPECT_FALSE(fs::exists(folder_ / "m/vqvae"));
}

TEST_F(BadInput, TrainingAPrior) {
  const auto grids = [](std::int64_t low, std::int64_t high, std::int64_t count, std::int64_t side) {
    return torch::randint(low, high, {count, side, side}, torch::kInt32);
  };
  save_safetensors(folder_ / "k9.safetensors", {{"train", grids(0, 9, 8, 4)}, {"validation", grids(0, 9, 2, 4)}},
                   {{"codebook_size", "9"}});
  save_safetensors(folder_ / "word.safetensors", {{"train", grids(0, 9, 8, 4)}, {"validation", grids(0, 9, 2, 4)}},
                   {{"codebook_size", "nine"}});
  save_safetensors(folder_ / "below.safetensors", {{"train", grids(-3, 9, 50, 4)}, {"validation", grids(0, 9, 2, 4)}});
  save_safetensors(folder_ / "above.safetensors", {{"train", grids(0, 9, 50, 4)}, {"validation", grids(0, 9, 2, 4)}},
                   {{"codebook_size", "5"}});
  save_safetensors(folder_ / "sides.safetensors", {{"train", grids(0, 9, 8, 4)}, {"validation", grids(0, 9, 2, 5)}});
  save_safetensors(folder_ / "half.safetensors", {{"train", grids(0, 9, 8, 4)}});
  const auto on = [&](const std::string& model, const std::string& data, const testing::Flags& changed = {}) {
    return fmt::format("train prior --model {} --data {} --steps 1 {}", model, data, testing::tiny_prior(changed));
  };
  const auto good = at("k9.safetensors");
  expect({{on(model_, good), 1, "tokens of 9 codes, the codec in"},
          {on(at("p"), at("word.safetensors")), 1, "'nine'"},
          {on(at("p"), at("below.safetensors")), 1, "expected 0 to"},
          {on(at("p"), at("above.safetensors")), 1, "expected 0 to 4"},
          {on(at("p"), at("sides.safetensors")), 1, "5x5"},
          {on(at("p"), at("half.safetensors")), 1, "'train' and 'validation'"},
          {on(at("p"), data_), 1, "no such model folder"},
          {on(at("p"), good, {{"batch-size", "0"}}), 1, "batch_size 0"},
          {on(at("p"), good, {{"heads", "3"}}), 1, "heads"},
          {on(at("p"), good, {{"flip", "true"}}), 2, "--flip"},
          {on(at("p"), good, {{"loss", "elbow"}}), 1, "elbow"},
          {on(model_, data_), 1, "--resume to go on"}});
}

TEST_F(BadInput, NanLossKeepsTheLastGoodState) {
  const auto command =
      fmt::format("train codec --data {} --out {} {} --save-every 1 ", data_, at("m"), testing::tiny_codec());
  // The first step passes; what it does to the weights the next one meets.
  EXPECT_TRUE(fails_in_one_line(run(command + "--learning-rate 1e30 --steps 60"), 1, "the last good state (step "));
  const auto state = folder_ / "m/training/codec/state.safetensors";
  ASSERT_TRUE(fs::exists(state));
  for (const auto& [name, tensor] : load_safetensors(state)) EXPECT_FALSE(tensor.isnan().any().item<bool>()) << name;
}

TEST_F(BadInput, AFullDiskLeavesTheOldStateAndAClearError) {
  const auto command = fmt::format("'{}' train codec --data {} --out {} {} --save-every 1", TESSERA_PROGRAM, data_,
                                   at("m"), testing::tiny_codec());
  // A limit on the size of files stands in for the full disk: 512-byte blocks; the state is larger.
  const auto full = [](const std::string& text) {
    return testing::run_command("trap '' XFSZ; ulimit -f 64; exec " + text);
  };
  EXPECT_TRUE(fails_in_one_line(full(command + " --steps 6"), 1, "state.safetensors: cannot be written"));
  EXPECT_FALSE(fs::exists(folder_ / "m/training/codec/state.safetensors"));
  ASSERT_EQ(testing::run_command(command + " --steps 6").status, 0);
  const auto state = bytes_of(folder_ / "m/training/codec/state.safetensors");
  EXPECT_TRUE(fails_in_one_line(full(command + " --steps 8 --resume"), 1, "state.safetensors: cannot be written"));
  EXPECT_EQ(bytes_of(folder_ / "m/training/codec/state.safetensors"), state);
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "m")) {
    EXPECT_EQ(entry.path().filename().string().find(".partial-"), std::string::npos) << entry.path();
  }
}

TEST_F(BadInput, ATornStateIsRefused) {
  const auto command =
      fmt::format("train codec --data {} --out {} {} --steps 1", data_, at("m"), testing::tiny_codec());
  ASSERT_EQ(run(command).status, 0);
  const auto state = folder_ / "m/training/codec/state.safetensors";
  const auto whole = bytes_of(state);
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, whole.size() / 2, whole.size() - 1}) {
    put(state, whole.substr(0, size));
    EXPECT_TRUE(fails_in_one_line(run(command + " --resume"), 1, "state.safetensors")) << size;
  }
  // A state that was written so, without a checksum that would tell first.
  auto renamed = whole;
  const auto checksum = renamed.find("tessera.sha256");
  ASSERT_NE(checksum, std::string::npos);
  renamed.replace(checksum, 7, "another");
  const auto step = renamed.find("\"step\":\"1\"");
  ASSERT_NE(step, std::string::npos);
  renamed[step + 8] = 'x';
  put(state, renamed);
  EXPECT_TRUE(fails_in_one_line(run(command + " --resume"), 1, "step 'x'"));
}

}  // namespace bad_input_test
}  // namespace tessera
