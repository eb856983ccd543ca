#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data/sample_files.h"

namespace tessera::testing {
namespace dataset_test {

/// Everything that reads image files.
class DatasetFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  }
  TemporaryFolder folder_;
};

TEST_F(DatasetFiles, AFolderIsReadInNaturalOrder) {
  write_folder(folder_ / "set", {{"10.png", numbered_png(10)}, {"2.png", numbered_png(2)}, {"notes.md", "no image"}});
  const auto dataset = Dataset::open(options_for(folder_ / "set"));
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_EQ(names_of(dataset), (std::vector<std::string>{"2.png", "10.png"}));
  EXPECT_EQ(number_of(dataset, 0), 2);
  EXPECT_EQ(number_of(dataset, 1), 10);
  EXPECT_EQ(dataset.images().sizes(), (std::vector<std::int64_t>{2, 3, 16, 16}));
  EXPECT_EQ(dataset.label(0), -1);
  EXPECT_FALSE(dataset.has_captions());
  EXPECT_EQ(dataset.skipped_count(), 0);
}

TEST_F(DatasetFiles, SubFoldersAreClasses) {
  const NamedBytes files = {
      {"dog/1.png", numbered_png(1)}, {"cat/2.png", numbered_png(2)}, {"dog/3.png", numbered_png(3)}};
  write_folder(folder_ / "set", files);
  write_archive(folder_ / "set.zip", files);
  write_archive(folder_ / "set.tar.gz", files);
  for (const char* name : {"set", "set.zip", "set.tar.gz"}) {
    const auto dataset = Dataset::open(options_for(folder_ / name));
    EXPECT_EQ(dataset.class_names(), (std::vector<std::string>{"cat", "dog"})) << name;
    EXPECT_EQ(names_of(dataset), (std::vector<std::string>{"cat/2.png", "dog/1.png", "dog/3.png"})) << name;
    EXPECT_EQ(dataset.label(0), 0);
    EXPECT_EQ(dataset.label(2), 1);
  }
}

TEST_F(DatasetFiles, MetadataGiveCaptionsLabelsAndFieldsInFoldersAndZips) {
  const NamedBytes files = {{"images/a.png", numbered_png(1)},
                            {"images/b.png", numbered_png(2)},
                            {"metadata.jsonl",
                             "{\"file_name\": \"images/b.png\", \"text\": \"a bee\", \"label\": 2, \"group\": \"g\"}\n"
                             "{\"file_name\": \"images/a.png\", \"text\": \"an ape\", \"label\": 0}\n"}};
  write_folder(folder_ / "set", files);
  write_archive(folder_ / "set.zip", files);
  for (const char* name : {"set", "set.zip"}) {
    const auto dataset = Dataset::open(options_for(folder_ / name));
    ASSERT_EQ(dataset.size(), 2) << name;
    EXPECT_EQ(dataset.caption(0), "an ape");
    EXPECT_EQ(dataset.caption(1), "a bee");
    EXPECT_EQ(dataset.item(1).fields, "{\"group\":\"g\"}");
    EXPECT_EQ(dataset.label(1), 2);
    EXPECT_EQ(dataset.class_names(), (std::vector<std::string>{"0", "1", "2"}));  // numbers keep their values
    EXPECT_EQ(dataset.skipped_count(), 0);
  }
}

TEST_F(DatasetFiles, TarShardsAreReadAsOneSet) {
  fs::create_directories(folder_ / "shards");
  write_archive(folder_ / "shards/s-000.tar", {{"0001.png", numbered_png(1)},
                                               {"0001.txt", "one"},
                                               {"0001.cls", "1"},
                                               {"0002.png", numbered_png(2)},
                                               {"0002.json", "{\"text\": \"two\", \"label\": 0}"}});
  write_archive(folder_ / "shards/s-001.tar",
                {{"./0001.txt", "three"}, {"./0001.png", numbered_png(3)}, {"./0001.cls", "1\n"}});
  const auto dataset = Dataset::open(options_for(folder_ / "shards"));
  ASSERT_EQ(dataset.size(), 3);
  EXPECT_EQ(names_of(dataset),
            (std::vector<std::string>{"s-000.tar/0001.png", "s-000.tar/0002.png", "s-001.tar/0001.png"}));
  EXPECT_EQ(dataset.caption(0), "one");
  EXPECT_EQ(dataset.caption(1), "two");
  EXPECT_EQ(dataset.caption(2), "three");
  EXPECT_EQ(dataset.label(0), 1);
  EXPECT_EQ(dataset.label(1), 0);
  EXPECT_EQ(number_of(dataset, 2), 3);
}

TEST_F(DatasetFiles, ThePixelsAreTheSameFromEverySourceAndThreadCount) {
  NamedBytes files;
  for (int i = 0; i < 40; ++i) files.emplace_back(fmt::format("x{}.png", i), numbered_png(i, 16 + i % 7));
  write_folder(folder_ / "set", files);
  std::reverse(files.begin(), files.end());
  write_archive(folder_ / "set.zip", files);
  write_archive(folder_ / "set.tar", files);
  auto options = options_for(folder_ / "set");
  options.threads = 1;
  const auto expected = Dataset::open(options);
  for (const char* name : {"set", "set.zip", "set.tar"}) {
    for (const int threads : {1, 4}) {
      options.path = folder_ / name;
      options.threads = threads;
      EXPECT_EQ(Dataset::open(options).key(), expected.key()) << name << ", " << threads << " threads";
    }
  }
}

TEST_F(DatasetFiles, TransparencyGoesOnTheChosenBackground) {
  const std::string transparent(  // 1x1, grey and alpha, alpha 0
      "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x04\0\0\0\xb5\x1c\x0c\x02"
      "\0\0\0\x0bIDAT\x08\xd7\x63\x60\x60\0\0\0\x03\0\x01\x20\xd5\x94\xc7\0\0\0\0IEND\xae\x42\x60\x82",
      68);
  write_folder(folder_ / "set", {{"a.png", transparent}});
  auto options = options_for(folder_ / "set", 1);
  options.background = "#0a6400";
  const auto dataset = Dataset::open(options);
  EXPECT_EQ(dataset.images()[0][1][0][0].item<int>(), 100);
  EXPECT_EQ(dataset.images()[0][0][0][0].item<int>(), 10);
}

TEST_F(DatasetFiles, BrokenFilesAreNamedCountedAndSkipped) {
  const auto good = numbered_png(1);
  const NamedBytes files = {{"a.png", good},         {"b.png", good.substr(0, good.size() / 2)},
                            {"c.jpg", "no picture"}, {"d.png", numbered_png(4)},
                            {"e.gif", ""},           {"f.png", numbered_png(5, 15)}};
  write_folder(folder_ / "set", files);
  write_archive(folder_ / "set.zip", files);
  for (const char* name : {"set", "set.zip"}) {
    auto options = options_for(folder_ / name);
    const auto dataset = Dataset::open(options);
    EXPECT_EQ(names_of(dataset), (std::vector<std::string>{"a.png", "d.png"})) << name;
    EXPECT_EQ(number_of(dataset, 1), 4);
    ASSERT_EQ(dataset.skipped_count(), 4);
    EXPECT_TRUE(contains(dataset.skipped()[0], "b.png"));
    EXPECT_TRUE(contains(dataset.skipped()[1], "c.jpg"));
    EXPECT_TRUE(contains(dataset.skipped()[3], "f.png: 15x15 pixels, expected at least 16x16"));
    options.strict = true;
    const auto message = error_of([&] { Dataset::open(options); });
    EXPECT_TRUE(contains(message, "b.png") && contains(message, "4 problems")) << message;
  }
}

TEST_F(DatasetFiles, MissingFilesAndBrokenMetadataAreProblemsToo) {
  write_folder(
      folder_ / "set",
      {{"a.png", numbered_png(1)},
       {"metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"x\"}\n{\"file_name\": \"gone.png\"}\nnonsense\n"}});
  auto options = options_for(folder_ / "set");
  const auto dataset = Dataset::open(options);
  EXPECT_EQ(dataset.size(), 1);
  EXPECT_EQ(dataset.skipped_count(), 2);
  EXPECT_TRUE(contains(dataset.skipped()[0], "metadata.jsonl:2: file 'gone.png' is missing"));
  options.strict = true;
  EXPECT_THROW(Dataset::open(options), Error);
}

TEST_F(DatasetFiles, SetsOfNothingOrOfTooSmallImagesAreClearErrors) {
  fs::create_directories(folder_ / "empty");
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options_for(folder_ / "empty")); }), "no images"));
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options_for(folder_ / "nowhere")); }), "no such file or folder"));
  write_folder(folder_ / "small", {{"a.png", numbered_png(1, 8)}, {"b.png", numbered_png(1, 12)}});
  const auto message = error_of([&] { Dataset::open(options_for(folder_ / "small")); });
  EXPECT_TRUE(contains(message, "all 2 images are smaller than 16x16") && contains(message, "12")) << message;
  auto options = options_for(folder_ / "small");
  options.upscale = true;
  EXPECT_EQ(Dataset::open(options).size(), 2);
  write_folder(folder_ / "broken", {{"a.png", "x"}});
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options_for(folder_ / "broken")); }), "a.png"));
  options.size = 0;
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options); }), "size"));
}

TEST_F(DatasetFiles, LargeSetsAreMappedInsteadOfHeldInMemory) {
  write_folder(folder_ / "set", {{"a.png", numbered_png(1)}, {"b.png", "broken"}, {"c.png", numbered_png(3)}});
  auto options = options_for(folder_ / "set");
  const auto expected = Dataset::open(options);
  options.memory_limit = 100;
  EXPECT_EQ(Dataset::open(options).key(), expected.key());
  options.use_cache = true;
  options.cache_folder = folder_ / "cache";
  EXPECT_TRUE(torch::equal(Dataset::open(options).images(), expected.images()));
}

TEST_F(DatasetFiles, TheCacheIsUsedUntilTheSourceOrTheOptionsChange) {
  write_folder(folder_ / "set", {{"a.png", numbered_png(1, 32)}, {"b.png", numbered_png(2, 32)}});
  auto options = options_for(folder_ / "set");
  options.use_cache = true;
  options.cache_folder = folder_ / "cache";
  int decoded = 0;
  options.progress = [&](std::int64_t, std::int64_t) { decoded = 1; };
  const auto open = [&] {
    decoded = 0;
    return Dataset::open(options);
  };
  const auto first = open();
  EXPECT_EQ(decoded, 1);
  EXPECT_EQ(open().key(), first.key());
  EXPECT_EQ(decoded, 0) << "the second time it comes from the cache";

  write_folder(folder_ / "set", {{"b.png", numbered_png(3, 32)}});  // another time of change, the same length of name
  EXPECT_EQ(number_of(open(), 1), 3);
  EXPECT_EQ(decoded, 1);
  fs::rename(folder_ / "set/b.png", folder_ / "set/c.png");
  EXPECT_EQ(open().file_name(1), "c.png");
  EXPECT_EQ(decoded, 1);
  write_folder(folder_ / "set", {{"d.png", numbered_png(4, 32)}});
  EXPECT_EQ(open().size(), 3);
  write_folder(folder_ / "set", {{"a.txt", "now with a caption"}});
  EXPECT_EQ(open().caption(0), "now with a caption");
  EXPECT_EQ(decoded, 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "cache"), {}), 1) << "old states do not pile up";

  options.size = 8;
  EXPECT_EQ(open().image_size(), 8);
  EXPECT_EQ(decoded, 1);
  options.background = "#000000";
  open();
  EXPECT_EQ(decoded, 1);
  open();
  EXPECT_EQ(decoded, 0);
}

TEST_F(DatasetFiles, ABrokenCacheIsMadeAgain) {
  write_archive(folder_ / "set.zip", {{"a.png", numbered_png(1)}, {"b.png", "broken"}});
  auto options = options_for(folder_ / "set.zip");
  options.use_cache = true;
  options.cache_folder = folder_ / "cache";
  const auto key = Dataset::open(options).key();
  const fs::path cached = fs::directory_iterator(folder_ / "cache")->path();
  const auto bytes = read_file(cached);
  for (const std::size_t size : {std::size_t{0}, std::size_t{9}, bytes.size() / 3, bytes.size() - 1}) {
    put_file(cached, bytes.substr(0, size));
    EXPECT_EQ(Dataset::open(options).key(), key) << size;
  }
  EXPECT_EQ(Dataset::open(options).skipped_count(), 1) << "what was skipped is known from the cache too";
  options.strict = true;
  EXPECT_THROW(Dataset::open(options), Error);
}

TEST_F(DatasetFiles, AnUnusableCacheFolderIsOnlyAWarning) {
  write_folder(folder_ / "set", {{"a.png", numbered_png(1)}});
  write_folder(folder_.path(), {{"file", "in the way"}});
  auto options = options_for(folder_ / "set");
  options.use_cache = true;
  options.cache_folder = folder_ / "file" / "cache";
  EXPECT_EQ(Dataset::open(options).size(), 1);
}

TEST(DatasetSplit, DependsOnSeedAndNameAlone) {
  const auto dataset = synthetic_dataset(400, 2, 0.25, 7);
  const auto& validation = dataset.split(Split::validation);
  EXPECT_NEAR(static_cast<double>(validation.size()), 100, 5 * std::sqrt(400 * 0.25 * 0.75));
  EXPECT_EQ(dataset.split(Split::train).size() + validation.size(), 400U);
  EXPECT_EQ(dataset.split(Split::all).size(), 400U);
  // The first half alone is split in the same way: images that join later move none of the others.
  const auto half = synthetic_dataset(200, 2, 0.25, 7);
  std::vector<std::int64_t> expected;
  std::copy_if(validation.begin(), validation.end(), std::back_inserter(expected),
               [](auto index) { return index < 200; });
  EXPECT_EQ(half.split(Split::validation), expected);
  // A larger fraction keeps the validation images it had.
  const auto larger = synthetic_dataset(400, 2, 0.5, 7);
  EXPECT_TRUE(std::includes(larger.split(Split::validation).begin(), larger.split(Split::validation).end(),
                            validation.begin(), validation.end()));
  EXPECT_NE(synthetic_dataset(400, 2, 0.25, 8).split(Split::validation), validation);
}

TEST(DatasetSplit, EmptyOnesAreClearErrorsWhenAskedFor) {
  const auto dataset = synthetic_dataset(3, 2, 0);
  EXPECT_TRUE(dataset.split(Split::validation).empty());
  const auto message = error_of([&] { dataset.require_split(Split::validation); });
  EXPECT_TRUE(contains(message, "no validation images among 3") && contains(message, "larger fraction")) << message;
  EXPECT_EQ(parse_split("validation"), Split::validation);
  EXPECT_EQ(parse_split("test"), Split::test);
  EXPECT_TRUE(contains(error_of([] { parse_split("val"); }), "train, validation, test, all"));
}

TEST(DatasetOptions, ImpossibleValuesAreNamed) {
  const auto message = [](auto change) {
    auto options = options_for("somewhere");
    change(options);
    return error_of([&] { options.validate(); });
  };
  EXPECT_EQ(message([](auto&) {}), "");
  EXPECT_TRUE(contains(message([](auto& o) { o.size = -1; }), "size"));
  EXPECT_TRUE(contains(message([](auto& o) { o.validation_fraction = 1; }), "validation_fraction"));
  EXPECT_TRUE(contains(message([](auto& o) { o.background = "mauve"; }), "mauve"));
  EXPECT_TRUE(contains(message([](auto& o) { o.threads = -2; }), "threads"));
  EXPECT_TRUE(contains(message([](auto& o) { o.path.clear(); }), "path"));
}

}  // namespace dataset_test
}  // namespace tessera::testing
