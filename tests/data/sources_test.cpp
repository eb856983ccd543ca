/// People's folders and archives as they are: names, captions, parts and samples of several pictures.
#include <gtest/gtest.h>

#include <algorithm>
#include <clocale>

#include "data/sample_files.h"
#include "data/stored_zip.h"

#ifdef TESSERA_WITH_ARCHIVE

namespace tessera::testing {
namespace sources_test {

class Sources : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  }
  Dataset open(const std::string& name, const CatalogueChoice& choice = {}) const {
    auto options = options_for(folder_ / name);
    options.choice = choice;
    options.say_account = false;
    return Dataset::open(options);
  }
  std::string error(const std::string& name, const CatalogueChoice& choice = {}) const {
    return error_of([&] { open(name, choice); });
  }
  TemporaryFolder folder_;
};

using Names = std::vector<std::string>;

bool says(const Dataset& dataset, const std::string& part) {
  const auto& notes = dataset.content().notes;
  return std::any_of(notes.begin(), notes.end(), [&](const auto& note) { return contains(note, part); });
}

/// Pictures 0.png, 1.png ... with these texts beside them.
NamedBytes pictures_with(const std::vector<std::pair<std::string, std::string>>& texts) {
  NamedBytes files;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    files.emplace_back(fmt::format("{}.png", i), numbered_png(static_cast<int>(i)));
    files.emplace_back(fmt::format("{}.{}", i, texts[i].first), texts[i].second);
  }
  return files;
}

TEST_F(Sources, ZipNamesAreReadByTheirFlagInAnyLocale) {
  const Names names = {"Fran\xc3\xa7ois/2.png",        "caf\xc3\xa9.png",     "plain.png", "\xd0\x9f\xd1\x80/1.png",
                       "\xe6\x97\xa5\xe6\x9c\xac.png", "\xf0\x9f\x99\x82.png"};
  std::vector<StoredMember> members;
  for (std::size_t i = 0; i < names.size(); ++i)
    members.push_back({names[i], numbered_png(static_cast<int>(i)),
                       names[i] == "plain.png" ? std::uint16_t{0} : std::uint16_t{0x800}});
  put_file(folder_ / "set.zip", stored_zip(members, {3, 0, 5, 1, 4, 2}));
  for (const char* locale : {"C", "C.UTF-8"}) {
    std::setlocale(LC_ALL, locale);
    const auto dataset = open("set.zip");
    EXPECT_EQ(names_of(dataset), names) << locale;
    for (int i = 0; i < static_cast<int>(names.size()); ++i) EXPECT_EQ(number_of(dataset, i), i) << locale;
    EXPECT_EQ(dataset.skipped_count(), 0);
    EXPECT_TRUE(dataset.content().notes.empty());
  }
  std::setlocale(LC_ALL, "C");
}

TEST_F(Sources, ZipNamesWithoutAFlagAreGuessedAndTheGuessIsSaid) {
  put_file(folder_ / "dos.zip", stored_zip({{"caf\x82.png", numbered_png(1)},
                                            {"\x81"
                                             "ber.png",
                                             numbered_png(2)}}));
  EXPECT_EQ(names_of(open("dos.zip")), (Names{"caf\xc3\xa9.png",
                                              "\xc3\xbc"
                                              "ber.png"}));
  EXPECT_TRUE(says(open("dos.zip"), "2 names do not say their encoding, taken for code page 437"));
  put_file(folder_ / "windows.zip", stored_zip({{"caf\xe9.png", numbered_png(1)},
                                                {"\xfc"
                                                 "ber.png",
                                                 numbered_png(2)}}));
  EXPECT_EQ(names_of(open("windows.zip")), (Names{"caf\xc3\xa9.png",
                                                  "\xc3\xbc"
                                                  "ber.png"}));
  EXPECT_TRUE(says(open("windows.zip"), "windows-1252"));
  put_file(folder_ / "utf8.zip", stored_zip({{"caf\xc3\xa9.png", numbered_png(1)}}));
  EXPECT_EQ(names_of(open("utf8.zip")), (Names{"caf\xc3\xa9.png"}));
  EXPECT_TRUE(says(open("utf8.zip"), "UTF-8"));
}

TEST_F(Sources, TheUnicodePathFieldGoesBeforeTheRawName) {
  const auto raw = std::string("caf_.png"), other = std::string("x\x82.png");
  put_file(folder_ / "set.zip",
           stored_zip({{raw, numbered_png(1), 0, 3, unicode_path(raw, "caf\xc3\xa9.png")},
                       {other, numbered_png(2), 0, 3, unicode_path("another name", "wrong.png")}}));
  EXPECT_EQ(names_of(open("set.zip")), (Names{"caf\xc3\xa9.png", "x\xc3\xa9.png"}))
      << "a field of another name is stale";
}

TEST_F(Sources, BackslashesOfWindowsZipsAreFolders) {
  for (const int system : {0, 10}) {
    put_file(folder_ / "set.zip",
             stored_zip({{"photos\\cats\\0.png", numbered_png(1), 0, static_cast<std::uint8_t>(system)},
                         {"photos\\dogs\\1.png", numbered_png(2), 0, static_cast<std::uint8_t>(system)}}));
    EXPECT_EQ(open("set.zip").class_names(), (Names{"cats", "dogs"})) << system;
  }
}

TEST_F(Sources, AZipCutInItsDirectoryIsStillOneLine) {
  const auto zip = stored_zip({{"a.png", numbered_png(1)}, {"b.png", numbered_png(2)}});
  for (std::size_t size = zip.size() - 60; size < zip.size(); size += 7) {
    put_file(folder_ / "set.zip", zip.substr(0, size));
    const auto message = error("set.zip");
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST_F(Sources, NamesInATarAreOnlyNames) {
  NamedBytes files;
  const Names stems = {"1_lamp\\n_#x", "2_two\nlines", "3_portrait\\_2", "4_ok", "5_tab\there", "7:30"};
  for (std::size_t i = 0; i < stems.size(); ++i) {
    files.emplace_back(stems[i] + ".png", numbered_png(static_cast<int>(i)));
    files.emplace_back(stems[i] + ".txt", fmt::format("caption {}", i));
  }
  write_archive(folder_ / "set.tar", files);
  const auto dataset = open("set.tar");
  ASSERT_EQ(dataset.size(), 6);
  EXPECT_EQ(dataset.skipped_count(), 0);
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(dataset.caption(i), fmt::format("caption {}", i));
}

TEST_F(Sources, MetadataNameFilesInAnySpelling) {
  NamedBytes files = {{"metadata.jsonl",
                       "{\"file_name\": \"./images/0.png\", \"text\": \"0\"}\n"
                       "{\"file_name\": \"images\\\\1.PNG\", \"text\": \"1\"}\n"
                       "{\"file_name\": \".\\\\images\\\\2.png\", \"text\": \"2\"}\n"
                       "{\"file_name\": \"images//3.png\", \"text\": \"3\"}\n"
                       "{\"file_name\": \"images/../images/4.png\", \"text\": \"4\"}\n"
                       "{\"file_name\": \"images/caf\xc3\xa9.png\", \"text\": \"5\"}\n"}};
  for (int i = 0; i < 5; ++i) files.emplace_back(fmt::format("images/{}.png", i), numbered_png(i));
  files.emplace_back("images/cafe\xcc\x81.png", numbered_png(5));  // as macOS writes it
  write_folder(folder_ / "set", files);
  write_archive(folder_ / "set.zip", files);
  for (const char* name : {"set", "set.zip"}) {
    const auto dataset = open(name);
    EXPECT_EQ(dataset.captioned(), 6) << name;
    EXPECT_EQ(dataset.skipped_count(), 0) << name;
  }
}

TEST_F(Sources, CompanionsAreFoundWhateverTheCaseOfTheirEndings) {
  write_folder(folder_ / "set", {{"a.PNG", numbered_png(1)},
                                 {"a.TXT", "one"},
                                 {"b.png", numbered_png(2)},
                                 {"b.Caption", "two"},
                                 {"c.png", numbered_png(3)},
                                 {"c.png.txt", "three"}});
  const auto dataset = open("set");
  EXPECT_EQ(dataset.captioned(), 3);
  EXPECT_EQ(dataset.caption(2), "three");
}

TEST_F(Sources, EncodingsOfCaptionsAreRecognisedAndSaid) {
  using namespace std::string_literals;
  const auto cafe = "a caf\xc3\xa9"s;
  write_folder(folder_ / "set",
               pictures_with({{"txt", cafe},
                              {"txt", "\xef\xbb\xbf" + cafe},
                              {"txt",
                               "\xff\xfe"
                               "a\0 \0c\0a\0f\0\xe9\0"s},
                              {"txt", "\xfe\xff\0a\0 \0c\0a\0f\0\xe9"s},
                              {"txt", "a\0 \0c\0a\0f\0\xe9\0"s},
                              {"txt", "a caf\xe9"s},
                              {"caption", "\xff\xfe\0\0a\0\0\0 \0\0\0c\0\0\0a\0\0\0f\0\0\0\xe9\0\0\0"s},
                              {"txt", "a caf\xe9 \x81"s}}));
  const auto dataset = open("set");
  for (std::int64_t i = 0; i < 7; ++i) EXPECT_EQ(dataset.caption(i), cafe) << i;
  EXPECT_TRUE(says(dataset, "read as UTF-16: 2.txt, 3.txt, 4.txt"));
  EXPECT_TRUE(says(dataset, "read as windows-1252: 5.txt"));
  EXPECT_TRUE(says(dataset, "read as UTF-32: 6.caption"));
  EXPECT_TRUE(says(dataset, "read as UTF-8 with a byte order mark: 1.txt"));
  EXPECT_EQ(dataset.skipped(), Names{"7.txt: its encoding is not known, some characters are lost"});
}

TEST_F(Sources, MetadataWithAByteOrderMarkAreRead) {
  write_folder(folder_ / "set", {{"0.png", numbered_png(0)},
                                 {"metadata.jsonl", "\xef\xbb\xbf{\"file_name\": \"0.png\", \"text\": \"a\"}\r\n"}});
  EXPECT_EQ(open("set").caption(0), "a");
}

TEST_F(Sources, MetadataMayBeATable) {
  for (const char separator : {',', ';', '\t'}) {
    const auto s = std::string(1, separator);
    const auto set = fmt::format("set{}", static_cast<int>(separator));
    write_folder(folder_ / set, {{"0.png", numbered_png(0)},
                                 {"1.png", numbered_png(1)},
                                 {"metadata.csv", "file_name" + s + "text" + s + "label\r\n0.png" + s + "\"a kite" + s +
                                                      " \"\"red\"\"\r\nfrom above\"" + s + "3\r\n\r\n1.png" + s +
                                                      "a boat" + s + "0\r\n"}});
    const auto dataset = open(set);
    EXPECT_EQ(dataset.caption(0), "a kite" + s + " \"red\"\r\nfrom above");
    EXPECT_EQ(dataset.caption(1), "a boat");
    EXPECT_EQ(dataset.label(0), 3);
    EXPECT_EQ(dataset.skipped_count(), 0);
  }
}

TEST_F(Sources, ACaptionFieldIsChosenAndMessagesListTheFields) {
  write_folder(folder_ / "set", {{"0.png", numbered_png(0)},
                                 {"1.png", numbered_png(1)},
                                 {"metadata.jsonl",
                                  "{\"file_name\": \"0.png\", \"prompt\": \"a\", \"seed\": 3}\n"
                                  "{\"file_name\": \"1.png\", \"prompt\": \"b\"}\n"}});
  const auto dataset = open("set");
  EXPECT_FALSE(dataset.has_captions());
  EXPECT_TRUE(contains(dataset.no_captions_text(), "prompt (2), seed (1)")) << dataset.no_captions_text();
  EXPECT_TRUE(contains(dataset.no_captions_text(), "--caption-field"));
  EXPECT_EQ(open("set", {.caption_field = "prompt"}).captioned(), 2);
  const auto message = error("set", {.caption_field = "promt"});
  EXPECT_TRUE(contains(message, "promt") && contains(message, "prompt (2)")) << message;
  dataset.save_pack(folder_ / "set.tessera-pack");
  auto options = options_for(folder_ / "set.tessera-pack", 0);
  options.choice.caption_field = "prompt";
  EXPECT_EQ(Dataset::open(options).caption(1), "b");
}

TEST_F(Sources, ListsAndLinesAreSeveralCaptionsOfOnePicture) {
  write_folder(folder_ / "set", {{"0.png", numbered_png(0)},
                                 {"0.txt", "one\r\n\n two \nthree\n"},
                                 {"1.png", numbered_png(1)},
                                 {"1.json", "{\"text\": [\"four\", \"five\"]}"},
                                 {"2.png", numbered_png(2)},
                                 {"2.json", "{\"captions\": [{\"raw\": \"six\"}, {\"text\": \"seven\"}]}"}});
  const auto dataset = open("set");
  EXPECT_EQ(dataset.captions(0), (Names{"one", "two", "three"}));
  EXPECT_EQ(dataset.captions(1), (Names{"four", "five"}));
  EXPECT_EQ(dataset.captions(2), (Names{"six", "seven"}));
  EXPECT_TRUE(says(dataset, "3 pictures have several captions"));
  dataset.save_pack(folder_ / "set.tessera-pack");
  const auto packed = Dataset::open(options_for(folder_ / "set.tessera-pack", 0));
  EXPECT_EQ(packed.captions(0), dataset.captions(0));
  EXPECT_EQ(packed.key(), dataset.key());
  EXPECT_EQ(open("set", {.whole_captions = true}).caption(0), "one\r\n\n two \nthree");
}

TEST_F(Sources, FoldersNamedTrainAndValidationAreParts) {
  const NamedBytes files = {{"train/cat/0.png", numbered_png(0)},
                            {"train/dog/1.png", numbered_png(1)},
                            {"Val/cat/2.png", numbered_png(2)},
                            {"test/dog/3.png", numbered_png(3)}};
  write_folder(folder_ / "set", files);
  write_archive(folder_ / "set.zip", files);
  for (const char* name : {"set", "set.zip"}) {
    const auto dataset = open(name);
    EXPECT_EQ(dataset.class_names(), (Names{"cat", "dog"})) << name;
    EXPECT_EQ(dataset.split(Split::train).size(), 2U);
    ASSERT_EQ(dataset.split(Split::validation).size(), 1U);
    EXPECT_EQ(number_of(dataset, dataset.split(Split::validation)[0]), 2);
    EXPECT_EQ(number_of(dataset, dataset.split(Split::test).at(0)), 3);
    EXPECT_TRUE(says(dataset, "told by folders"));
  }
  const auto dataset = open("set");
  dataset.save_pack(folder_ / "set.tessera-pack");
  const auto packed = Dataset::open(options_for(folder_ / "set.tessera-pack", 0));
  EXPECT_EQ(packed.split(Split::validation), dataset.split(Split::validation));
  EXPECT_EQ(packed.split(Split::test), dataset.split(Split::test));
}

TEST_F(Sources, ClassesOfTheseNamesAloneAreNoParts) {
  write_folder(folder_ / "trains", {{"train/0.png", numbered_png(0)}, {"car/1.png", numbered_png(1)}});
  EXPECT_EQ(open("trains").class_names(), (Names{"car", "train"}));
  write_folder(folder_ / "one", {{"train/cat/0.png", numbered_png(0)}, {"train/dog/1.png", numbered_png(1)}});
  EXPECT_EQ(open("one").class_names(), (Names{"cat", "dog"}));
  EXPECT_FALSE(open("one").has_own_splits());
}

TEST_F(Sources, ArchivesNamedTrainAndValidationAreParts) {
  fs::create_directories(folder_ / "set");
  write_archive(folder_ / "set/train-000.tar", {{"0.png", numbered_png(0)}, {"1.png", numbered_png(1)}});
  write_archive(folder_ / "set/val-000.tar", {{"0.png", numbered_png(2)}});
  const auto dataset = open("set");
  EXPECT_EQ(dataset.split(Split::train).size(), 2U);
  EXPECT_EQ(number_of(dataset, dataset.split(Split::validation).at(0)), 2);
}

TEST_F(Sources, AFieldNamesTheParts) {
  write_folder(folder_ / "set", {{"0.png", numbered_png(0)},
                                 {"1.png", numbered_png(1)},
                                 {"metadata.jsonl",
                                  "{\"file_name\": \"0.png\", \"split\": \"train\", \"fold\": \"test\"}\n"
                                  "{\"file_name\": \"1.png\", \"split\": \"val\", \"fold\": \"x\"}\n"}});
  EXPECT_EQ(open("set").split(Split::validation), std::vector<std::int64_t>{1});
  EXPECT_TRUE(contains(error("set", {.split_field = "fold"}), "\"x\"; expected train, validation or test"));
  EXPECT_TRUE(contains(error("set", {.split_field = "part"}), "fold (2), split (2)"));
}

TEST_F(Sources, ConditionsChoosePictures) {
  write_folder(folder_ / "set", {{"0.png", numbered_png(0)},
                                 {"1.png", numbered_png(1)},
                                 {"2.png", numbered_png(2)},
                                 {"metadata.jsonl",
                                  "{\"file_name\": \"0.png\", \"group\": \"a\", \"n\": 1, \"tags\": [\"x\", \"y\"]}\n"
                                  "{\"file_name\": \"1.png\", \"group\": \"b\", \"n\": 2}\n"
                                  "{\"file_name\": \"2.png\", \"n\": 2}\n"}});
  const auto chosen = [&](const Names& where) { return names_of(open("set", {.where = where})); };
  EXPECT_EQ(chosen({"group=a"}), Names{"0.png"});
  EXPECT_EQ(chosen({"group!=a"}), (Names{"1.png", "2.png"}));
  EXPECT_EQ(chosen({"n=2", "group!=b"}), Names{"2.png"});
  EXPECT_EQ(chosen({"tags=y"}), Names{"0.png"});
  EXPECT_TRUE(contains(error("set", {.where = {"grup=a"}}), "group (2)"));
  EXPECT_TRUE(contains(error("set", {.where = {"group=c"}}), "none of 3 pictures"));
  EXPECT_TRUE(contains(error("set", {.where = {"group"}}), "field=value"));
  open("set").save_pack(folder_ / "set.tessera-pack");
  auto options = options_for(folder_ / "set.tessera-pack", 0);
  options.choice.where = {"n=2"};
  const auto packed = Dataset::open(options);
  EXPECT_EQ(names_of(packed), (Names{"1.png", "2.png"}));
  EXPECT_EQ(number_of(packed, 0), 1);
}

TEST_F(Sources, OnePictureOfASampleIsTakenAndSaid) {
  NamedBytes files;
  for (int i = 0; i < 3; ++i) {
    files.emplace_back(fmt::format("{:04}.jpg", i), numbered_png(i));
    files.emplace_back(fmt::format("{:04}.mask.png", i), numbered_png(100 + i));
    files.emplace_back(fmt::format("{:04}.txt", i), fmt::format("caption {}", i));
  }
  write_archive(folder_ / "set.tar", files);
  write_archive(folder_ / "set.zip", files);
  write_folder(folder_ / "set", files);
  for (const char* name : {"set.tar", "set.zip", "set"}) {
    const auto dataset = open(name);
    EXPECT_EQ(dataset.size(), 3) << name;
    EXPECT_EQ(dataset.captioned(), 3);
    EXPECT_EQ(number_of(dataset, 2), 2);
    EXPECT_TRUE(says(dataset, "(jpg, mask.png): 'jpg' is taken")) << name;
    const auto masks = open(name, {.image_field = "mask"});
    EXPECT_EQ(number_of(masks, 2), 102) << name;
    EXPECT_EQ(masks.captioned(), 3);
  }
  EXPECT_TRUE(contains(error("set.tar", {.image_field = "depth"}), "no sample has it"));
}

TEST_F(Sources, SamplesOfATarMayNameAllTheirFields) {
  NamedBytes files;
  for (int i = 0; i < 3; ++i) {
    files.emplace_back(fmt::format("{}.after.png", i), numbered_png(50 + i));
    files.emplace_back(fmt::format("{}.image.png", i), numbered_png(i));
    files.emplace_back(fmt::format("{}.cls", i), std::to_string(i));
  }
  write_archive(folder_ / "set.tar", files);
  const auto dataset = open("set.tar");
  ASSERT_EQ(dataset.size(), 3);
  EXPECT_EQ(number_of(dataset, 1), 1);
  EXPECT_EQ(dataset.label(2), 2);
  EXPECT_EQ(number_of(open("set.tar", {.image_field = "after.png"}), 1), 51);
}

TEST_F(Sources, NumbersInNamesAreNoFields) {
  NamedBytes files;
  for (int i = 0; i < 4; ++i) {
    files.emplace_back(fmt::format("22.0/{}.05.png", i), numbered_png(i));
    files.emplace_back(fmt::format("22.0/{}.05.txt", i), "a");
    files.emplace_back(fmt::format("22.0/{}.06.png", i), numbered_png(i));
  }
  write_folder(folder_ / "set", files);
  write_archive(folder_ / "set.tar", files);
  for (const char* name : {"set", "set.tar"}) {
    EXPECT_EQ(open(name).size(), 8) << name;
    EXPECT_EQ(open(name).captioned(), 4) << name;
  }
}

TEST_F(Sources, LinkedFoldersAreFollowedButNotInCircles) {
  write_folder(folder_ / "store", {{"cat/0.png", numbered_png(0)}, {"dog/1.png", numbered_png(1)}});
  fs::create_directories(folder_ / "set");
  fs::create_directory_symlink("../store/cat", folder_ / "set/cat");
  fs::create_directory_symlink("../store/dog", folder_ / "set/dog");
  fs::create_directory_symlink("..", folder_ / "store/dog/up");
  fs::create_symlink("nowhere", folder_ / "set/gone.png");
  const auto dataset = open("set");
  EXPECT_EQ(names_of(dataset), (Names{"cat/0.png", "dog/1.png"}));
  EXPECT_EQ(dataset.class_names(), (Names{"cat", "dog"}));
  EXPECT_TRUE(contains(dataset.skipped().at(0), "gone.png: a broken link"));
}

TEST_F(Sources, ALinkThatGitWroteAsATextIsNamed) {
  write_folder(folder_ / "set", {{"a/0.png", numbered_png(0)}, {"cat", "a"}, {"dog", "../set/a"}});
  const auto dataset = open("set");
  EXPECT_TRUE(contains(dataset.skipped().at(0), "dog: a link written as a text")) << dataset.skipped().at(0);
}

TEST_F(Sources, ArchivesBesideMetadataAreRead) {
  fs::create_directories(folder_ / "set");
  write_archive(folder_ / "set/images.zip", {{"0.png", numbered_png(0)}, {"1.png", numbered_png(1)}});
  write_folder(folder_ / "set", {{"metadata.jsonl",
                                  "{\"file_name\": \"0.png\", \"text\": \"a\"}\n"
                                  "{\"file_name\": \"1.png\", \"text\": \"b\"}\n"}});
  EXPECT_EQ(open("set").captioned(), 2);
  EXPECT_EQ(open("set").skipped_count(), 0);
  write_archive(folder_ / "set/more.zip", {{"2.png", numbered_png(2)}});
  write_folder(folder_ / "set", {{"metadata.jsonl",
                                  "{\"file_name\": \"images/0.png\", \"text\": \"a\"}\n"
                                  "{\"file_name\": \"1.png\", \"text\": \"b\"}\n"
                                  "{\"file_name\": \"more.zip/2.png\", \"text\": \"c\"}\n"}});
  EXPECT_EQ(open("set").captioned(), 3);
  write_folder(folder_ / "set", {{"3.png", numbered_png(3)}});
  EXPECT_TRUE(contains(open("set").skipped().at(0), "images.zip: an archive beside pictures"));
}

TEST_F(Sources, PicturesOfOtherEndingsAreReadOrNamed) {
  const auto png = numbered_png(1);
  write_folder(folder_ / "set", {{"a.png", png},
                                 {"b.jfif", png},
                                 {"c.jpe", png},
                                 {"d.apng", png},
                                 {"e.bmp", "BM"},
                                 {"f.ppm", "P6"},
                                 {"g.heic", "x"},
                                 {"h.avif", "x"},
                                 {"i.svg", "<svg/>"}});
  const auto dataset = open("set");
  EXPECT_EQ(dataset.size(), 4);
  EXPECT_EQ(dataset.skipped_count(), 5);
  for (const char* name : {"e.bmp", "f.ppm", "g.heic", "h.avif", "i.svg"}) {
    EXPECT_TRUE(std::any_of(dataset.skipped().begin(), dataset.skipped().end(), [&](const auto& line) {
      return line.starts_with(std::string(name) + ": ");
    })) << name;
  }
}

TEST_F(Sources, PointersOfGitLfsAreNamed) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
  write_folder(folder_ / "set", {{"a.png", numbered_png(1)}, {"a.txt", pointer}, {"b.png", pointer}});
  const auto dataset = open("set");
  EXPECT_FALSE(dataset.has_captions());
  ASSERT_EQ(dataset.skipped_count(), 2);
  for (const auto& line : dataset.skipped()) EXPECT_TRUE(contains(line, "Git LFS pointer")) << line;
}

TEST_F(Sources, OtherPicturesThatMetadataNameAreNoTrainingPictures) {
  write_folder(folder_ / "set", {{"0.png", numbered_png(0)},
                                 {"masks/0.png", numbered_png(9)},
                                 {"metadata.csv", "image_file_name,mask_file_name,text\n0.png,masks/0.png,a\n"}});
  EXPECT_EQ(names_of(open("set")), Names{"0.png"});
  EXPECT_EQ(open("set").skipped_count(), 0);
  EXPECT_EQ(names_of(open("set", {.image_field = "mask_file_name"})), Names{"masks/0.png"});
}

}  // namespace sources_test
}  // namespace tessera::testing

#endif
