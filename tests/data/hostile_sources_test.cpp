// Small files that say they are large: what a data set may make of them is bounded.
#include <gtest/gtest.h>

#include <ctime>

#include "data/csv.h"
#include "data/metadata_table.h"
#include "data/sample_files.h"
#include "support/resident.h"

#ifdef TESSERA_WITH_ARCHIVE

namespace tessera::testing {
namespace hostile_sources_test {

std::string repeated(std::string_view piece, std::size_t count) {
  std::string text;
  text.reserve(piece.size() * count);
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

/// Opens a set of one picture beside the other files. Out: what it says; empty: it was read.
std::string opened(const fs::path& path, const NamedBytes& others, long most_mib = 700) {
  NamedBytes files = {{"a.png", numbered_png(1)}};
  files.insert(files.end(), others.begin(), others.end());
  write_archive(path, files);
  const PeakMemory memory;
  const auto begin = std::clock();
  auto fault = error_of([&] { (void)Dataset::open(options_for(path)); });
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 10.0) << path;
  EXPECT_LT(memory.grown(), most_mib) << path;
  EXPECT_EQ(fault.find('\n'), std::string::npos);
  EXPECT_LT(fault.size(), 1000u);
  return fault;
}

class HostileSources : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(HostileSources, MetadataThatUnpackToFarMoreThanTheArchiveAreRefused) {
  for (const auto* ending : {".zip", ".tar.gz"}) {
    SCOPED_TRACE(ending);
    const auto path = folder_ / (std::string("set") + ending);
    EXPECT_TRUE(
        contains(opened(path, {{"metadata.jsonl", std::string(std::size_t{120} << 20, '\0')}}), "metadata.jsonl"));
    EXPECT_TRUE(contains(opened(path, {{"metadata.jsonl", repeated("{}\n", 40'000'000)}}), "metadata.jsonl"));
  }
}

TEST_F(HostileSources, ManyTextsTogetherHaveABound) {
  NamedBytes texts;
  for (int i = 0; i < 120; ++i) texts.emplace_back(fmt::format("t{}.txt", i), std::string(std::size_t{1} << 20, 'a'));
  EXPECT_TRUE(contains(opened(folder_ / "set.zip", texts), ".txt"));
}

TEST_F(HostileSources, LinesOfMetadataThatNameNothingAreCountedAndNotKept) {
  const auto path = folder_ / "set.zip";
  EXPECT_EQ(opened(path, {{"metadata.jsonl", repeated("{}\n", 300'000)}}), "");
  EXPECT_TRUE(contains(opened(path, {{"metadata.jsonl", repeated("{}\n", 6'000'000)}}), "describes more than"));
  // One line is more than a value may hold: it is a problem of that line.
  EXPECT_EQ(
      opened(path, {{"metadata.jsonl", "{\"file_name\":\"a.png\",\"x\":[" + repeated("0,", 3'000'000) + "0]}\n"}}), "");
  // Beyond the bound of all lines together each further one is a problem.
  EXPECT_EQ(opened(path, {{"metadata.jsonl",
                           repeated("{\"file_name\":\"a.png\",\"x\":[" + repeated("[],", 20'000) + "0]}\n", 300)}}),
            "");
}

TEST_F(HostileSources, TablesOfCellsAndCaptionsOfLinesAreBounded) {
  const auto path = folder_ / "set.zip";
  EXPECT_TRUE(contains(opened(path, {{"metadata.csv", "file_name,text\n" + repeated(",\n", 20'000'000)}}),
                       "describes more than"));
  EXPECT_EQ(opened(path, {{"metadata.csv", "file_name,text\na.png," + repeated(",", 30'000'000)}}), "");
  EXPECT_TRUE(contains(opened(path, {{"a.txt", repeated("a\n", 25'000'000)}}), "describes more than"));
}

TEST_F(HostileSources, WhatIsSkippedCountsToo) {
  // 900 MiB of zeros that are no picture, in one. Half as much again as such a small archive may hold.
  const auto path = folder_ / "set.tar.gz";
  const std::string zeros(std::size_t{300} << 20, '\0');
  const auto fault = opened(path, {{"a.bin", zeros}, {"b.bin", zeros}, {"c.bin", zeros}}, 100);
  EXPECT_TRUE(contains(fault, "would unpack to far more")) << fault;
}

TEST_F(HostileSources, AnArchiveOfVeryManyNamesIsRefused) {
  NamedBytes files;
  for (int i = 0; i < 400'000; ++i) files.emplace_back(std::string("x/") + std::to_string(i) + ".txt", "");
  const auto fault = opened(folder_ / "set.tar.gz", files);
  EXPECT_TRUE(fault.empty() || contains(fault, "far more files")) << fault;
}

TEST(Csv, ARowOfManyCellsKeepsOneMoreThanAreRead) {
  std::vector<std::size_t> cells;
  parse_csv("a,b,c\n1,2,3\n" + repeated(",", 1'000'000), 4, [&](CsvRow row) { cells.push_back(row.cells.size()); });
  EXPECT_EQ(cells, (std::vector<std::size_t>{3, 3, 5}));
}

}  // namespace hostile_sources_test
}  // namespace tessera::testing

#endif
