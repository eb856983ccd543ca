// Torch archives that lie: every field once, then thousands of mutations.
#include <gtest/gtest.h>

#include "checkpoint/torch_archive.h"
#include "checkpoint/zip_directory.h"
#include "support/resident.h"
#include "torch_writer.h"

namespace tessera {
namespace torch_archive_hostile_test {

using testing::bytes_of;
using testing::fails_with;
using testing::little_endian;
using testing::PickleWriter;
using testing::TemporaryFolder;

const std::string kFour = bytes_of(std::vector<float>{1, 2, 3, 4});

/// Loads a zip archive of this pickle (one storage "0" of four floats) and asks for all its tensors.
::testing::AssertionResult pickle_fails(const PickleWriter& pickle, const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  const auto path = folder.write("hostile.pt", testing::torch_zip(pickle.finish(), {{"0", kFour}}));
  auto expected = words;
  expected.push_back("hostile.pt");
  return fails_with([&] { load_torch_archive(path).tensors(); }, expected);
}

/// The same for a dict with one tensor.
::testing::AssertionResult tensor_fails(std::int64_t count, std::int64_t offset, const std::vector<std::int64_t>& sizes,
                                        const std::vector<std::int64_t>& strides,
                                        const std::vector<std::string>& words) {
  return pickle_fails(
      PickleWriter().dict().text("x").tensor("FloatStorage", "0", count, offset, sizes, strides).op('s'), words);
}

::testing::AssertionResult bytes_fail(const std::string& bytes, const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  const auto path = folder.write("hostile.pt", bytes);
  auto expected = words;
  expected.push_back("hostile.pt");
  return fails_with([&] { load_torch_archive(path).tensors(); }, expected);
}

std::string good_pickle() {
  return PickleWriter().dict().text("x").tensor("FloatStorage", "0", 4, 0, {2, 2}, {2, 1}).op('s').finish();
}

/// Replaces the only occurrence of a piece.
std::string with(std::string bytes, const std::string& piece, const std::string& other) {
  const auto at = bytes.find(piece);
  EXPECT_NE(at, std::string::npos);
  return bytes.replace(at, piece.size(), other);
}

/// A dict whose entries all have one key, which the pickle names by its memo, and none for a value.
std::string one_key_often(std::size_t key_bytes, std::size_t entries, char closes) {
  auto pickle = PickleWriter();
  if (closes == 'u') pickle.dict();
  pickle.mark().text(std::string(key_bytes, 'k')).raw("q\x01N");
  std::string more;
  for (std::size_t i = 1; i < entries; ++i) more += "h\x01N";
  return pickle.raw(more).op(closes).finish();
}

TEST(HostileTorchArchive, OneLongKeyOfManyEntriesTakesNoMemoryForEach) {
  const TemporaryFolder folder;
  for (const char closes : {'u', 'd'}) {
    for (const auto& [bytes, entries] : std::vector<std::pair<std::size_t, std::size_t>>{
             {100'000, 20'000}, {1'000, 200'000}, {60'000, 3}, {1, 2'000'000}}) {
      SCOPED_TRACE(fmt::format("{} x {} bytes, {}", entries, bytes, closes));
      const auto path = folder.write("bomb.pt", testing::torch_zip(one_key_often(bytes, entries, closes), {}));
      const testing::PeakMemory memory;
      EXPECT_TRUE(fails_with([&] { (void)load_torch_archive(path).tensors(); }, {"bomb.pt", "its pickle"}));
      EXPECT_LT(memory.grown(), 200);
    }
  }
  const auto path = folder.write("plain.pt", testing::torch_zip(one_key_often(1000, 100, 'u'), {}));
  EXPECT_EQ(load_torch_archive(path).root().entries().size(), 100u);
}

TEST(HostileTorchArchive, NamesOfNestedValuesStayShort) {
  const TemporaryFolder folder;
  auto pickle = PickleWriter();
  constexpr int kLevels = 8;
  for (int i = 0; i < kLevels; ++i) pickle.dict().text(std::string(1000, 'k'));
  pickle.op('N');
  for (int i = 0; i < kLevels; ++i) pickle.op('s');
  const auto path = folder.write("deep.pt", testing::torch_zip(pickle.finish(), {}));
  auto value = load_torch_archive(path).root();
  for (int i = 0; i < kLevels; ++i) value = value.entries().at(0).second;
  EXPECT_EQ(value.kind(), ValueKind::none);
  EXPECT_LE(value.name().size(), 512u);
}

TEST(HostileTorchArchive, TensorsOutsideTheirStorageAreRefused) {
  const auto most = std::numeric_limits<std::int64_t>::max();
  EXPECT_TRUE(tensor_fails(4, 0, {5}, {1}, {"'x'", "reaches element 4 of a storage of 4"}));
  EXPECT_TRUE(tensor_fails(4, 4, {1}, {1}, {"reaches element 4"}));
  EXPECT_TRUE(tensor_fails(4, 3, {2}, {1}, {"reaches element 4"}));
  EXPECT_TRUE(tensor_fails(4, 0, {2, 2}, {3, 1}, {"reaches element 4"}));
  EXPECT_TRUE(tensor_fails(4, -1, {1}, {1}, {"starts at element -1"}));
  EXPECT_TRUE(tensor_fails(4, most, {2}, {1}, {"overflows"}));
  EXPECT_TRUE(tensor_fails(4, 0, {-1}, {1}, {"size -1"}));
  EXPECT_TRUE(tensor_fails(4, 0, {2}, {-1}, {"stride -1"}));
  EXPECT_TRUE(tensor_fails(4, 0, {most, most}, {1, 1}, {"overflows"}));
  EXPECT_TRUE(tensor_fails(4, 0, {0, most, most}, {1, 1, 1}, {"overflows"}));
  EXPECT_TRUE(tensor_fails(4, 0, {3}, {most}, {"overflows"}));
  EXPECT_TRUE(tensor_fails(4, 0, {2, 2}, {1}, {"2 sizes and 1 strides"}));
  EXPECT_TRUE(tensor_fails(4, 0, std::vector<std::int64_t>(40, 1), std::vector<std::int64_t>(40, 1), {"40 sizes"}));
  EXPECT_TRUE(tensor_fails(5, 0, {4}, {1}, {"16 bytes, expected 5 elements"}));
  EXPECT_TRUE(tensor_fails(3, 0, {3}, {1}, {"16 bytes, expected 3 elements"}));
  EXPECT_TRUE(tensor_fails(most, 0, {4}, {1}, {"expected 9223372036854775807 elements"}));
  EXPECT_TRUE(tensor_fails(-4, 0, {4}, {1}, {"-4 elements"}));
  // A stride of 0 repeats an element: allowed, but not into terabytes.
  EXPECT_TRUE(tensor_fails(4, 0, {1 << 30, 1 << 10}, {0, 0}, {"far more memory"}));
}

TEST(HostileTorchArchive, BrokenPicklesAreRefused) {
  EXPECT_TRUE(pickle_fails(PickleWriter().op('0'), {"stack is empty"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('t'), {"no mark"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('R'), {"stack is empty"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('b'), {"stack is empty"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('Q'), {"stack is empty"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N').mark().op('0').op('0').op('0'), {"stack is empty"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().raw("h\x05"), {"not stored"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().raw("q\x05"), {"stack is empty"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('X').raw(little_endian(1000, 4)).raw("abc"), {"ends inside"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('\x8d').raw(std::string(8, '\xff')).raw("abc"), {"ends inside"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().raw("cnoend"), {"class name without end"}));
  EXPECT_TRUE(
      pickle_fails(PickleWriter().op('c').raw(std::string(5000, 'a')).raw("\nb\n"), {"class name without end"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N').op('N').op('a'), {"no list"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N').op('N').op('N').op('s'), {"no dict"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().dict().mark().op('N').op('u'), {"key without value"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().mark().op('e'), {"no list below"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N').op('N').op('R'), {"calls what is no class"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N').op('N').raw("\x93"), {"class name"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N').op('Q'), {"persistent id"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().mark().text("elsewhere").tuple().op('Q'), {"persistent id 'elsewhere'"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('\x82'), {"opcode 0x82", "torch.save"}));  // EXT1
  EXPECT_TRUE(pickle_fails(PickleWriter().op('i'), {"opcode 0x69"}));                   // INST
  EXPECT_TRUE(pickle_fails(PickleWriter(9), {"protocol"}));
  EXPECT_TRUE(
      pickle_fails(PickleWriter().global("torch._utils", "_rebuild_tensor_v2").op(')').op('R'), {"0 arguments"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N'), {"none, expected a dict"}));
}

TEST(HostileTorchArchive, MemoryBombsHitTheLimit) {
  // Millions of values, marks, memo entries and appended items, each a byte or two.
  EXPECT_TRUE(pickle_fails(PickleWriter().raw(std::string(3'000'000, 'N')), {"MiB of values"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().raw(std::string(3'000'000, '}')), {"MiB of values"}));
  EXPECT_TRUE(pickle_fails(PickleWriter().raw(std::string(3'000'000, '(')), {"MiB of values"}));
  std::string entries;
  for (std::uint64_t i = 0; i < 1'500'000; ++i) entries += testing::joined({"r", little_endian(i, 4)});
  EXPECT_TRUE(pickle_fails(PickleWriter().op('N').raw(entries), {"MiB of values"}));
  std::string doubling = "]q";
  doubling += '\0';
  for (int i = 0; i < 3'000'000; ++i) doubling += "2";
  EXPECT_TRUE(pickle_fails(PickleWriter().raw(doubling), {"MiB of values"}));
  // Dicts built again and again from one long list of pairs.
  PickleWriter pairs;
  pairs.op(']').mark();
  for (int i = 0; i < 20'000; ++i) pairs.op('N').op('N').op('\x86');
  pairs.op('e').op('\x85').raw(std::string("q\0", 2));
  for (int i = 0; i < 1000; ++i) pairs.global("collections", "OrderedDict").raw(std::string("h\0", 2)).op('R');
  EXPECT_TRUE(pickle_fails(pairs, {"MiB of values"}));
}

TEST(HostileTorchArchive, ValuesThatHoldThemselvesAreHarmless) {
  // A list in itself, and a dict in itself.
  PickleWriter pickle;
  pickle.dict().raw(std::string("q\0", 2)).mark().text("self").raw(std::string("h\0", 2));
  pickle.text("list").op(']').raw("q\x01").raw("h\x01").op('a').op('u');
  const TemporaryFolder folder;
  const auto archive = load_torch_archive(folder.write("cycle.pt", testing::torch_zip(pickle.finish(), {})));
  EXPECT_TRUE(archive.tensors().empty());
  EXPECT_EQ(archive.at("self/self/self/list/0/0/0").size(), 1u);
}

TEST(HostileTorchArchive, BrokenZipDirectoriesAreRefused) {
  const auto good = testing::torch_zip(good_pickle(), {{"0", kFour}});
  const auto end = good.size() - 22;
  const auto patched = [&](std::size_t at, const std::string& bytes) {
    return std::string(good).replace(at, bytes.size(), bytes);
  };
  EXPECT_TRUE(bytes_fail(good.substr(0, good.size() - 1), {"no zip directory"}));
  EXPECT_TRUE(bytes_fail(good.substr(0, good.size() / 2), {"no zip directory"}));
  EXPECT_TRUE(bytes_fail(good.substr(0, 10), {"too few"}));
  EXPECT_TRUE(bytes_fail(patched(end + 16, std::string(4, '\x7f')), {"outside the file"}));  // directory's offset
  EXPECT_TRUE(bytes_fail(patched(end + 12, std::string(4, '\x7f')), {"outside the file"}));  // directory's size
  EXPECT_TRUE(bytes_fail(patched(end + 10, std::string(2, '\x7f')), {"claims 32639 members"}));
  EXPECT_TRUE(bytes_fail(patched(good.find("PK\x01\x02"), "XXXX"), {"broken zip directory"}));
  const auto central = good.find("PK\x01\x02");
  EXPECT_TRUE(bytes_fail(patched(central + 10, std::string("\x08\0", 2)), {"compressed"}));
  EXPECT_TRUE(bytes_fail(patched(central + 8, std::string("\x01\0", 2)), {"compressed"}));  // encrypted
  EXPECT_TRUE(bytes_fail(patched(central + 20, std::string(4, '\x7f')), {"outside the file"}));
  EXPECT_TRUE(bytes_fail(patched(central + 24, std::string(4, '\x7f')), {"stored as"}));
  EXPECT_TRUE(bytes_fail(patched(central + 28, std::string(2, '\x7f')), {"name of"}));
  EXPECT_TRUE(bytes_fail(patched(central + 30, std::string(2, '\x7f')), {"truncated"}));
  EXPECT_TRUE(bytes_fail(patched(central + 42, std::string(4, '\x7f')), {"no header"}));
  EXPECT_TRUE(bytes_fail(patched(central + 46, "other"), {"another name"}));
  EXPECT_TRUE(
      bytes_fail(testing::zip_of({{"a/data.pkl", good_pickle()}, {"b/data.pkl", good_pickle()}}), {"two members"}));
  EXPECT_TRUE(bytes_fail(testing::zip_of({{"a", "x"}}), {"without data.pkl"}));
  EXPECT_TRUE(bytes_fail(testing::zip_of({{"data.pkl", good_pickle()}, {"data.pkl", "."}}), {"twice"}));
  EXPECT_TRUE(
      bytes_fail(testing::zip_of({{"m/data.pkl", good_pickle()}, {"m/byteorder", "big"}}), {"byte order 'big'"}));
  EXPECT_TRUE(bytes_fail(testing::torch_zip(good_pickle(), {}), {"storage '0' is not in the file"}));
  const auto wide = testing::torch_zip(good_pickle(), {{"0", kFour}}, true);
  EXPECT_TRUE(
      bytes_fail(std::string(wide).replace(wide.find("PK\x06\x07") + 8, 8, std::string(8, '\x7f')), {"truncated"}));
  EXPECT_TRUE(bytes_fail(with(wide, "PK\x06\x06", "XXXX"), {"broken zip64"}));
}

TEST(HostileTorchArchive, OverlappingZipMembersAreRefused) {
  // Two members of one size whose headers point to the same bytes: the second one's header lies in the first one's
  // data.
  const auto inner = testing::zip_of({{"m/data/1", kFour}});
  const auto local = inner.substr(0, inner.find("PK\x01\x02"));
  auto archive = testing::zip_of({{"m/data.pkl", local}, {"m/data/1", kFour}});
  const auto last = archive.rfind("PK\x01\x02");
  archive.replace(last + 42, 4, little_endian(archive.find(local, 4), 4));
  EXPECT_TRUE(bytes_fail(archive, {"overlap"}));
}

TEST(HostileTorchArchive, BrokenStreamsAreRefused) {
  const auto good = testing::torch_stream(good_pickle(), {{"0", 4, kFour}});
  EXPECT_TRUE(bytes_fail(good.substr(0, good.size() - 1), {"past the end"}));
  EXPECT_TRUE(bytes_fail(good.substr(0, good.size() - 17), {"truncated before storage '0'"}));
  EXPECT_TRUE(bytes_fail(good.substr(0, 15), {"malformed pickle"}));
  EXPECT_TRUE(bytes_fail("\x80\x02N.", {"not one that torch.save wrote"}));
  EXPECT_TRUE(bytes_fail("\x80", {"not one that torch.save wrote"}));
  EXPECT_TRUE(bytes_fail("hello", {"neither"}));
  EXPECT_TRUE(bytes_fail(std::string(1, '\0'), {"neither"}));
  EXPECT_TRUE(bytes_fail("", {"empty"}));
  EXPECT_TRUE(bytes_fail(testing::torch_stream(good_pickle(), {{"0", -1, kFour}}), {"-1 elements"}));
  EXPECT_TRUE(bytes_fail(testing::torch_stream(good_pickle(), {{"0", 1LL << 62, kFour}}), {"past the end"}));
  EXPECT_TRUE(bytes_fail(testing::torch_stream(good_pickle(), {{"9", 4, kFour}}), {"belongs to no tensor"}));
  EXPECT_TRUE(bytes_fail(testing::torch_stream(good_pickle(), {}), {"is not in the file"}));
  EXPECT_TRUE(bytes_fail(testing::torch_stream(good_pickle(), {{"0", 4, kFour}, {"0", 4, kFour}}), {"twice"}));
  EXPECT_TRUE(bytes_fail(with(good, little_endian(1001, 8), little_endian(1002, 8)), {"unknown protocol"}));
  EXPECT_TRUE(bytes_fail(with(good, "little_endian\x88", "little_endian\x89"), {"big-endian"}));
  EXPECT_TRUE(fails_with([] { load_torch_archive("/nowhere/x.pt"); }, {"/nowhere/x.pt"}));
  EXPECT_TRUE(fails_with([] { load_torch_archive("/tmp"); }, {"/tmp"}));
}

TEST(HostileTorchArchive, BooleansThatAreNeitherAreRefused) {
  const auto pickle = PickleWriter().dict().text("x").tensor("BoolStorage", "0", 2, 0, {2}, {1}).op('s').finish();
  EXPECT_TRUE(bytes_fail(testing::torch_zip(pickle, {{"0", "\x01\x02"}}), {"neither true nor false"}));
}

TEST(HostileTorchArchive, NamesWithControlCharactersStayOnOneLine) {
  EXPECT_TRUE(
      pickle_fails(PickleWriter().dict().text("a\nb\x1b[2J").tensor("FloatStorage", "0", 4, 9, {1}, {1}).op('s'),
                   {"a\\x0ab\\x1b[2J"}));
}

}  // namespace torch_archive_hostile_test
}  // namespace tessera
