// `tessera evaluate` and `tessera compare`, run as a user does, on a tiny model with random weights.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "codec/codec.h"
#include "denoiser/transformer.h"
#include "image/image_io.h"
#include "runtime/atomic_file.h"

namespace tessera {
namespace evaluate_verb_test {

namespace fs = std::filesystem;
using nlohmann::json;

struct Outcome {
  int status = -1;
  std::string output;  // standard output and error together
};

Outcome run(const std::string& arguments) {
  Outcome outcome;
  const auto command = fmt::format("'{}' {} 2>&1", TESSERA_PROGRAM, arguments);
  FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) return outcome;
  char buffer[4096];
  for (std::size_t count = 0; (count = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    outcome.output.append(buffer, count);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

/// 16x16 pictures, 8x8 cells of 16 codes.
void write_model(const fs::path& folder, std::uint64_t seed, bool autoregressive, bool head = true) {
  torch::manual_seed(seed);
  CodecOptions codec_options;
  codec_options.image_size = 16;
  codec_options.channel_multipliers = {1, 1};
  codec_options.attention_resolutions = {};
  codec_options.embedding_width = 8;
  codec_options.codebook_size = 16;
  codec_options.logsigma_head = head;
  Codec codec(codec_options);
  TransformerOptions options;
  options.kind = autoregressive ? TransformerKind::autoregressive : TransformerKind::bidirectional;
  options.codebook_size = 16;
  options.grid = {8, 8};
  options.layers = 1;
  options.heads = 2;
  options.width = 16;
  Transformer prior(options, Initialisation::small_normal, seed);
  Bundle bundle;
  bundle.codec = BundlePart{to_json(codec_options), codec->weights()};
  bundle.denoiser = BundlePart{options.to_config(), prior->state()};
  bundle.scheduler = json{{"_class_name", "TesseraProcess"},
                          {"tessera",
                           {{"format", 1},
                            {"process", autoregressive ? "autoregressive" : "absorbing"},
                            {"total_steps", 64},
                            {"mask_schedule", "random"}}}};
  save_bundle(folder, bundle);
}

void write_pictures(const fs::path& folder, int count, int side, std::uint64_t seed) {
  fs::create_directories(folder);
  auto generator = at::detail::createCPUGenerator(seed);
  for (int i = 0; i < count; ++i) {
    write_png(folder / fmt::format("{}.png", i),
              to_image(torch::randint(0, 256, {3, side, side}, generator).to(torch::kUInt8)));
  }
}

class EvaluateVerb : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!image_files_supported()) return;
    std::string name = (fs::temp_directory_path() / "tessera-evaluate-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    write_model(folder_ / "absorbing", 1, false);
    write_model(folder_ / "autoregressive", 2, true);
    write_pictures(folder_ / "data", 20, 16, 3);
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  void SetUp() override {
    if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  }

  static std::string path(const std::string& name) { return (folder_ / name).string(); }
  static json report(const std::string& output) { return json::parse(read_file(folder_ / output / "report.json")); }
  /// Data and the settings that make the runs small.
  static std::string common() {
    return fmt::format(
        " --data {} -t 1 --validation-fraction 0.4 -n 8 --part-size 3 --steps 4 -k 2 --kid-subsets 2 --strata 4 "
        "--fid-infinity-points 3 --neighbours 2 --neighbours-shown 3",
        path("data"));
  }
  static inline fs::path folder_;
};

TEST_F(EvaluateVerb, WritesEveryFigureAndASelfContainedReport) {
  const auto outcome = run(
      fmt::format("evaluate -m {} -o {}{} --pixel-bits 5 --time-steps-too", path("absorbing"), path("out"), common()));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const auto got = report("out");
  EXPECT_EQ(got["model"]["prior_hash"].get<std::string>().substr(0, 7), "sha256:");
  EXPECT_EQ(got["data"]["images"], 20);
  EXPECT_GT(got["likelihood"]["bits_per_token"]["mean"].get<double>(), 1);
  EXPECT_LT(got["likelihood"]["bits_per_token"]["low"].get<double>(),
            got["likelihood"]["bits_per_token"]["high"].get<double>());
  EXPECT_TRUE(got["likelihood"]["time_steps"].contains("difference_bits_per_token"));
  EXPECT_EQ(got["likelihood"]["images"].size(), got["reconstruction"]["images"].size());
  EXPECT_TRUE(got["image_likelihood"]["bits_per_dimension"].contains("mean"));
  for (const char* name : {"l1", "psnr_db", "ssim", "ms_ssim_1_scales", "pixel_bits_per_dimension",
                           "reconstruction_distance", "codebook"}) {
    EXPECT_TRUE(got["reconstruction"].contains(name)) << name;
  }
  for (const char* name : {"frechet_distance", "frechet_distance_infinity", "kernel_distance", "precision", "recall",
                           "density", "coverage"}) {
    EXPECT_TRUE(got["distribution"].contains(name)) << name;
  }
  EXPECT_FALSE(got["distribution"]["comparable_with_published"].get<bool>());
  EXPECT_NE(got["distribution"]["features"].get<std::string>().find("NOT comparable"), std::string::npos);
  EXPECT_EQ(got["distribution"]["distance_name"], "FD-MobileNetV2");
  EXPECT_EQ(got["neighbours"]["samples"].size(), 3U);
  // Every report has rows of noise, unseen pictures and copies, in the page, too.
  const auto sets = [](const json& rows) {
    std::vector<std::string> names;
    for (const auto& row : rows) names.push_back(row["set"]);
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(sets(got["references"]["rows"]), (Names{"samples", "held-out pictures", "nearest-neighbour copies",
                                                    "random codes, decoded", "pixel noise"}));
  EXPECT_EQ(got["references"]["rows"][2]["distance_to_nearest_real"], 0);
  EXPECT_EQ(sets(got["reconstruction"]["references"]),
            (Names{"pictures of validation", "training pictures", "pixel noise", "nearest-neighbour copies"}));
  EXPECT_EQ(sets(got["likelihood"]["references"]),
            (Names{"pictures of validation", "training pictures", "random codes", "uniform distribution"}));
  EXPECT_EQ(got["likelihood"]["references"][3]["bits_per_token"], 4);  // log2 of 16 codes
  // The test's codec has a head with random weights.
  EXPECT_EQ(got["reconstruction"]["untrained_heads"], json::array({"decoder.logsigma"}));
  EXPECT_NE(got["command"].get<std::string>().find("tessera evaluate --model"), std::string::npos);
  const auto html = read_file(folder_ / "out/report.html");
  for (const char* part : {"nearest-neighbour copies", "pixel noise", "held-out pictures", "never trained"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_NE(html.find("<svg"), std::string::npos);
  EXPECT_NE(html.find("data:image/png;base64,"), std::string::npos);
  for (const char* outside : {"<script", "<link", "src=\"http", "href="})
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
}

TEST_F(EvaluateVerb, ProcessesAndPartsChangeNoSample) {
  const auto first =
      run(fmt::format("evaluate -m {} -o {}{} --metrics distribution", path("absorbing"), path("one"), common()));
  ASSERT_EQ(first.status, 0) << first.output;
  const auto second = run(fmt::format("evaluate -m {} -o {}{} --metrics distribution --processes 2", path("absorbing"),
                                      path("two"), common()));
  ASSERT_EQ(second.status, 0) << second.output;
  EXPECT_EQ(report("one")["distribution"], report("two")["distribution"]);
  // The samples of other settings are not mistaken for these.
  const auto other = run(fmt::format("evaluate -m {} -o {}{} --metrics distribution --temperature 0.7",
                                     path("absorbing"), path("one"), common()));
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.output.find("other settings"), std::string::npos) << other.output;
}

TEST_F(EvaluateVerb, ASweepGoesOnWhereItStopped) {
  const auto arguments = fmt::format("evaluate -m {} -o {}{} --sweep-steps 2,5 --sweep-samplers ancestral,confidence",
                                     path("absorbing"), path("sweep"), common());
  auto outcome = run(arguments);
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  ASSERT_EQ(report("sweep")["sweep"].size(), 4U);
  EXPECT_EQ(report("sweep")["sweep"][1]["steps"], 5);
  EXPECT_GT(report("sweep")["sweep"][1]["evaluations_an_image"].get<double>(), 0);
  EXPECT_TRUE(fs::exists(folder_ / "sweep/sweep.svg"));
  // A cell marked by hand, without a hash as earlier versions wrote it, is taken as it is; a removed one is measured
  // again, and so is one whose figures are no longer those of its hash.
  const auto cell = folder_ / "sweep/cells/ancestral-s2-t1.json";
  auto kept = json::parse(read_file(cell));
  const double distance = report("sweep")["sweep"][1]["frechet_distance"];
  kept["figures"]["frechet_distance"] = 123456;
  ASSERT_EQ(kept.erase("hash"), 1U);
  write_file_atomically(cell, kept.dump());
  const auto damaged = folder_ / "sweep/cells/confidence-s2-t1.json";
  auto other = json::parse(read_file(damaged));
  const double measured = other["figures"]["frechet_distance"];
  other["figures"]["frechet_distance"] = 654321;
  write_file_atomically(damaged, other.dump());
  fs::remove(folder_ / "sweep/cells/ancestral-s5-t1.json");
  outcome = run(arguments);
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(report("sweep")["sweep"][0]["frechet_distance"], 123456);
  EXPECT_EQ(report("sweep")["sweep"][1]["frechet_distance"], distance);
  EXPECT_EQ(report("sweep")["sweep"][2]["frechet_distance"], measured);
}

TEST_F(EvaluateVerb, AnAutoregressivePriorIsExact) {
  const auto outcome =
      run(fmt::format("evaluate -m {} -o {}{} --metrics likelihood", path("autoregressive"), path("exact"), common()));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_NE(report("exact")["likelihood"]["kind"].get<std::string>().find("exact"), std::string::npos);
}

TEST_F(EvaluateVerb, APixelHeadIsTrainedAndLeavesTheTokensAsTheyAre) {
  write_model(folder_ / "plain", 4, false, false);
  const auto measure =
      fmt::format(" --data {} -t 1 --validation-fraction 0.4 --metrics reconstruction --pixel-bits 8", path("data"));
  const auto without = run(fmt::format("evaluate -m {} -o {}{}", path("plain"), path("no-head"), measure));
  EXPECT_EQ(without.status, 1);
  EXPECT_NE(without.output.find("no logsigma head"), std::string::npos) << without.output;
  std::vector<double> bits;
  std::vector<json> histograms;
  for (const int steps : {1, 60}) {
    const auto model = path(fmt::format("head-{}", steps));
    auto outcome = run(fmt::format(
        "train pixels --data {} -m {} -o {} --steps {} --batch-size 4 --learning-rate 3e-3 --warmup 0 --ema-decay 0 "
        "--validation-fraction 0.4 --precision float32 -t 1",
        path("data"), path("plain"), model, steps));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    const auto output = fmt::format("measured-{}", steps);
    outcome = run(fmt::format("evaluate -m {} -o {}{}", model, path(output), measure));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    bits.push_back(report(output)["reconstruction"]["pixel_bits_per_dimension"]["mean"]);
    histograms.push_back(report(output)["reconstruction"]["codebook"]["histogram"]);
  }
  EXPECT_LT(bits[1], bits[0]);
  EXPECT_EQ(histograms[0], histograms[1]);
}

TEST_F(EvaluateVerb, ComparesModelsAndPictures) {
  auto outcome = run(fmt::format("compare {} {} -o {}{} --metrics likelihood,reconstruction,distribution",
                                 path("absorbing"), path("autoregressive"), path("compared"), common()));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const auto got = report("compared");
  EXPECT_TRUE(got["b_minus_a"].contains("bits_an_image"));
  EXPECT_TRUE(got["b_minus_a"]["psnr_db"].contains("low"));
  EXPECT_EQ(got["a"]["distribution"]["features"], got["b"]["distribution"]["features"]);

  write_pictures(folder_ / "others", 12, 16, 9);
  outcome = run(fmt::format("compare {} {} --features-from {} -t 1 -k 2 --kid-subsets 2 --json --no-cache",
                            path("data"), path("others"), path("absorbing")));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("\"real_images\": 20"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("\"generated_images\": 12"), std::string::npos);
}

TEST_F(EvaluateVerb, BadInputGivesOneLine) {
  write_pictures(folder_ / "few", 3, 16, 5);
  write_pictures(folder_ / "odd", 8, 17, 6);
  std::ofstream(folder_ / "text.pth") << "hello";
  save_safetensors(folder_ / "wrong.safetensors", {{"fc.weight", torch::zeros({2, 2})}});
  const auto model = path("absorbing"), data = path("data");
  struct Case {
    std::string arguments;
    int status;
    std::string part;
  };
  const std::string features = fmt::format(" --features-from {} -t 1 --no-cache", model);
  const std::vector<Case> cases = {
      {"evaluate", 2, "--model"},
      {fmt::format("evaluate -m {} -o x", model), 2, "--data"},
      {fmt::format("evaluate -m {} --data {}", model, data), 2, "-o"},
      {fmt::format("evaluate -m {} --data {} -o x --metrics fid", model, data), 2, "likelihood, reconstruction"},
      {fmt::format("evaluate -m {} --data {} -o x --inception-input nearest", model, data), 2, "clean-fid"},
      {fmt::format("evaluate -m {} --data {} -o x --likelihood-form elbo", model, data), 2, "any-order"},
      {fmt::format("evaluate -m {} --data {} -o x --pixel-bits 9", model, data), 2, "--pixel-bits"},
      {fmt::format("evaluate -m {} --data {} -o x --lpips-vgg a.pth", model, data), 2, "--lpips-heads"},
      {fmt::format("evaluate -m {} --data {} -o x -t 1 --inception {}", model, data, path("text.pth")), 1, "text.pth"},
      {fmt::format("evaluate -m {} --data {} -o x -t 1 --inception {}", model, data, path("wrong.safetensors")), 1,
       "InceptionV3"},
      {fmt::format("evaluate -m {} --data {} -o {} -t 1 --sweep-samplers eulr", model, data, path("x")), 2, "eulr"},
      {fmt::format("evaluate -m {} --draw-only {} --shard 3", model, path("x")), 2, "--shard"},
      {fmt::format("compare {} {}{}", data, path("few"), features), 1, "expected at least 6"},
      {fmt::format("compare {} {}{} -k 2", data, path("odd"), features), 1, "17x17"},
      {fmt::format("compare {} {} -t 1 --features codec", data, data), 2, "--features-from"},
      {fmt::format("compare {} {} -t 1 --features vgg", data, data), 2, "mobilenetv2, squeezenet, codec"},
      {fmt::format("compare {} {} -t 1 --features mobilenetv2 --inception x", data, data), 2, "expected one of them"},
      {fmt::format("compare {} {} -t 1 --features {}/none.json", data, data, data), 1, "none.json"},
      {fmt::format("compare {} {} -t 1 --features squeezenet --feature-size 8", data, data), 1, "17 or more"},
      {fmt::format("compare {} {}", model, model), 2, "--data"},
      {fmt::format("compare {} /nowhere", data), 1, "/nowhere"},
  };
  for (const auto& [arguments, status, part] : cases) {
    const auto outcome = run(arguments);
    EXPECT_EQ(outcome.status, status) << arguments << ": " << outcome.output;
    const auto last = outcome.output.rfind("tessera: ");
    ASSERT_NE(last, std::string::npos) << arguments << ": " << outcome.output;
    const auto message = outcome.output.substr(last);
    EXPECT_NE(message.find(part), std::string::npos) << arguments << ": " << outcome.output;
    EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 1) << arguments << ": " << outcome.output;
  }
}

}  // namespace evaluate_verb_test
}  // namespace tessera
