#include "data/pack_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "checkpoint/safetensors.h"
#include "data/sample_files.h"
#include "runtime/atomic_file.h"

namespace tessera::testing {
namespace pack_file_test {

TEST(PackFile, HoldsTheWholeDataSet) {
  const TemporaryFolder folder;
  auto content = synthetic_dataset(7, 5).content();
  content.items[2] = {"na\xc3\xafve/\"x\".png", "two\nlines", -1, "{\"group\":{\"a\":[1,2]},\"n\":1.5}"};
  content.skipped = {"broken.png: cannot be decoded"};
  content.skipped_count = 3;
  compute_key(content);
  const Dataset saved(content, 0.3, 1);
  saved.save_pack(folder / "set.tessera-pack");

  auto options = options_for(folder / "set.tessera-pack", 0);
  options.validation_fraction = 0.3;
  options.split_seed = 1;
  const auto opened = Dataset::open(options);
  EXPECT_TRUE(torch::equal(opened.images(), saved.images()));
  EXPECT_EQ(opened.key(), saved.key());
  EXPECT_EQ(opened.split(Split::validation), saved.split(Split::validation));
  EXPECT_EQ(opened.class_names(), saved.class_names());
  EXPECT_EQ(opened.skipped(), saved.skipped());
  EXPECT_EQ(opened.skipped_count(), 3);
  for (std::int64_t i = 0; i < saved.size(); ++i) {
    EXPECT_EQ(opened.file_name(i), saved.file_name(i));
    EXPECT_EQ(opened.caption(i), saved.caption(i));
    EXPECT_EQ(opened.label(i), saved.label(i));
    EXPECT_EQ(opened.item(i).fields, saved.item(i).fields);
  }
}

TEST(PackFile, IsUsableAfterItsFileIsReplaced) {
  const TemporaryFolder folder;
  const auto first = synthetic_dataset(4, 3);
  first.save_pack(folder / "set.tessera-pack");
  const auto opened = Dataset::open(options_for(folder / "set.tessera-pack", 0));
  synthetic_dataset(9, 6).save_pack(folder / "set.tessera-pack");
  EXPECT_TRUE(torch::equal(opened.images(), first.images()));
}

TEST(PackFile, KeyTellsPixelsRecordsAndLabelsApart) {
  const auto key_after = [](auto change) {
    auto content = synthetic_dataset(4, 3).content();
    content.images = content.images.clone();
    change(content);
    compute_key(content);
    return content.key;
  };
  const auto base = key_after([](auto&) {});
  EXPECT_EQ(base, synthetic_dataset(4, 3).key());
  EXPECT_NE(base, key_after([](auto& c) { c.images[3][2][2][2] = 77; }));
  EXPECT_NE(base, key_after([](auto& c) { c.items[1].caption = "other"; }));
  EXPECT_NE(base, key_after([](auto& c) { c.items[1].label = 2; }));
  EXPECT_NE(base, key_after([](auto& c) { c.items[1].file_name = "other.png"; }));
  EXPECT_NE(base, key_after([](auto& c) { c.class_names[0] = "other"; }));
}

TEST(PackFile, AnotherSizeThanAskedForIsAnError) {
  const TemporaryFolder folder;
  synthetic_dataset(2, 6).save_pack(folder / "set.tessera-pack");
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options_for(folder / "set.tessera-pack", 8)); }),
                       "images of 6 pixels, expected 8"));
  EXPECT_TRUE(contains(error_of([&] { Dataset::open(options_for(folder / "none.tessera-pack", 8)); }), "no such file"));
}

TEST(PackFile, EveryTruncationIsAnError) {
  const TemporaryFolder folder;
  const auto path = folder / "set.tessera-pack";
  synthetic_dataset(2, 3).save_pack(path);
  const auto bytes = read_file(path);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    put_file(path, bytes.substr(0, size));
    const auto message = error_of([&] { read_pack(path); });
    ASSERT_TRUE(contains(message, "set.tessera-pack")) << size << ": " << message;
  }
}

/// The pack with one piece of its JSON header replaced by another.
std::string with_header(const std::string& pack, const std::string& from, const std::string& to) {
  std::uint64_t length = 0;
  std::memcpy(&length, pack.data(), 8);
  std::string header = pack.substr(8, length);
  const std::string data = pack.substr(8 + length);
  const auto at = header.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  header.replace(at, from.size(), to);
  length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

/// The text of a tensor's data_offsets, "[begin,end]", wherever the writer has put it.
std::string offsets_of(const std::string& pack, const std::string& tensor) {
  const auto entry = pack.find("\"" + tensor + "\":{");
  const auto key = pack.find("\"data_offsets\":", entry);
  const auto begin = pack.find('[', key), end = pack.find(']', key);
  EXPECT_TRUE(entry != std::string::npos && end != std::string::npos) << tensor;
  return pack.substr(begin, end - begin + 1);
}

TEST(PackFile, HostileHeadersAreErrorsFieldByField) {
  const TemporaryFolder folder;
  const auto path = folder / "set.tessera-pack";
  synthetic_dataset(2, 3).save_pack(path);
  auto good = read_file(path);
  good.replace(good.find("tessera.sha256"), 14, "tessera.absent");  // the fields are to be found, not the checksum
  const auto offsets = offsets_of(good, "images");
  const std::pair<std::string, std::string> changes[] = {
      {"[2,3,3,3]", "[2,3,3,4]"},
      {"[2,3,3,3]", "[-2,3,3,-3]"},
      {"[2,3,3,3]", "[4611686018427387904,3,4294967296,4294967296]"},
      {"[2,3,3,3]", "[54]"},
      {"[2,3,3,3]", "[2,27,1,1]"},
      {"[2,3,3,3]", "\"many\""},
      {"[2,3,3,3]", "[0,3,3,3]"},
      {offsets, "[54,0]"},
      {offsets, "[0,18446744073709551615]"},
      {offsets, "[18446744073709551562,18446744073709551616]"},
      {offsets, "[]"},
      {"\"U8\"", "\"F32\""},
      {"\"images\"", "\"pictures\""},
      {"\"labels\"", "\"lables\""},
      {"\"tessera-pack\"", "\"other\""},
      {"\"version\":\"1\"", "\"version\":\"999\""},
      {"\"skipped_count\":\"0\"", "\"skipped_count\":\"{\""},
      {"[\\\"a\\\",\\\"b\\\",\\\"c\\\"]", "[1,2]"},
      {"[\\\"a\\\",\\\"b\\\",\\\"c\\\"]", "[]"},
      {"\"key\":\"", "\"key\":\"0"},
      {"__metadata__", "__data__"},
  };
  for (const auto& [from, to] : changes) {
    put_file(path, with_header(good, from, to));
    const auto message = error_of([&] { read_pack(path); });
    EXPECT_TRUE(contains(message, "set.tessera-pack")) << from << " -> " << to << ": '" << message << "'";
  }
  auto broken_record = good;
  broken_record.replace(good.find("{\"file_name\""), 4, "xxxx");
  put_file(path, broken_record);
  EXPECT_TRUE(contains(error_of([&] { read_pack(path); }), "record 0"));
  auto huge_header = good;
  huge_header.replace(0, 8, "\xff\xff\xff\xff\xff\xff\xff\x7f");
  put_file(path, huge_header);
  EXPECT_THROW(read_pack(path), Error);
  put_file(path, with_header(good, "\"U8\"", "\"U8\""));
  EXPECT_EQ(read_pack(path).items.size(), 2U) << "the change alone made the errors";
}

TEST(PackFile, OtherSafetensorsAreNoPacks) {
  const TemporaryFolder folder;
  save_safetensors(folder / "weights.tessera-pack", {{"images", torch::zeros({1, 3, 2, 2}, torch::kUInt8)}});
  EXPECT_TRUE(contains(error_of([&] { read_pack(folder / "weights.tessera-pack"); }), "not a .tessera-pack"));
}

/// Of more blocks than one: 40 images of 200 pixels are 4.6 MiB.
DatasetContent large_content() {
  auto content = synthetic_dataset(40, 3).content();
  content.images = torch::randint(0, 256, {40, 3, 200, 200}, torch::kUInt8);
  compute_key(content);
  return content;
}

std::string flipped(std::string bytes, std::size_t at, unsigned bit) {
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
  return bytes;
}

TEST(PackFile, ABlockThatChangedIsFoundWhenItIsUsed) {
  const TemporaryFolder folder;
  const auto path = folder / "set.tessera-pack";
  write_pack(path, large_content(), "");
  const auto bytes = read_file(path);
  const auto whole = read_pack(path, nullptr, 0);
  ASSERT_NE(whole.checks, nullptr);
  const auto begin = static_cast<std::size_t>(bytes.size() - 40 * 120'000 - 2000);  // within the first images or before
  write_file_atomically(path, flipped(bytes, begin + 3'000'000, 5));
  const Dataset damaged(read_pack(path, nullptr, 0), 0, 1);
  EXPECT_NO_THROW(damaged.image(0));
  EXPECT_NO_THROW(damaged.images(0, 5));
  std::int64_t refused = 0;
  for (std::int64_t i = 0; i < damaged.size(); ++i) {
    const auto message = error_of([&] { (void)damaged.image(i); });
    if (message.empty()) continue;
    ++refused;
    EXPECT_TRUE(contains(message, "set.tessera-pack: block ")) << message;
  }
  EXPECT_GE(refused, 8) << "a block of a MiB holds eight of these images";
  EXPECT_LE(refused, 11);
  EXPECT_TRUE(contains(error_of([&] { (void)damaged.images(); }), "block "));
  EXPECT_TRUE(contains(error_of([&] { damaged.save_pack(folder / "copy.tessera-pack"); }), "block "));
  EXPECT_TRUE(contains(error_of([&] { read_pack(path, nullptr, 1 << 30); }), "do not have the checksum"));
}

TEST(PackFile, AFlippedBitAtAnyPlaceIsFoundAndNamed) {
  const TemporaryFolder folder;
  const auto path = folder / "set.tessera-pack";
  write_pack(path, large_content(), "");
  const auto bytes = read_file(path);
  std::mt19937_64 random(5);
  for (int i = 0; i < 200; ++i) {
    // Every second place lies outside the images.
    const auto place = i % 2 == 0 ? random() % bytes.size() : random() % 4000;
    write_file_atomically(path, flipped(bytes, place, static_cast<unsigned>(random() % 8)));
    const auto message = error_of([&] { (void)Dataset(read_pack(path, nullptr, 0), 0, 1).images(); });
    EXPECT_TRUE(contains(message, "set.tessera-pack")) << "byte " << place << ": " << message;
  }
}

TEST(PackFile, PacksOfEarlierVersionsAreReadWithoutChecksumsOfBlocks) {
  const TemporaryFolder folder;
  const auto path = folder / "set.tessera-pack";
  const auto content = large_content();
  write_pack(path, content, "");
  Metadata metadata;
  auto tensors = load_safetensors(path, &metadata);
  tensors.erase("image_checks");
  save_safetensors(path, tensors, metadata);
  const auto read = read_pack(path, nullptr, 0);
  EXPECT_EQ(read.checks, nullptr);
  EXPECT_TRUE(torch::equal(read.images, content.images));
}

}  // namespace pack_file_test
}  // namespace tessera::testing
