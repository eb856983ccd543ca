/// Every file of a source is an image, a companion of one, or left out with its reason: over generated folders, zips
/// and tars that mix all of it.
#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <set>

#include "data/sample_files.h"
#include "runtime/random.h"

#ifdef TESSERA_WITH_ARCHIVE

namespace tessera::testing {
namespace accounting_test {

std::int64_t accounted(const DatasetContent& content) {
  return std::accumulate(content.reasons.begin(), content.reasons.end(),
                         static_cast<std::int64_t>(content.items.size()) + content.companions,
                         [](std::int64_t sum, const auto& reason) { return sum + reason.second; });
}

/// Draws of one tree.
class Tree {
 public:
  explicit Tree(Seed seed) : stream_(seed, Purpose::data_order, 0, 0) {}

  NamedBytes files(bool archive) {
    NamedBytes files = {{"first.png", numbered_png(1)}};
    std::set<std::string> names = {"first.png"};
    const auto count = 5 + draw(40);
    for (std::uint64_t i = 0; i < count; ++i) {
      auto name = folder() + stem() + "." + ending();
      if (draw(12) == 0) name = folder() + stem();
      if (archive && draw(15) == 0) name = "../" + name;
      if (!names.insert(name).second) continue;
      files.emplace_back(name, bytes(name));
    }
    return files;
  }

 private:
  std::uint64_t draw(std::uint64_t below) { return stream_.below(cell_++, below); }
  template <std::size_t N>
  std::string one_of(const std::array<const char*, N>& choices) {
    return choices[draw(N)];
  }

  std::string folder() {
    return one_of(std::array{"", "", "cat/", "dog/", "train/cat/", "val/dog/", ".git/", "__MACOSX/", "a b/\xc3\xa9/"});
  }
  std::string stem() {
    return one_of(std::array{"1", "2", "0.05", "x.mask", "x", "caf\xc3\xa9", "cafe\xcc\x81", "line\nfeed", "README",
                             ".hidden", "metadata", "\xff", "back\\slash", "7"});
  }
  std::string ending() {
    return one_of(std::array{"png", "png", "PNG", "jpg", "jfif", "txt", "TXT", "caption", "json", "cls", "bmp", "heic",
                             "npy", "md", "jsonl", "csv", "parquet", "tga"});
  }
  std::string bytes(const std::string& name) {
    switch (draw(4)) {
      case 0:
        return "";
      case 1:
        return "broken \xff\xfe";
      case 2:
        return name.ends_with("jsonl") ? "{\"file_name\": \"1.png\", \"text\": \"a\"}\n" : "text\nlines";
      default:
        return numbered_png(static_cast<int>(draw(200)), 8 + static_cast<int>(draw(12)));
    }
  }

  RandomStream stream_;
  std::uint32_t cell_ = 0;
};

TEST(Accounting, PicturesCompanionsAndReasonsAreAllFilesOfAnySource) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  for (Seed seed = 0; seed < 60; ++seed) {
    const TemporaryFolder folder;
    const auto of_folder = Tree(seed).files(false);
    const auto of_archive = Tree(seed).files(true);
    write_folder(folder / "set", of_folder);
    write_archive(folder / "set.zip", of_archive);
    write_archive(folder / "set.tar", of_archive);
    for (const auto* name : {"set", "set.zip", "set.tar"}) {
      const auto& files = std::string(name) == "set" ? of_folder : of_archive;
      auto options = options_for(folder / name);
      options.say_account = false;
      const auto dataset = Dataset::open(options);
      const auto& content = dataset.content();
      EXPECT_EQ(content.files, static_cast<std::int64_t>(files.size())) << name << ", seed " << seed;
      EXPECT_EQ(accounted(content), content.files) << name << ", seed " << seed;
      dataset.save_pack(folder / "set.tessera-pack");
      const auto packed = Dataset::open(options_for(folder / "set.tessera-pack", 0));
      EXPECT_EQ(accounted(packed.content()), content.files) << name << ", seed " << seed;
      EXPECT_EQ(packed.content().reasons, content.reasons);
    }
  }
}

TEST(Accounting, ChoicesLeaveNothingUncounted) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  const TemporaryFolder folder;
  NamedBytes files = {{"metadata.csv", "file_name,text,group\n0.png,a,x\n1.png,b,y\n2.png,c,x\n"}};
  for (int i = 0; i < 4; ++i) files.emplace_back(fmt::format("{}.png", i), numbered_png(i));
  write_folder(folder / "set", files);
  auto options = options_for(folder / "set");
  options.choice.where = {"group=x"};
  const auto dataset = Dataset::open(options);
  EXPECT_EQ(names_of(dataset), (std::vector<std::string>{"0.png", "2.png"}));
  EXPECT_EQ(accounted(dataset.content()), 5);
  EXPECT_EQ(dataset.content().reasons.at("left out by --where"), 2);
}

TEST(Accounting, StrictCoversEveryFileThatIsNeitherPictureNorCompanion) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  const TemporaryFolder folder;
  const std::pair<const char*, bool> cases[] = {{"b.bmp", true},        {"notes.npy", true},  {"orphan.txt", true},
                                                {"data.parquet", true}, {"noending", true},   {"README.md", false},
                                                {"LICENSE", false},     {".DS_Store", false}, {"readme.txt", false}};
  for (const auto& [name, refused] : cases) {
    const NamedBytes files = {{"a.png", numbered_png(1)}, {name, "bytes"}};
    write_folder(folder / (std::string("set-") + name), files);
    write_archive(folder / fmt::format("{}.zip", name), files);
    write_archive(folder / fmt::format("{}.tar", name), files);
    for (const auto& path : {folder / (std::string("set-") + name), folder / fmt::format("{}.zip", name),
                             folder / fmt::format("{}.tar", name)}) {
      auto options = options_for(path);
      EXPECT_EQ(Dataset::open(options).content().files, 2) << path;
      options.strict = true;
      const auto message = error_of([&] { Dataset::open(options); });
      EXPECT_EQ(contains(message, name), refused) << path << ": " << message;
    }
  }
}

}  // namespace accounting_test
}  // namespace tessera::testing

#endif
