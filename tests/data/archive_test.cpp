#include <gtest/gtest.h>

#include "data/archive_reader.h"
#include "data/sample_files.h"

#ifdef TESSERA_WITH_ARCHIVE

namespace tessera::testing {
namespace archive_test {

class Archives : public ::testing::TestWithParam<const char*> {
 protected:
  TemporaryFolder folder_;
  fs::path path() const { return folder_ / (std::string("set") + GetParam()); }
};

using Contents = std::vector<std::pair<std::string, std::size_t>>;

Contents contents_of(const fs::path& path, std::uint64_t max_bytes = 1 << 20) {
  Contents contents;
  ArchiveReader reader(path);
  while (const auto name = reader.next()) contents.emplace_back(*name, reader.read(max_bytes).size());
  return contents;
}

/// Bytes that do not compress away.
std::string noise(std::size_t size, std::uint32_t state = 1) {
  std::string text(size, '\0');
  for (auto& c : text) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return text;
}

TEST_P(Archives, GiveTheirFilesInStoredOrder) {
  write_archive(path(), {{"b.txt", "12345"}, {"dir/a.txt", std::string(100000, 'x')}, {"\xc3\xa9.txt", ""}});
  EXPECT_EQ(contents_of(path()), (Contents{{"b.txt", 5}, {"dir/a.txt", 100000}, {"\xc3\xa9.txt", 0}}));
}

TEST_P(Archives, TruncationIsAnErrorThatNamesTheArchive) {
  write_archive(path(), {{"a.bin", noise(5000, 1)}, {"b.bin", noise(5000, 2)}, {"c.bin", noise(5000, 3)}});
  const auto bytes = read_file(path());
  for (const std::size_t size : {std::size_t{0}, std::size_t{20}, std::size_t{3000}, std::size_t{8000}}) {
    put_file(path(), bytes.substr(0, size));
    const auto message = error_of([&] { contents_of(path()); });
    EXPECT_TRUE(contains(message, path().string())) << GetParam() << " cut to " << size << ": " << message;
  }
}

TEST_P(Archives, AFileThatGrowsBeyondItsLimitIsRefused) {
  write_archive(path(), {{"bomb.bin", std::string(std::size_t{8} << 20, '\0')}});
  const auto message = error_of([&] { contents_of(path(), 1 << 20); });
  EXPECT_TRUE(contains(message, "bomb.bin") && contains(message, "1048576")) << message;
}

TEST_P(Archives, SurviveFlippedBytes) {
  write_archive(path(), {{"a.bin", noise(500)}, {"dir/b.bin", noise(700)}, {"c.bin", std::string(3000, 'c')}});
  const auto bytes = read_file(path());
  std::uint32_t state = 3;
  for (int i = 0; i < 200; ++i) {
    auto broken = bytes;
    for (int flips = 0; flips < 4; ++flips) {
      state = state * 1664525 + 1013904223;
      broken[(state >> 7) % broken.size()] = static_cast<char>(state >> 2);
    }
    put_file(path(), broken);
    try {
      for (const auto& [name, size] : contents_of(path())) EXPECT_LE(size, std::size_t{1} << 20);
    } catch (const Error&) {
      // an error is as good as an answer
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryKind, Archives, ::testing::Values(".zip", ".tar", ".tar.gz"), [](const auto& kind) {
  return std::string(kind.param) == ".zip" ? "Zip" : std::string(kind.param) == ".tar" ? "Tar" : "TarGz";
});

TEST(HostileArchives, NamesThatClimbOutAreSkippedAndNothingIsWritten) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  const TemporaryFolder folder;
  fs::create_directories(folder / "inner");
  for (const char* name : {"inner/set.zip", "inner/set.tar"}) {
    write_archive(folder / name, {{"../escaped.png", numbered_png(1)},
                                  {"/tmp/tessera-absolute.png", numbered_png(2)},
                                  {"a/../../b.png", numbered_png(3)},
                                  {"good.png", numbered_png(4)}});
    const auto dataset = Dataset::open(options_for(folder / name));
    EXPECT_EQ(names_of(dataset), (std::vector<std::string>{"good.png"})) << name;
    EXPECT_EQ(number_of(dataset, 0), 4);
    EXPECT_EQ(dataset.skipped_count(), 3);
    EXPECT_FALSE(fs::exists(folder / "escaped.png"));
    EXPECT_FALSE(fs::exists("/tmp/tessera-absolute.png"));
  }
}

TEST(HostileArchives, EntriesAreBoundedInSizeAndNumber) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  const TemporaryFolder folder;
  write_archive(folder / "set.zip",
                {{"big.png", std::string(200000, 'x')}, {"good.png", numbered_png(4)}, {"more.png", numbered_png(5)}});
  auto options = options_for(folder / "set.zip");
  options.limits.max_entry_bytes = 100000;
  const auto dataset = Dataset::open(options);
  EXPECT_EQ(dataset.size(), 2);
  EXPECT_TRUE(contains(dataset.skipped().at(0), "big.png"));
  options.limits.max_entries = 2;
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options); }), "more than 2 files"));
}

TEST(HostileArchives, MetadataAreBoundedInSize) {
  const TemporaryFolder folder;
  write_archive(folder / "set.zip", {{"metadata.jsonl", std::string(2000000, ' ')}, {"good.png", "x"}});
  auto options = options_for(folder / "set.zip");
  options.limits.max_text_bytes = 1000000;
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options); }), "metadata.jsonl"));
}

TEST(HostileArchives, LinksAndFoldersAreNoFiles) {
  const TemporaryFolder folder;
  const auto path = folder / "links.tar";
  ::archive* writer = archive_write_new();
  archive_write_set_format_ustar(writer);
  ASSERT_EQ(archive_write_open_filename(writer, path.c_str()), ARCHIVE_OK);
  for (const auto type : {AE_IFLNK, AE_IFDIR, AE_IFIFO, AE_IFCHR}) {
    ::archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, "image.png");
    archive_entry_set_filetype(entry, type);
    if (type == AE_IFLNK) archive_entry_set_symlink(entry, "/etc/passwd");
    ASSERT_EQ(archive_write_header(writer, entry), ARCHIVE_OK);
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
  EXPECT_TRUE(contents_of(path).empty());
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options_for(path)); }), "no images"));
}

TEST(HostileArchives, OtherFilesAreNoArchives) {
  const TemporaryFolder folder;
  put_file(folder / "set.zip", noise(10000));
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options_for(folder / "set.zip")); }), "set.zip"));
}

}  // namespace archive_test
}  // namespace tessera::testing

#endif
