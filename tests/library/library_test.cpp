// The library as other programs use it: through its installed headers alone, linked to libtessera.so alone.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "tessera/tessera.hpp"

namespace {

namespace fs = std::filesystem;

const std::string kModels = std::string(TESSERA_SOURCE_DIR) + "/models/";

/// A folder of this test's own, gone afterwards.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/tessera-library-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

std::vector<std::uint8_t> bytes_of(const tessera::ImageView& image) {
  std::vector<std::uint8_t> bytes;
  for (int y = 0; y < image.height(); ++y) bytes.insert(bytes.end(), image.row(y), image.row(y) + image.row_bytes());
  return bytes;
}

tessera::Options quick() {
  return tessera::Options().set("steps", 4).set("seed", 5);
}

const tessera::Model& emoji() {
  static const tessera::Model model(kModels + "emoji64");
  return model;
}

int program(const std::string& arguments) {
  return std::system((std::string(TESSERA_PROGRAM) + " " + arguments + " >/dev/null 2>&1").c_str());
}

TEST(Library, MakesThePicturesOfTheProgram) {
  const Folder folder;
  ASSERT_EQ(program("generate -m " + kModels + "emoji64 -n 3 -s 5 --steps 4 -o " + (folder / "made")), 0);
  const auto images = emoji().generate(quick().set("count", 3));
  ASSERT_EQ(images.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto theirs = tessera::Image::read(folder / ("made/0000" + std::to_string(i) + ".png"));
    EXPECT_EQ(bytes_of(images[i]), bytes_of(theirs)) << i;
    EXPECT_EQ(images.tokens(i).height(), 16);
  }
  // However many are filled together, and wherever the first one stands.
  const auto second = emoji().generate(quick().set("first_image", 1).set("batch", 1));
  EXPECT_EQ(tessera::Grid(second.tokens(0)), tessera::Grid(images.tokens(1)));
  EXPECT_NE(images.record().find("\"steps\":4"), std::string::npos) << images.record();
}

TEST(Library, EditsAreThoseOfTheProgram) {
  const Folder folder;
  const auto picture = kModels + "emoji64/examples/emoji_u1f46a.png";
  const auto image = tessera::Image::read(picture);
  const tessera::Box mouth{16, 32, 32, 16};
  const auto common = " -m " + kModels + "emoji64 -i '" + picture + "' -s 5 --steps 4 -n 2 -o ";
  const auto expect_same = [&](const tessera::Images& images, const std::string& name) {
    ASSERT_EQ(images.size(), 2U) << name;
    for (std::size_t i = 0; i < 2; ++i) {
      const auto theirs = tessera::Image::read(folder / (name + "/0000" + std::to_string(i) + ".png"));
      EXPECT_EQ(bytes_of(images[i]), bytes_of(theirs)) << name << " " << i;
    }
  };
  const auto mask = tessera::box_mask(image.width(), image.height(), mouth);
  ASSERT_EQ(program("inpaint --box 16,32,32,16" + common + (folder / "inpaint")), 0);
  expect_same(emoji().inpaint(image, mask, quick().set("count", 2)), "inpaint");
  ASSERT_EQ(program("inpaint --keep-box 16,32,32,16" + common + (folder / "keep")), 0);
  expect_same(emoji().keep(image, mask, quick().set("count", 2)), "keep");
  ASSERT_EQ(program("outpaint --right 16 --top 8" + common + (folder / "outpaint")), 0);
  expect_same(emoji().outpaint(image, quick().set("count", 2).set("right", 16).set("top", 8)), "outpaint");
  ASSERT_EQ(program("variations --strength 0.25" + common + (folder / "variations")), 0);
  expect_same(emoji().variations(image, quick().set("count", 2).set("strength", 0.25)), "variations");
}

TEST(Library, TokensGoThereAndBack) {
  const auto images = emoji().generate(quick().set("count", 2));
  const tessera::Grid grid(images.tokens(0));
  const auto decoded = emoji().decode({images.tokens(0), images.tokens(1)});
  EXPECT_EQ(bytes_of(decoded[0]), bytes_of(images[0]));
  const auto encoded = emoji().encode(images[0]);
  EXPECT_EQ(encoded.size(), grid.size());
  // What is known stays, what is open is filled.
  auto open = grid;
  for (std::int64_t x = 0; x < open.width(); ++x) open(3, x) = tessera::kMask;
  const auto filled = emoji().fill(open, quick());
  for (std::int64_t y = 0; y < open.height(); ++y) {
    for (std::int64_t x = 0; x < open.width(); ++x) {
      const auto token = filled.tokens(0)(y, x);
      EXPECT_GE(token, 0);
      EXPECT_EQ(token, y == 3 ? token : grid(y, x));
    }
  }
  const auto scores = emoji().score(grid, tessera::Options().set("spacing", 4));
  ASSERT_EQ(scores.size(), grid.size());
  for (const auto score : scores) EXPECT_TRUE(std::isfinite(score) && score < 0) << score;
  EXPECT_EQ(emoji().score(open, tessera::Options().set("spacing", 4))[3 * 16], 0);
}

TEST(Library, PiecesStayWhereTheyAreLaid) {
  const auto images = emoji().generate(quick().set("count", 2));
  const std::vector<tessera::Piece> pieces = {{images[0], {0, 0, 32, 64}, 0, 0}, {images[1], {32, 0, 32, 64}, 64, 0}};
  const auto made = emoji().stitch(pieces, quick().set("width", 96).set("height", 64));
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0].width(), 96);
  EXPECT_EQ(made.tokens(0).width(), 24);
  // The left piece is encoded with its surroundings; its tokens are those of its picture.
  const auto own = emoji().encode(images[0]);
  std::int64_t same = 0;
  for (std::int64_t y = 0; y < 16; ++y) {
    for (std::int64_t x = 0; x < 7; ++x) same += made.tokens(0)(y, x) == own(y, x) ? 1 : 0;
  }
  EXPECT_EQ(same, 16 * 7);
}

TEST(Library, ACallbackSeesEveryStepAndMayStop) {
  std::int64_t seen = 0, open = 16 * 16;
  const auto watch = [&](const tessera::Step& step) {
    EXPECT_EQ(step.step, ++seen);
    EXPECT_EQ(step.count, 2);
    const auto now = static_cast<std::int64_t>(std::count(step.grid(1).begin(), step.grid(1).end(), tessera::kMask));
    EXPECT_LE(now, open);
    open = now;
    return true;
  };
  (void)emoji().generate(quick().set("count", 2), watch);
  EXPECT_EQ(seen, 4);
  EXPECT_EQ(open, 0);
  EXPECT_THROW((void)emoji().generate(quick(), [](const tessera::Step& step) { return step.step < 2; }),
               tessera::Stopped);
  EXPECT_THROW((void)emoji().generate(quick(), [](const tessera::Step&) -> bool { throw std::runtime_error("mine"); }),
               std::runtime_error);
  EXPECT_EQ(emoji().generate(quick()).size(), 1U) << "a stopped fill leaves the model as it was";
}

/// The message of the error that a call must end with.
template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const tessera::Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(Library, ErrorsNameWhatIsWrong) {
  const auto refused = [&](const tessera::Options& options) {
    return message_of([&] { (void)emoji().generate(options); });
  };
  EXPECT_NE(refused(tessera::Options().set("stepps", 3)).find("no option 'stepps'"), std::string::npos);
  EXPECT_NE(refused(tessera::Options().set("steps", -3)).find("steps is -3"), std::string::npos);
  EXPECT_NE(refused(tessera::Options().set("sampler", "best")).find("sampler is 'best'"), std::string::npos);
  EXPECT_NE(refused(tessera::Options().set("count", "many")).find("count is \"many\""), std::string::npos);
  EXPECT_NE(refused(tessera::Options().set("prompt", "a heart")).find("prompt"), std::string::npos)
      << "the model takes no text";
  const auto missing = message_of([] { tessera::Model("/nowhere/at/all"); });
  EXPECT_EQ(missing, "/nowhere/at/all: no such model folder");
  const auto strange = message_of([] { (void)emoji().decode(tessera::Grid(2, 2, 99999)); });
  EXPECT_NE(strange.find("token 99999 at cell (0, 0)"), std::string::npos) << strange;
  const auto masked = message_of([] { (void)emoji().decode(tessera::Grid(2, 2)); });
  EXPECT_NE(masked.find("has MASK cells"), std::string::npos) << masked;
  const auto flat = message_of([] {
    const tessera::Image image(64, 64), mask(64, 64, 1);
    (void)emoji().inpaint(image, mask);
  });
  EXPECT_NE(flat.find("mask"), std::string::npos) << flat;
}

TEST(Library, CKeepsItsPromises) {
  tessera_images* images = reinterpret_cast<tessera_images*>(1);
  EXPECT_EQ(tessera_generate(nullptr, nullptr, nullptr, nullptr, &images), TESSERA_USAGE);
  EXPECT_EQ(images, nullptr);
  EXPECT_STREQ(tessera_error_message(), "model: is NULL");
  EXPECT_EQ(tessera_generate(emoji().handle(), "[1", nullptr, nullptr, &images), TESSERA_USAGE);
  EXPECT_EQ(tessera_generate(emoji().handle(), "{}", nullptr, nullptr, nullptr), TESSERA_USAGE);
  EXPECT_EQ(tessera_set_threads(-1), TESSERA_USAGE);
  EXPECT_EQ(tessera_images_count(nullptr), 0);
  tessera_images_free(nullptr);
  tessera_model_free(nullptr);
  EXPECT_EQ(tessera_images_image(nullptr, 0).pixels, nullptr);
  std::thread([] { EXPECT_STREQ(tessera_error_message(), "") << "another thread's error"; }).join();
  const std::string deep = "{\"steps\":" + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_EQ(tessera_generate(emoji().handle(), deep.c_str(), nullptr, nullptr, &images), TESSERA_USAGE);
  EXPECT_NE(std::string(tessera_options_schema()).find("\"cfg_scale\""), std::string::npos);
  EXPECT_EQ(std::string(tessera_version()).find_first_not_of("0123456789."), std::string::npos);
}

TEST(Library, SeveralThreadsUseOneModel) {
  const auto alone = emoji().generate(quick());
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const auto images = emoji().generate(quick());
      EXPECT_EQ(tessera::Grid(images.tokens(0)), tessera::Grid(alone.tokens(0)));
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(Library, TransparencyIsKeptAndRowsMayBeApart) {
  tessera::Image image(64, 64, 4);
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      auto* pixel = image.row(y) + 4 * x;
      pixel[0] = static_cast<std::uint8_t>(4 * x);
      pixel[3] = x < 32 ? 255 : 0;
    }
  }
  const auto mask = tessera::box_mask(64, 64, {0, 0, 8, 8});
  const auto made = emoji().inpaint(image, mask, quick());
  ASSERT_EQ(made[0].channels(), 4);
  EXPECT_EQ(made[0].row(50)[4 * 40 + 3], 0) << "outside the edit it is as it was";
  // The same pixels in a larger buffer.
  std::vector<std::uint8_t> wide(64 * 300, 7);
  for (int y = 0; y < 64; ++y) std::copy_n(image.row(y), 256, wide.data() + 300 * y);
  const tessera::ImageView view(64, 64, 4, wide.data(), 300);
  EXPECT_EQ(bytes_of(emoji().inpaint(view, mask, quick())[0]), bytes_of(made[0]));
  const tessera::ImageView narrow(64, 64, 4, wide.data(), 100);
  EXPECT_THROW((void)emoji().encode(narrow), tessera::UsageError);
}

TEST(Library, FilesGoThereAndBackWithTheirRecord) {
  const Folder folder;
  const auto images = emoji().generate(quick());
  for (const auto* name : {"a.png", "a.webp", "a.JPG"}) {
    images[0].write(folder / name, images.record());
    const auto read = tessera::Image::read(folder / name);
    EXPECT_EQ(read.width(), 64) << name;
    EXPECT_EQ(bytes_of(read) == bytes_of(images[0]), std::string(name) != "a.JPG") << name;
  }
  std::ifstream file(folder / "a.png", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(bytes.find("\"sampler\":"), std::string::npos) << "the PNG carries the record";
  EXPECT_THROW(images[0].write(folder / "a.bmp"), tessera::Error);
  EXPECT_THROW((void)tessera::Image::read(folder / "nothing.png"), tessera::Error);
}

TEST(Library, ADataSetIsReadAndACodecAndAPriorAreTrained) {
  const Folder folder;
  const auto images = emoji().generate(quick().set("count", 12).set("steps", 2));
  fs::create_directories(folder / "data");
  std::ofstream captions(folder / "data/metadata.jsonl");
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto name = std::to_string(i) + ".png";
    images[i].write(folder / ("data/" + name));
    captions << "{\"file_name\":\"" << name << "\",\"text\":\"number " << i << "\"}\n";
  }
  captions.close();
  tessera::Dataset data(folder / "data", tessera::Options().set("size", 16));
  ASSERT_EQ(data.size(), 12U);
  EXPECT_NE(data.record(0).find("\"number 0\""), std::string::npos) << data.record(0);
  EXPECT_EQ(data.image(0).width(), 16);

  auto small = tessera::Options()
                   .set("image_size", 16)
                   .set("channel_multipliers", {1, 1, 1})
                   .set("attention_resolutions", {4})
                   .set("embedding_width", 8)
                   .set("codebook_size", 16)
                   .set("batch_size", 4)
                   .set("adversarial", false)
                   .set("perceptual", "edges");
  std::int64_t steps = 0;
  std::string metrics;
  EXPECT_THROW(tessera::train("codec", folder / "data", folder / "model", tessera::Options(small).set("steps", 6),
                              [&](const tessera::TrainingStep& at) {
                                EXPECT_EQ(at.steps, 6);
                                metrics = std::string(at.metrics);
                                return ++steps < 3;
                              }),
               tessera::Stopped);
  EXPECT_EQ(steps, 3);
  EXPECT_NE(metrics.find("\"loss\""), std::string::npos) << metrics;
  tessera::train("codec", folder / "data", folder / "model", small.set("steps", 6).set("resume", true),
                 [&](const tessera::TrainingStep&) { return ++steps < 100; });
  EXPECT_EQ(steps, 6) << "it went on where it was";
  tessera::train(
      "prior", folder / "data", folder / "model",
      tessera::Options().set("steps", 2).set("batch_size", 4).set("layers", 1).set("width", 16).set("heads", 2));
  const tessera::Model model(folder / "model");
  EXPECT_EQ(model.generate(tessera::Options().set("steps", 2))[0].width(), 16);
  EXPECT_NE(message_of([&] {
              tessera::train("codec", folder / "data", folder / "other", tessera::Options().set("stepps", 2));
            }).find("no option 'stepps'"),
            std::string::npos);
}

TEST(Library, TheLogGoesWhereItIsSent) {
  std::vector<std::string> lines;
  tessera_set_log(
      [](void* user, int, const char* line) { static_cast<std::vector<std::string>*>(user)->push_back(line); }, &lines);
  const Folder folder;
  emoji().generate(quick().set("steps", 1))[0].write(folder / "only.png");
  try {
    (void)tessera::Dataset(folder / "", tessera::Options().set("size", 16));
  } catch (const tessera::Error&) {
  }
  tessera_set_log(nullptr, nullptr);
  EXPECT_FALSE(lines.empty());
}

}  // namespace
