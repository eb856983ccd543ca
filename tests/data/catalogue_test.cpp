#include "data/catalogue.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "data/content_hash.h"
#include "runtime/printable.h"

namespace tessera {
namespace catalogue_test {

Catalogue catalogue_of(std::vector<std::string> files, std::map<std::string, std::string> texts = {},
                       bool folders_are_classes = true) {
  CatalogueInput input;
  input.names = std::move(files);
  input.texts = std::move(texts);
  input.folders_are_classes = folders_are_classes;
  return make_catalogue(input);
}

std::vector<std::string> names(const Catalogue& catalogue) {
  std::vector<std::string> result;
  for (const auto& item : catalogue.items) result.push_back(item.name);
  return result;
}

// FIPS 180-4 examples and the empty message.
TEST(ContentHash, MatchesThePublishedSha256Examples) {
  EXPECT_EQ(ContentHash().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ContentHash().add("abc", 3).hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  EXPECT_EQ(ContentHash().add(two_blocks.data(), two_blocks.size()).hex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(ContentHash, DoesNotDependOnHowTheBytesArriveButOnWhereTextsEnd) {
  const std::string text(1000, 'x');
  ContentHash pieces;
  for (std::size_t at = 0; at < text.size(); at += 7)
    pieces.add(text.data() + at, std::min<std::size_t>(7, text.size() - at));
  EXPECT_EQ(pieces.hex(), ContentHash().add(text.data(), text.size()).hex());
  EXPECT_NE(ContentHash().add("ab").add("c").hex(), ContentHash().add("a").add("bc").hex());
}

TEST(NaturalOrder, ComparesNumbersByValue) {
  std::vector<std::string> sorted = {"a/10.png", "a/2.png", "a/02.png", "b1", "a", "B", "a/1x", "a/1"};
  std::sort(sorted.begin(), sorted.end(), natural_less);
  EXPECT_EQ(sorted, (std::vector<std::string>{"B", "a", "a/1", "a/1x", "a/02.png", "a/2.png", "a/10.png", "b1"}));
  EXPECT_TRUE(natural_less("99999999999999999999998", "99999999999999999999999"));
}

TEST(NaturalOrder, IsAStrictTotalOrder) {
  const std::vector<std::string> all = {"",    "0",   "00",    "1",     "01",   "1a", "a1",
                                        "a01", "a1b", "a01b2", "a1b02", "\xff", "a/", "a//1"};
  for (const auto& a : all) {
    for (const auto& b : all) {
      EXPECT_EQ(natural_less(a, b) + natural_less(b, a), a == b ? 0 : 1) << a << " and " << b;
      for (const auto& c : all) {
        if (natural_less(a, b) && natural_less(b, c)) {
          EXPECT_TRUE(natural_less(a, c)) << a << ", " << b << ", " << c;
        }
      }
    }
  }
}

TEST(Names, UnsafeOnesAreTold) {
  for (const char* name : {"../x.png", "a/../x.png", "/etc/x.png", "a/..", "C:/x.png", "C:\\x.png", ""})
    EXPECT_FALSE(is_safe_name(name)) << name;
  for (const char* name :
       {"x.png", "a/b..c.png", "..a/x.png", "a/...png", "\xc3\xa9.png", "a\\x.png", "a\nb.png", "7:30.png"})
    EXPECT_TRUE(is_safe_name(name)) << name;
}

TEST(Names, ImagesAreToldByTheirExtension) {
  for (const char* name :
       {"a.png", "b/A.JPG", "x.jpeg", "x.webp", "x.tif", "x.TIFF", "x.gif", "x.jfif", "x.JPE", "x.apng"})
    EXPECT_TRUE(is_image_name(name)) << name;
  for (const char* name : {"a.txt", ".png", "a/.hidden.png", "__MACOSX/a.png", "png", "a.png/", "a.svg"})
    EXPECT_FALSE(is_image_name(name)) << name;
}

TEST(Names, ArePrintedOnOneLine) {
  EXPECT_EQ(printable("a\nb\x1b[31m"), "a\\x0ab\\x1b[31m");
  EXPECT_EQ(printable(std::string(500, 'a')).size(), 163U);
  EXPECT_EQ(valid_utf8("a\xff"), "a\xef\xbf\xbd");
}

TEST(Catalogue, OrdersImagesAndLeavesOtherFilesOut) {
  const auto catalogue = catalogue_of({"10.png", "README.md", "2.jpg", "1.webp"}, {});
  EXPECT_EQ(names(catalogue), (std::vector<std::string>{"1.webp", "2.jpg", "10.png"}));
  EXPECT_EQ(catalogue.items[2].file, 0U);
  EXPECT_TRUE(catalogue.problems.empty());
}

TEST(Catalogue, TakesClassesFromTheFirstFolderThatDiffers) {
  const auto catalogue = catalogue_of({"set/train/dog/1.png", "set/train/cat/2.png", "set/train/cat/deep/3.png"}, {});
  ASSERT_EQ(catalogue.items.size(), 3U);
  EXPECT_EQ(catalogue.items[0].label, "cat");
  EXPECT_EQ(catalogue.items[1].label, "cat");
  EXPECT_EQ(catalogue.items[2].label, "dog");
}

TEST(Catalogue, OneFolderForAllOrImagesBesideFoldersAreNoClasses) {
  for (const auto& item : catalogue_of({"images/1.png", "images/2.png"}, {}).items) EXPECT_EQ(item.label, "");
  for (const auto& item : catalogue_of({"cat/1.png", "2.png"}, {}).items) EXPECT_EQ(item.label, "");
}

TEST(Catalogue, JoinsMetadataRelativeToItsFolder) {
  const auto catalogue =
      catalogue_of({"d/a.png", "d/sub/b.png"},
                   {{"d/metadata.jsonl",
                     "{\"file_name\": \"a.png\", \"text\": \"an apple\", \"group\": \"fruit\", \"label\": 4}\r\n\n"
                     "{\"file_name\": \"sub/b.png\", \"caption\": \"a bee\", \"label\": \"animal\"}"}});
  ASSERT_EQ(catalogue.items.size(), 2U);
  EXPECT_TRUE(catalogue.problems.empty());
  EXPECT_EQ(catalogue.items[0].caption, "an apple");
  EXPECT_EQ(catalogue.items[0].label, "4");
  EXPECT_TRUE(catalogue.items[0].label_is_number);
  EXPECT_EQ(catalogue.items[0].fields, "{\"group\":\"fruit\"}");
  EXPECT_EQ(catalogue.items[1].caption, "a bee");
  EXPECT_EQ(catalogue.items[1].label, "animal");
}

TEST(Catalogue, NamesEveryBrokenMetadataLine) {
  const auto catalogue = catalogue_of({"a.png", "b.png"}, {{"metadata.jsonl",
                                                            "{\"file_name\": \"a.png\", \"text\": \"good\"}\n"
                                                            "{broken\n"
                                                            "[1, 2]\n"
                                                            "{\"text\": \"nothing named\"}\n"
                                                            "{\"file_name\": 7}\n"
                                                            "{\"file_name\": \"../../etc/passwd\"}\n"
                                                            "{\"file_name\": \"gone.png\"}\n"
                                                            "{\"file_name\": \"a.png\", \"text\": \"again\"}\n"}});
  ASSERT_EQ(catalogue.items.size(), 2U);
  EXPECT_EQ(catalogue.items[0].caption, "good");
  ASSERT_EQ(catalogue.problems.size(), 8U);
  for (std::size_t line = 2; line <= 8; ++line) {
    const auto& problem = catalogue.problems[line - 2];
    EXPECT_TRUE(problem.starts_with(fmt::format("metadata.jsonl:{}:", line))) << problem;
  }
  EXPECT_NE(catalogue.problems.back().find("b.png"), std::string::npos);
}

TEST(Catalogue, DeeplyNestedJsonIsOnlyABrokenLine) {
  std::string text(200000, '[');
  text.push_back('\n');
  text.append(200000, '{');
  CatalogueInput input;
  input.names = {"a.png"};
  input.texts["metadata.jsonl"] = text;
  const auto catalogue = make_catalogue(input);
  EXPECT_EQ(catalogue.items.size(), 1U);
  EXPECT_EQ(catalogue.problems.size(), 3U);
}

TEST(Catalogue, JoinsCompanionsOfTheSameStem) {
  const auto catalogue = catalogue_of({"s/0001.jpg", "s/0002.png", "s/0003.png"},
                                      {{"s/0001.txt", " a dog \n"},
                                       {"s/0001.cls", "3\n"},
                                       {"s/0002.json", "{\"text\": \"a cat\", \"label\": 5, \"width\": 9}"},
                                       {"s/0003.json", "{{{"},
                                       {"s/0003.txt", "caf\xe9"}},
                                      false);
  ASSERT_EQ(catalogue.items.size(), 3U);
  EXPECT_EQ(catalogue.items[0].caption, "a dog");
  EXPECT_EQ(catalogue.items[0].label, "3");
  EXPECT_TRUE(catalogue.items[0].label_is_number);
  EXPECT_EQ(catalogue.items[1].caption, "a cat");
  EXPECT_EQ(catalogue.items[1].label, "5");
  EXPECT_EQ(catalogue.items[1].fields, "{\"width\":9}");
  EXPECT_EQ(catalogue.items[2].caption, "caf\xc3\xa9");
  EXPECT_EQ(catalogue.notes, (std::vector<std::string>{"read as windows-1252: s/0003.txt"}));
  EXPECT_EQ(catalogue.problems, (std::vector<std::string>{"s/0003.json: not a JSON object"}));
}

TEST(Catalogue, NamesThatLeaveTheFolderAndDoublesAreProblems) {
  const auto catalogue = catalogue_of({"../a.png", "/b.png", "c.png", "c.png"}, {});
  EXPECT_EQ(names(catalogue), (std::vector<std::string>{"c.png"}));
  EXPECT_EQ(catalogue.items[0].file, 2U);
  EXPECT_EQ(catalogue.problems.size(), 3U);
}

}  // namespace catalogue_test
}  // namespace tessera
