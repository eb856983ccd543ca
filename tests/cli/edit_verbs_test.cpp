/// The editing verbs as a user runs them, with the shipped model and few steps.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "image/image_io.h"
#include "support/fixtures.h"

namespace tessera {
namespace edit_verbs_test {

namespace fs = std::filesystem;

struct Outcome {
  int status = -1;
  std::string output;  // standard output and error together
};

Outcome shell(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  Outcome outcome;
  std::array<char, 4096> chunk{};
  while (const auto count = std::fread(chunk.data(), 1, chunk.size(), pipe)) outcome.output.append(chunk.data(), count);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

Outcome run(const std::string& arguments) {
  return shell(std::string(TESSERA_PROGRAM) + " " + arguments);
}

Image gradient(int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<std::uint8_t>(x * 3 % 256);
      image.at(x, y)[1] = static_cast<std::uint8_t>(y * 3 % 256);
      image.at(x, y)[2] = static_cast<std::uint8_t>((x + y) * 2 % 256);
    }
  }
  return image;
}

bool same_pixel(const Image& a, int ax, int ay, const Image& b, int bx, int by) {
  return std::equal(a.at(ax, ay), a.at(ax, ay) + 3, b.at(bx, by));
}

class EditVerbs : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
    std::string name = (fs::temp_directory_path() / "tessera-edit-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    write_png(folder_ / "a.png", gradient(64, 64));
    write_png(folder_ / "b.png", Image(80, 64, {200, 30, 60}));
    write_png(folder_ / "black.png", Image(64, 64, {0, 0, 0}));
    write_png(folder_ / "small.png", Image(40, 24));
  }
  void TearDown() override {
    std::error_code code;
    if (!folder_.empty()) fs::remove_all(folder_, code);
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  /// Model, picture and few steps for a verb.
  std::string with_model(const std::string& rest, int steps = 2) const {
    return fmt::format("{} -m {}/models/emoji64 -t 1 --steps {}", rest, TESSERA_SOURCE_DIR, steps);
  }
  Image picture(const std::string& name) const { return read_image(folder_ / name); }

  fs::path folder_;
};

TEST_F(EditVerbs, InpaintingKeepsWhatIsOutsideTheMaskAndItsCommandMakesItAgain) {
  const auto made = run(with_model("inpaint -i " + at("a.png") + " --box 20,24,10,12 --feather 3 --seed 5 -o " +
                                   at("made.png") + " --show-mask"));
  ASSERT_EQ(made.status, 0) << made.output;
  const auto before = picture("a.png"), after = picture("made.png");
  ASSERT_EQ(after.width, 64);
  bool changed = false;
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      const bool near = x >= 17 && x < 33 && y >= 21 && y < 39;
      const bool same = same_pixel(before, x, y, after, x, y);
      ASSERT_TRUE(near || same) << x << "," << y;
      changed = changed || !same;
    }
  }
  EXPECT_TRUE(changed);
  EXPECT_TRUE(fs::exists(at("made-mask.png")));

  const auto info = run("info --json " + at("made.png"));
  ASSERT_EQ(info.status, 0) << info.output;
  const auto report = nlohmann::json::parse(info.output, nullptr, false);
  ASSERT_TRUE(report.is_object()) << info.output;
  EXPECT_EQ(report["options"]["model"], "emoji64");
  EXPECT_EQ(report["options"]["seed"], 5);
  EXPECT_EQ(report["options"]["sampler"], "mlm");  // as the model suggests
  const auto command = report["command"].get<std::string>();
  ASSERT_TRUE(command.starts_with("tessera inpaint ")) << command;
  fs::rename(at("made.png"), at("first.png"));
  const auto again = run(command.substr(8));
  ASSERT_EQ(again.status, 0) << again.output;
  EXPECT_EQ(picture("made.png"), picture("first.png"));
  EXPECT_NE(run("info " + at("made.png")).output.find(command), std::string::npos);
  EXPECT_NE(run("info " + at("a.png")).output.find("unknown"), std::string::npos);
}

TEST_F(EditVerbs, AKeptRegionGetsNewSurroundingsManyTimes) {
  const auto made =
      run(with_model("inpaint -i " + at("a.png") + " --keep-box 16,16,32,32 -n 3 --json -o " + at("kept")));
  ASSERT_EQ(made.status, 0) << made.output;
  for (const auto* file : {"kept/00000.png", "kept/00001.png", "kept/00002.png", "kept/sheet.png"})
    EXPECT_TRUE(fs::exists(at(file))) << file;
  const auto first = picture("kept/00000.png"), second = picture("kept/00001.png"), before = picture("a.png");
  EXPECT_FALSE(first == second);
  for (int y = 20; y < 44; ++y) {
    for (int x = 20; x < 44; ++x) ASSERT_TRUE(same_pixel(first, x, y, before, x, y));
  }
  const auto report = nlohmann::json::parse(made.output.substr(made.output.find("\n{") + 1), nullptr, false);
  ASSERT_TRUE(report.is_object()) << made.output;
  EXPECT_EQ(report["filled_cells"], 3 * (256 - 64));
}

TEST_F(EditVerbs, OutpaintingVariationsAndStitchingMakePicturesOfTheRightSize) {
  auto made = run(with_model("outpaint -i " + at("a.png") + " --left 7 --bottom 10 -o " + at("wide.png")));
  ASSERT_EQ(made.status, 0) << made.output;
  EXPECT_EQ(picture("wide.png").width, 71);
  EXPECT_EQ(picture("wide.png").height, 74);
  EXPECT_TRUE(same_pixel(picture("wide.png"), 7 + 40, 20, picture("a.png"), 40, 20));

  made = run(with_model("variations -i " + at("small.png") + " --strength 0.3 -n 2 -o " + at("near")));
  ASSERT_EQ(made.status, 0) << made.output;
  EXPECT_EQ(picture("near/00001.png").width, 40);
  EXPECT_EQ(picture("near/00001.png").height, 24);
  made = run(with_model("variations -i " + at("a.png") + " --box 8,8,16,16 --strength 0.5 --least-likely -n 1 -o " +
                        at("one.png")));
  ASSERT_EQ(made.status, 0) << made.output;

  made = run(with_model("stitch --piece '" + at("a.png") + "@0,0,32,32->0,0' --piece '" + at("b.png") +
                        "@3,0,31,32->33,30' -o " + at("stitched.png")));
  ASSERT_EQ(made.status, 0) << made.output;
  EXPECT_EQ(picture("stitched.png").width, 64);
  EXPECT_NE(made.output.find("piece 2 (b.png): 3,0,31,32 to 33,30 snapped to cells of 4 pixels: 3,0,32,32 to 32,32"),
            std::string::npos)
      << made.output;
}

TEST_F(EditVerbs, GeneratingOnACanvasRoundsUpAndCropsBack) {
  // Into a folder that is not there yet.
  const auto made = run(with_model("generate -W 90 -H 33 --sampler confidence --frames " + at("frames") + " -o " +
                                   at("made/for/it/canvas.png")));
  ASSERT_EQ(made.status, 0) << made.output;
  EXPECT_EQ(picture("made/for/it/canvas.png").width, 90);
  EXPECT_EQ(picture("made/for/it/canvas.png").height, 33);
  EXPECT_EQ(picture("frames/00001.png").width, 90);
  EXPECT_EQ(picture("frames/animation.webp").width, 90);
  const auto report = nlohmann::json::parse(run("info --json " + at("made/for/it/canvas.png")).output, nullptr, false);
  EXPECT_EQ(report["options"]["temperature"], 0.8);
}

TEST_F(EditVerbs, SeveralMasksAndPicturesGoInOneCall) {
  write_png(at("white.png"), Image(64, 64));
  auto made =
      run(with_model("inpaint -i " + at("a.png") + " --mask " + at("white.png") + " --box 0,0,5,5 -o " + at("out")));
  ASSERT_EQ(made.status, 0) << made.output;
  made = run(with_model("inpaint -i " + at("a.png") + " -i " + at("b.png") + " --box 0,0,9,9 -n 2 -o " + at("two")));
  ASSERT_EQ(made.status, 0) << made.output;
  EXPECT_EQ(picture("two/00001.png").width, 64);
  EXPECT_EQ(picture("two/00002.png").width, 80);
  EXPECT_FALSE(fs::exists(at("two/sheet.png")));  // of two sizes
}

TEST_F(EditVerbs, AStoppedCanvasGoesOnToTheSamePicture) {
  const auto arguments =
      with_model("generate -W 72 -H 64 --sampler raster -o " + at("long.png") + " --partial " + at("partial"), 16);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c",
            ("exec " + std::string(TESSERA_PROGRAM) + " " + arguments + " > /dev/null 2>&1").c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 15000 && !fs::exists(at("partial")); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  ASSERT_EQ(WEXITSTATUS(status), 1);
  ASSERT_TRUE(fs::exists(at("partial")));
  const auto other = run(arguments + " --resume --seed 9");
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.output.find("was begun with"), std::string::npos) << other.output;
  const auto resumed = run(arguments + " --resume");
  ASSERT_EQ(resumed.status, 0) << resumed.output;
  EXPECT_FALSE(fs::exists(at("partial")));
  fs::rename(at("long.png"), at("resumed.png"));
  ASSERT_EQ(run(arguments).status, 0);
  EXPECT_EQ(picture("long.png"), picture("resumed.png"));
}

TEST_F(EditVerbs, AnAutoregressivePriorCompletesFromTheTopAndSaysWhyItCannotElsewhere) {
  const auto codecs = testing::fixture_cases("unleashing-vqgan");
  const auto priors = testing::fixture_cases("unleashing-autoregressive");
  ASSERT_FALSE(codecs.empty() || priors.empty());
  const auto& h = priors[0].hyperparameters();
  const auto imported =
      run(fmt::format("import {} {} -o {} --heads {} --grid 4x4 --image-size 8", codecs[0].checkpoint().string(),
                      priors[0].checkpoint().string(), at("m"), h["bert_n_head"].dump()));
  ASSERT_EQ(imported.status, 0) << imported.output;
  write_png(at("p.png"), gradient(8, 8));
  const auto verb = "inpaint -t 1 -m " + at("m") + " -i " + at("p.png");
  const auto made = run(verb + " --keep-box 0,0,8,4 -n 2 --beside " + at("m") + " -o " + at("ar"));
  ASSERT_EQ(made.status, 0) << made.output;
  EXPECT_TRUE(fs::exists(at("ar/beside/00001.png")));
  EXPECT_EQ(picture("ar/beside.png").width, 2 * 8 + 3 * 2);
  const auto completed = picture("ar/00000.png"), before = picture("p.png");
  for (int x = 0; x < 8; ++x) EXPECT_TRUE(same_pixel(completed, x, 1, before, x, 1));
  const auto middle = run(verb + " --box 0,0,4,4 -o " + at("no.png"));
  EXPECT_EQ(middle.status, 2);
  EXPECT_NE(middle.output.find("can only complete a picture from its top rows"), std::string::npos) << middle.output;
  const auto large = run("generate -t 1 -W 16 -m " + at("m") + " -o " + at("no.png"));
  EXPECT_EQ(large.status, 2);
  EXPECT_NE(large.output.find("fills its own grid of 4x4 cells only, not 8x4"), std::string::npos) << large.output;
}

TEST_F(EditVerbs, BadInputIsOneClearLine) {
  const auto a = " -i " + at("a.png") + " ";
  std::ofstream(folder_ / "layout.json") << "{\"pieces\": 3}";
  struct Case {
    std::string arguments;
    int status;
    std::string message;
  };
  const Case cases[] = {
      {"inpaint" + a, 2, "inpaint: expected --mask, --box, --keep-mask or --keep-box"},
      {"inpaint" + a + "--mask " + at("black.png"), 1,
       "black.png: all black, expected white where the picture is meant"},
      {"inpaint" + a + "--mask " + at("small.png"), 1,
       "small.png: 40x24 pixels, expected 64x64 as the picture, or the same aspect"},
      {"inpaint" + a + "--box 60,0,8,8", 1, "--box 60,0,8,8 leaves the picture of 64x64 pixels"},
      {"inpaint" + a + "--box 1,2,3", 2, "--box '1,2,3': expected x,y,w,h"},
      {"inpaint" + a + "--box 0,0,4,4 --keep-box 0,0,4,4", 2, "expected one kind"},
      {"inpaint" + a + "--keep-box 0,0,64,64", 1, "a.png: all of it is kept, nothing to regenerate"},
      {"inpaint" + a + "--keep-box 1,1,3,3", 1, "a.png: the kept region holds no whole cell of 4x4 pixels"},
      {"inpaint" + a + "--box 1,1,3,3 --mask-threshold 1", 1, "no cell of 4x4 pixels reaches the threshold 1"},
      {"inpaint" + a + "--box 0,0,4,4 --feather -7", 2, "feather is -7, expected 0 to 4096 pixels"},
      {"inpaint" + a + "--box 0,0,4,4 --typical-p 0", 2, "typical_p is 0, expected above 0, at most 1"},
      {"inpaint" + a + "--box 0,0,4,4 --resume", 2, "--resume: expected --partial FILE"},
      {"inpaint" + a + "--box 0,0,4,4 --count 0", 2, "--count 0: expected 1 to 100000"},
      {"inpaint -i " + at("none.png") + " --box 0,0,4,4", 1, "none.png"},
      {"variations" + a + "--strength 1.5", 2, "strength is 1.5, expected 0 < strength <= 1"},
      {"outpaint" + a, 2, "outpaint: expected at least one of left, right, top, bottom"},
      {"outpaint" + a + "--left 100000", 2, "a picture of 100064x64 pixels"},
      {"stitch", 2, "stitch: expected --piece FILE@x,y,w,h->X,Y or --layout FILE.json"},
      {"stitch --piece '" + at("a.png") + "@0,0,9->1,1'", 2, "box '0,0,9': expected x,y,w,h"},
      {"stitch --piece '" + at("a.png") + "@0,0,32,32->60,0'", 1,
       "piece 1 (a.png): 32x32 pixels at 60,0 leave the canvas of 64x64"},
      {"stitch --piece '" + at("a.png") + "@50,0,32,32->0,0'", 1,
       "piece 1 (a.png): 50,0,32,32 leaves its picture of 64x64 pixels"},
      {"stitch --layout " + at("layout.json"), 1, "layout.json: pieces: expected a list of at least one"},
      {"generate -W 0 -H 70000", 2, "--height 70000: expected 1 to 65535 pixels"},
      {"generate -W 128 --stride 17", 2, "stride is 17, expected 1 to 16 cells"},
      {"generate -W 128 --resume", 2, "--resume: expected --partial FILE"}};
  for (const auto& [arguments, status, message] : cases) {
    const auto outcome = run(with_model(arguments) + " -o " + at("never.png"));
    EXPECT_EQ(outcome.status, status) << arguments << ": " << outcome.output;
    const auto last = outcome.output.rfind("tessera: ");
    ASSERT_NE(last, std::string::npos) << arguments << ": " << outcome.output;
    EXPECT_NE(outcome.output.find(message, last), std::string::npos) << arguments << ": " << outcome.output;
    EXPECT_EQ(outcome.output.find('\n', last), outcome.output.size() - 1) << outcome.output;
    EXPECT_FALSE(fs::exists(at("never.png")));
  }
}

}  // namespace edit_verbs_test
}  // namespace tessera
