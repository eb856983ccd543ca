#include "data/shard_pattern.h"

#include <gtest/gtest.h>

#include "data/image_source.h"
#include "data/sample_files.h"

namespace tessera::testing {
namespace shard_pattern_test {

using Names = std::vector<std::string>;

Names expanded(const std::string& pattern) {
  Names names;
  for (const auto& path : expand_pattern(pattern)) names.push_back(path.string());
  return names;
}

TEST(ShardPattern, CountsWithTheDigitsThatAreWritten) {
  EXPECT_EQ(expanded("/n/s-{008..011}.tar"), (Names{"/n/s-008.tar", "/n/s-009.tar", "/n/s-010.tar", "/n/s-011.tar"}));
  EXPECT_EQ(expanded("/n/s-{8..11}.tar"), (Names{"/n/s-8.tar", "/n/s-9.tar", "/n/s-10.tar", "/n/s-11.tar"}));
  EXPECT_EQ(expanded("/n/{2..0}"), (Names{"/n/2", "/n/1", "/n/0"}));
  EXPECT_EQ(expanded("/n/{05..5}"), (Names{"/n/05"}));
}

TEST(ShardPattern, GroupsCombineAndTextsAreTakenInTurn) {
  EXPECT_EQ(expanded("/n/{a,b}-{0..1}.tar"), (Names{"/n/a-0.tar", "/n/a-1.tar", "/n/b-0.tar", "/n/b-1.tar"}));
  EXPECT_EQ(expanded("/n/x{,y}"), (Names{"/n/x", "/n/xy"}));
}

TEST(ShardPattern, WhatIsNoGroupStandsForItself) {
  for (const std::string text : {"/n/plain.tar", "/n/{}.tar", "/n/{a}.tar", "/n/{1..}.tar", "/n/{a..c}.tar",
                                 "/n/{-1..1}", "/n/{1..2.tar", "/n/}1..2{", ""}) {
    EXPECT_EQ(expanded(text), Names{text});
  }
  EXPECT_EQ(expanded("/n/{a}{1..2}"), (Names{"/n/{a}1", "/n/{a}2"}));
}

TEST(ShardPattern, RefusesMoreNamesThanAnyoneHas) {
  EXPECT_TRUE(contains(error_of([] { expand_pattern("/n/{0..100000}"); }), "more than 100000"));
  EXPECT_TRUE(contains(error_of([] { expand_pattern("/n/{0..999999999}"); }), "more than 100000"));
  EXPECT_TRUE(contains(error_of([] { expand_pattern("/n/{0..9999}{0..9999}{0..9999}"); }), "more than 100000"));
}

#ifdef TESSERA_WITH_ARCHIVE

TEST(ShardPattern, NamesTheShardsOfASource) {
  const TemporaryFolder folder;
  for (const char* name : {"s-00.tar", "s-01.tar", "s-02.tar"})
    write_archive(folder / name, {{"a.png", "x"}, {"a.txt", "one"}});
  const auto pattern = folder / "s-{00..01}.tar";
  const auto source = open_image_source(pattern);
  ASSERT_EQ(source->catalogue().items.size(), 2U);
  EXPECT_EQ(source->catalogue().items[1].name, "s-01.tar/a.png");
  EXPECT_EQ(source->catalogue().items[1].caption, "one");
  EXPECT_NE(source_fingerprint(pattern), source_fingerprint(folder / "s-{01..02}.tar"));
  const auto missing = error_of([&] { open_image_source(folder / "s-{00..03}.tar"); });
  EXPECT_TRUE(contains(missing, "s-03.tar: no such file (of ")) << missing;
}

TEST(ShardPattern, AFileOfThatVeryNameGoesBefore) {
  const TemporaryFolder folder;
  write_archive(folder / "s-{0..1}.tar", {{"a.png", "x"}});
  EXPECT_EQ(open_image_source(folder / "s-{0..1}.tar")->catalogue().items.size(), 1U);
}

#endif

}  // namespace shard_pattern_test
}  // namespace tessera::testing
