/// Text to image as a user types it, and what the program says where that cannot work.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/fixtures.h"
#include "support/scratch.h"

namespace tessera {
namespace text_to_image_test {

namespace fs = std::filesystem;
using testing::fails_in_one_line;
using testing::quoted;
using testing::run;

/// A copy of the released layout that may be changed.
fs::path pipeline_copy() {
  const auto folder = testing::scratch_folder("text-to-image");
  fs::copy(testing::fixture_cases("vq-diffusion-pipeline").front().folder, folder, fs::copy_options::recursive);
  return folder;
}

void edit_json(const fs::path& file, const std::function<void(nlohmann::json&)>& change) {
  std::ifstream in(file);
  auto value = nlohmann::json::parse(in);
  in.close();
  change(value);
  std::ofstream(file) << value.dump(1);
}

std::string generate(const fs::path& model, const std::string& rest) {
  return fmt::format("generate -m {} --dtype float32 -o {} {}", quoted(model), quoted(model / "out.png"), rest);
}

std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(TextToImage, AReleasedFolderMakesThePromptsPicture) {
  const auto model = pipeline_copy();
  const auto flags = "-p 'a teddy bear playing in the pool' --cfg-scale 3 --truncation 0.86 --steps 20 -s 4";
  const auto first = run(generate(model, flags));
  ASSERT_EQ(first.status, 0) << first.output;
  const auto picture = bytes_of(model / "out.png");
  EXPECT_NE(picture.find("teddy bear"), std::string::npos) << "the prompt belongs into the picture's record";
  ASSERT_EQ(run(generate(model, "-p 'another prompt' --cfg-scale 3 --truncation 0.86 --steps 20 -s 4")).status, 0);
  EXPECT_NE(bytes_of(model / "out.png"), picture);
  for (const char* other : {"--negative-prompt 'blurry' -p x --steps 5", "--sampler purity --steps 5 -p x", "--steps 5",
                            "-n 3 --steps 5 -p x", "-W 12 -H 8 -p x --steps 5"}) {
    const auto outcome = run(generate(model, other));
    EXPECT_EQ(outcome.status, 0) << other << outcome.output;
  }
}

/// Mean of all colour values of the pictures that the shipped model makes of a prompt.
double brightness(const std::string& prompt) {
  const auto folder = testing::scratch_folder("shipped-text");
  const auto model = fs::path(TESSERA_SOURCE_DIR) / "models" / "emoji64-text";
  const auto made =
      run(fmt::format("generate -m {} -p '{}' -n 4 --steps 20 --seed 1 -o {}", quoted(model), prompt, quoted(folder)));
  EXPECT_EQ(made.status, 0) << made.output;
  double sum = 0, count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename() == "sheet.png") continue;
    const auto image = read_image(entry.path());
    for (const auto value : image.pixels) sum += value;
    count += static_cast<double>(image.pixels.size());
  }
  fs::remove_all(folder);
  EXPECT_GT(count, 0);
  return sum / count;
}

TEST(TextToImage, TheShippedModelFollowsSkinTones) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  for (const char* who : {"woman", "judge", "person: curly hair"}) {
    EXPECT_GT(brightness(fmt::format("{}: light skin tone", who)),
              brightness(fmt::format("{}: dark skin tone", who)) + 5)
        << who;
  }
}

TEST(TextToImage, EditingVerbsTakeAPrompt) {
  const auto model = pipeline_copy();
  ASSERT_EQ(run(generate(model, "-p x --steps 5")).status, 0);
  const auto outcome =
      run(fmt::format("inpaint -m {} --dtype float32 -i {} --box 0,0,4,4 -p 'a red bus' --steps 5 -o {}", quoted(model),
                      quoted(model / "out.png"), quoted(model / "edited.png")));
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_TRUE(fs::exists(model / "edited.png"));
}

TEST(TextToImage, MissingPartsAreNamed) {
  for (const auto& [part, says] : std::vector<std::pair<std::string, std::string>>{
           {"text_encoder", "model_index.json lists text_encoder, but there is no such folder"},
           {"tokenizer", "model_index.json lists tokenizer, but there is no such folder"},
           {"scheduler", "model_index.json lists scheduler, but there is no such folder"},
           {"vqvae", "model_index.json lists vqvae, but there is no such folder"},
           {"tokenizer/merges.txt", "the tokenizer lacks merges.txt"},
           {"tokenizer/vocab.json", "the tokenizer lacks vocab.json"}}) {
    const auto model = pipeline_copy();
    fs::remove_all(model / part);
    EXPECT_TRUE(fails_in_one_line(run(generate(model, "-p x")), 1, says)) << part;
  }
  const auto model = pipeline_copy();
  edit_json(model / "model_index.json", [](auto& index) { index["text_encoder"] = {nullptr, nullptr}; });
  EXPECT_TRUE(fails_in_one_line(run(generate(model, "-p x")), 1,
                                "the denoiser takes text, but the bundle holds no text_encoder/"));
  fs::remove(model / "transformer" / "diffusion_pytorch_model.bin");
  fs::remove(model / "transformer" / "diffusion_pytorch_model.safetensors");
  EXPECT_TRUE(
      fails_in_one_line(run(generate(model, "-p x")), 1, "holds neither diffusion_pytorch_model.safetensors nor"));
}

TEST(TextToImage, PartsThatDoNotFitAreNamed) {
  const auto change = [](const char* file, const std::function<void(nlohmann::json&)>& edit) {
    const auto model = pipeline_copy();
    edit_json(model / file, edit);
    return run(generate(model, "-p x"));
  };
  EXPECT_TRUE(fails_in_one_line(change("scheduler/scheduler_config.json", [](auto& c) { c["num_vec_classes"] = 44; }),
                                1, "44 classes with MASK, expected 33 as the denoiser has"));
  EXPECT_TRUE(
      fails_in_one_line(change("scheduler/scheduler_config.json", [](auto& c) { c["num_train_timesteps"] = 7; }), 1,
                        "7 time steps, expected 100 as the denoiser has"));
  EXPECT_TRUE(fails_in_one_line(
      change("scheduler/scheduler_config.json",
             [](auto& c) {
               c["tessera"] = {{"process", "melting"}};
             }),
      1, "process 'melting': expected one of absorbing, gaussian, mask-and-replace, nearest-embedding, uniform"));
  EXPECT_TRUE(fails_in_one_line(change("transformer/config.json", [](auto& c) { c["activation_fn"] = "geglu"; }), 1,
                                "activation_fn 'geglu': expected one of geglu-approximate, gelu"));
  EXPECT_TRUE(fails_in_one_line(change("transformer/config.json", [](auto& c) { c["num_vector_embeds"] = 40; }), 1,
                                "expected [40, 32]"));
  EXPECT_TRUE(fails_in_one_line(change("text_encoder/config.json", [](auto& c) { c["vocab_size"] = 1300; }), 1,
                                "expected [1300, 32]"));
  EXPECT_TRUE(fails_in_one_line(change("tokenizer/vocab.json", [](auto& c) { c["zzzz"] = 1280; }), 1,
                                "1281 entries, expected 1280 as merges.txt makes"));
}

TEST(TextToImage, PromptsThatCannotBeReadAreNamed) {
  const auto model = pipeline_copy();
  EXPECT_TRUE(
      fails_in_one_line(run(generate(model, "-p \"$(printf 'a\\377b')\"")), 1, "prompt: byte 1 (0xff) is no UTF-8"));
  EXPECT_TRUE(fails_in_one_line(run(generate(model, "-p \"$(head -c 20000 /dev/zero | tr '\\0' a)\"")), 2,
                                "prompt is a text of 20000 bytes, expected a text of at most 16384 bytes"));
  const auto cut = run(generate(model, "--steps 2 -p \"$(printf 'word %.0s' $(seq 100))\""));
  EXPECT_EQ(cut.status, 0) << cut.output;
  EXPECT_NE(cut.output.find("the model reads 77: its end is left out"), std::string::npos) << cut.output;
  EXPECT_TRUE(fails_in_one_line(run(generate(model, "--class 3")), 2,
                                "class: the model takes text, expected a model with classes"));
  EXPECT_TRUE(
      fails_in_one_line(run(generate(model, "--truncation 2 -p x")), 2, "top_p is 2, expected above 0, at most 1"));
}

TEST(TextToImage, TheOriginalsCheckpointImports) {
  const auto fixture = testing::fixture_cases("vq-diffusion-original").front();
  const auto merges = fs::path(TESSERA_FIXTURES_DEFAULT) / "clip-tokenizer";
  const auto out = testing::scratch_folder("import") / "model";
  const auto checkpoint = quoted(fixture.folder / "checkpoint.pth");
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("import {} -o {}", checkpoint, quoted(out))), 1,
                                "the text encoder needs CLIP's merges.txt"));
  const auto imported = run(fmt::format("import {} --tokenizer {} -o {}", checkpoint, quoted(merges), quoted(out)));
  ASSERT_EQ(imported.status, 0) << imported.output;
  const auto made = run(generate(out, "-p 'two birds' --cfg-scale 3 --truncation 0.86 --steps 25"));
  EXPECT_EQ(made.status, 0) << made.output;
}

TEST(TextToImage, ASmallModelLearnsFromCaptions) {
  const auto folder = testing::scratch_folder("captions");
  testing::make_pictures(folder / "pictures", 16);
  std::string lines;
  for (const auto& entry : fs::directory_iterator(folder / "pictures")) {
    lines += nlohmann::json(
                 {{"file_name", entry.path().filename().string()}, {"text", "pattern " + entry.path().stem().string()}})
                 .dump() +
             "\n";
  }
  std::ofstream(folder / "pictures" / "metadata.jsonl") << lines;
  const auto model = quoted(folder / "model"), data = quoted(folder / "pictures");
  const auto codec = run(fmt::format(
      "train codec --data {} -o {} --image-size 16 --base-channels 32 --channel-multipliers 1 1 --codebook-size 16 "
      "--no-adversarial --steps 2 --batch-size 4 --precision float32",
      data, model));
  ASSERT_EQ(codec.status, 0) << codec.output;
  const auto common = fmt::format(
      "train prior --data {} -m {} --steps 3 --batch-size 4 --layers 1 --heads 2 --width 16 --precision float32 "
      "--total-steps 10 --validation-grids 2 ",
      data, model);
  for (const char* process : {"mask-and-replace", "absorbing", "uniform", "gaussian", "nearest-embedding"}) {
    const auto trained = run(
        common + fmt::format("--process {} --condition text --text-width 16 --text-layers 1 --text-length 8", process));
    ASSERT_EQ(trained.status, 0) << trained.output;
    const auto made = run(generate(folder / "model", "-p 'pattern 3' --cfg-scale 2"));
    EXPECT_EQ(made.status, 0) << process << made.output;
    fs::remove_all(folder / "model" / "training" / "prior");
  }
  const auto evaluate =
      fmt::format("evaluate -m {} --data {} -o {} --metrics captions --split all --steps 3 --no-cache ", model, data,
                  quoted(folder / "report"));
  const auto evaluated = run(evaluate + "--captions 5 --captions-each 2 --cfg-scale 2");
  ASSERT_EQ(evaluated.status, 0) << evaluated.output;
  EXPECT_NE(evaluated.output.find("captions whose own picture is nearest"), std::string::npos) << evaluated.output;
  std::ifstream report(folder / "report" / "report.json");
  const auto figures = nlohmann::json::parse(report)["captions"];
  EXPECT_EQ(figures["captions"], 5);
  EXPECT_EQ(figures["images"].size(), 5U);
  EXPECT_NEAR(figures["chance_top1"].get<double>(), 0.2, 1e-12);
  EXPECT_EQ(figures["settings"]["guidance_scale"], 2.0);
  EXPECT_TRUE(fails_in_one_line(run(evaluate + "--captions 1"), 2, "--captions 1: expected 2 or more"));
  EXPECT_TRUE(fails_in_one_line(run(evaluate + "--captions 17"), 1,
                                "captions: 16 different ones in this part of the pictures, expected 17"));
  EXPECT_TRUE(fails_in_one_line(run(evaluate + "--captions 5 -p x"), 2, "expected no --prompt"));
  const auto likelihood =
      run(fmt::format("evaluate -m {} --data {} -o {} --metrics likelihood --split all --strata 5 --no-cache", model,
                      data, quoted(folder / "likelihood")));
  ASSERT_EQ(likelihood.status, 0) << likelihood.output;
  std::ifstream likelihood_report(folder / "likelihood" / "report.json");
  const auto bound = nlohmann::json::parse(likelihood_report)["likelihood"];
  EXPECT_GT(bound["bits_per_token"]["mean"].get<double>(), 0);
  EXPECT_LT(bound["bits_per_token"]["mean"].get<double>(), 8);  // 4 bits: all codes alike
  EXPECT_EQ(bound["images"].size(), 16U);
  EXPECT_NE(bound["bits_per_token_that_the_condition_saves"]["mean"].get<double>(), 0);
  const auto bench = run(fmt::format("bench -m {} --quick --repeats 1 -t 1", model));
  EXPECT_EQ(bench.status, 0) << bench.output;
  EXPECT_NE(bench.output.find("with guidance on"), std::string::npos) << bench.output;
  const auto plain = run(common + "--process uniform");
  ASSERT_EQ(plain.status, 0) << plain.output;
  EXPECT_TRUE(
      fails_in_one_line(run(evaluate + "--captions 5"), 1, "the model takes no condition, expected one with text"));
  EXPECT_EQ(run(generate(folder / "model", "")).status, 0);
  EXPECT_TRUE(fails_in_one_line(run(generate(folder / "model", "-p x")), 2,
                                "prompt: the model takes no condition, expected a model with text"));
  EXPECT_TRUE(fails_in_one_line(run(common + "--process melting"), 1, "process 'melting': expected one of"));
  EXPECT_TRUE(
      fails_in_one_line(run(common + "--condition smell"), 1, "condition 'smell': expected one of none, text, class"));
}

TEST(TextToImage, AModelOfClassesKnowsThemByName) {
  const auto folder = testing::scratch_folder("class-names");
  for (const char* name : {"cat", "big dog"}) testing::make_pictures(folder / "pictures" / name, 8);
  const auto model = quoted(folder / "model"), data = quoted(folder / "pictures");
  const auto codec = run(fmt::format(
      "train codec --data {} -o {} --image-size 16 --base-channels 32 --channel-multipliers 1 1 --codebook-size 16 "
      "--no-adversarial --steps 2 --batch-size 4 --precision float32",
      data, model));
  ASSERT_EQ(codec.status, 0) << codec.output;
  const auto prior = run(fmt::format(
      "train prior --data {} -m {} --condition class --process mask-and-replace --steps 3 --batch-size 4 --layers 1 "
      "--heads 2 --width 16 --precision float32 --total-steps 10 --validation-grids 2",
      data, model));
  ASSERT_EQ(prior.status, 0) << prior.output;
  const auto info = nlohmann::json::parse(run(fmt::format("info {} --json", model)).output);
  EXPECT_EQ(info["prior"]["class_names"], (std::vector<std::string>{"big dog", "cat"}));
  const auto picture_of = [&](const std::string& flags) {
    const auto made = run(fmt::format("generate -m {} -n 2 --steps 4 --dtype float32 -o {} {}", model,
                                      quoted(folder / "out.png"), flags));
    EXPECT_EQ(made.status, 0) << made.output;
    return bytes_of(folder / "out.png");
  };
  const auto named = picture_of("--class 'big dog'");
  EXPECT_NE(named.find("\"class_name\":\"big dog\""), std::string::npos) << "the record says which class it was";
  EXPECT_TRUE(fails_in_one_line(run(generate(folder / "model", "--class dgo")), 2,
                                "class is 'dgo', expected one of big dog, cat, or a number from 0 to 1"));
  // A class of other pictures is looked for by its name, not by the number that their folders give it.
  fs::rename(folder / "pictures" / "cat", folder / "pictures" / "lynx");
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("evaluate -m {} --data {} -o {} --metrics likelihood --split all "
                                                "--strata 5 --no-cache",
                                                model, data, quoted(folder / "report"))),
                                1, "its class 'lynx' is not among the model's, expected one of big dog, cat"));
}

}  // namespace text_to_image_test
}  // namespace tessera
