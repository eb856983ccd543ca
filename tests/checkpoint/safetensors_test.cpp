#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <random>

#include "runtime/atomic_file.h"
#include "torch_writer.h"

namespace tessera {
namespace safetensors_test {

using testing::fails_with;
using testing::little_endian;
using testing::TemporaryFolder;

/// A file of this header and data, loaded.
::testing::AssertionResult header_fails(const std::string& header, const std::string& data,
                                        const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  const auto path = folder.write("hostile.safetensors", little_endian(header.size(), 8) + header + data);
  auto expected = words;
  expected.push_back("hostile.safetensors");
  return fails_with([&] { load_safetensors(path); }, expected);
}

/// A header with one tensor 'x' of four floats, one of whose fields is replaced.
std::string header_with(const std::string& dtype = "\"F32\"", const std::string& shape = "[4]",
                        const std::string& offsets = "[0,16]") {
  return R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

const std::string kData(16, '\0');

TEST(Safetensors, WhatWasSavedIsLoaded) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const TensorMap saved = {{"a", torch::randn({3, 4}).t()},
                           {"byte", torch::tensor({1, 2, 3}, torch::kUInt8)},
                           {"d", torch::randn({2}, torch::kFloat64)},
                           {"h", torch::randn({5}).to(torch::kFloat16)},
                           {"b", torch::randn({5}).to(torch::kBFloat16)},
                           {"flag", torch::tensor({true, false, true})},
                           {"scalar", torch::tensor(7, torch::kInt64)},
                           {"empty", torch::empty({0, 3})},
                           {"i8", torch::tensor({-1}, torch::kInt8)},
                           {"i16", torch::tensor({-2}, torch::kInt16)},
                           {"i32", torch::tensor({-3}, torch::kInt32)}};
  save_safetensors(path, saved, {{"format", "pt"}, {"note", "ä"}});
  Metadata metadata;
  const auto loaded = load_safetensors(path, &metadata);
  ASSERT_EQ(loaded.size(), saved.size());
  for (const auto& [name, tensor] : saved) {
    EXPECT_EQ(loaded.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(loaded.at(name).equal(tensor)) << name;
  }
  EXPECT_EQ(metadata, (Metadata{{"format", "pt"}, {"note", "ä"}}));
}

TEST(Safetensors, AnEmptyFileOfTensorsIsOne) {
  const TemporaryFolder folder;
  save_safetensors(folder.path() / "x.safetensors", {});
  EXPECT_TRUE(load_safetensors(folder.path() / "x.safetensors").empty());
}

TEST(Safetensors, LoadedTensorsAreWritableAndTheFileStaysAsItIs) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  save_safetensors(path, {{"a", torch::zeros({1000})}});
  const auto before = testing::slurp(path);
  auto tensor = load_safetensors(path).at("a");
  tensor.add_(1);
  EXPECT_EQ(tensor.sum().item<float>(), 1000);
  EXPECT_EQ(testing::slurp(path), before);
  // A file may be replaced while its tensors are in use.
  save_safetensors(path, {{"a", tensor * 2}});
  EXPECT_EQ(tensor.sum().item<float>(), 1000);
  EXPECT_EQ(load_safetensors(path).at("a").sum().item<float>(), 2000);
}

TEST(Safetensors, TensorsAtOddAddressesAreCopied) {
  const TemporaryFolder folder;
  // One byte, then two floats at an address that is no multiple of four.
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  const auto data = testing::joined({"\x07", testing::bytes_of(std::vector<float>{1.5f, -2.f})});
  const auto tensors = load_safetensors(folder.write("x.safetensors", little_endian(header.size(), 8) + header + data));
  EXPECT_TRUE(tensors.at("b").equal(torch::tensor({1.5f, -2.f})));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensors.at("b").data_ptr()) % 4, 0u);
}

TEST(HostileSafetensors, TheHeadersLengthIsChecked) {
  const TemporaryFolder folder;
  const auto file_fails = [&](const std::string& bytes, const std::string& word) {
    const auto path = folder.write("x.safetensors", bytes);
    return fails_with([&] { load_safetensors(path); }, {"x.safetensors", word});
  };
  EXPECT_TRUE(file_fails("", "empty"));
  EXPECT_TRUE(file_fails("1234567", "7 bytes"));
  EXPECT_TRUE(file_fails(little_endian(~0ull, 8) + "{}", "header of 18446744073709551615 bytes"));
  EXPECT_TRUE(file_fails(little_endian(3, 8) + "{}", "header of 3 bytes"));
  EXPECT_TRUE(file_fails(little_endian(17 << 20, 8) + std::string(17 << 20, ' '), "expected at most"));
  EXPECT_TRUE(fails_with([] { load_safetensors("/nowhere/x"); }, {"/nowhere/x"}));
}

TEST(HostileSafetensors, TheHeaderIsJsonOfTheRightForm) {
  EXPECT_TRUE(header_fails("", "", {"no JSON object"}));
  EXPECT_TRUE(header_fails("[]", "", {"no JSON object"}));
  EXPECT_TRUE(header_fails("{", "", {"no JSON at byte"}));
  EXPECT_TRUE(header_fails("{}x", "", {"no JSON at byte"}));
  EXPECT_TRUE(header_fails("{\"\xff\":1}", "", {"no JSON at byte"}));
  EXPECT_TRUE(header_fails(R"({"x":1})", "", {"'x'", "number 1"}));
  EXPECT_TRUE(header_fails(R"({"x":null})", "", {"'x'", "null"}));
  EXPECT_TRUE(header_fails(R"({"x":"y"})", "", {"'x'", "'y'"}));
  EXPECT_TRUE(header_fails(R"({"x":[]})", "", {"'x'", "a list"}));
  EXPECT_TRUE(header_fails(R"({"x":{}})", "", {"'x'", "lacks"}));
  EXPECT_TRUE(header_fails(R"({"x":{"more":1}})", "", {"'x'", "field 'more'"}));
  EXPECT_TRUE(header_fails(R"({"x":{"dtype":{}}})", "", {"'x'", "an object"}));
  EXPECT_TRUE(header_fails(R"({"x":{"shape":[[]]}})", "", {"'x'", "a list"}));
  EXPECT_TRUE(header_fails(R"({"x":{"dtype":"F32","dtype":"F32"}})", "", {"'x'", "'dtype' occurs twice"}));
  EXPECT_TRUE(header_fails(testing::joined({"{\"x\":", std::string(1'000'000, '[')}), "", {"a list"}));
  EXPECT_TRUE(header_fails(R"({"__metadata__":{"a":1}})", "", {"metadata", "number 1"}));
  EXPECT_TRUE(header_fails(R"({"__metadata__":{"a":[]}})", "", {"metadata", "a list"}));
  EXPECT_TRUE(header_fails(R"({"__metadata__":1})", "", {"metadata"}));
  std::string many = "{";
  for (int i = 0; i < 100'001; ++i)
    many += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_TRUE(header_fails(many + "}", "", {"more than 100000 tensors"}));
}

TEST(HostileSafetensors, TypesAndShapesAreChecked) {
  EXPECT_TRUE(header_fails(header_with("\"F33\""), kData, {"'x'", "dtype 'F33'", "F32"}));
  EXPECT_TRUE(header_fails(header_with("4"), kData, {"'x'", "number 4"}));
  EXPECT_TRUE(header_fails(header_with("\"F64\""), kData, {"'x'", "span 16 bytes", "needs 32"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[-4]"), kData, {"'x'", "number -4"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[4.0]"), kData, {"'x'", "number 4.0"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[1e1]"), kData, {"'x'", "number 1e1"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "4"), kData, {"'x'", "number 4"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[5]"), kData, {"'x'", "needs 20"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[4294967296,4294967296]"), kData, {"'x'", "overflows"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[18446744073709551615]"), kData, {"'x'", "overflows"}));
  EXPECT_TRUE(
      header_fails(header_with("\"F32\"", "[0,281474976710656,281474976710656]", "[0,0]"), "", {"'x'", "overflows"}));
  EXPECT_TRUE(
      header_fails(header_with("\"F32\"", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4]"), kData, {"'x'", "more than 16"}));
  EXPECT_TRUE(
      header_fails(header_with("\"BOOL\"", "[16]"), std::string(16, '\x02'), {"'x'", "neither true nor false"}));
}

TEST(HostileSafetensors, OffsetsCoverTheDataExactly) {
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[4]", "[16,0]"), kData, {"'x'", "rising"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[4]", "[0]"), kData, {"'x'", "no pair"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[4]", "[0,16,32]"), kData, {"'x'", "no pair"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[4]", "[-1,15]"), kData, {"'x'", "number -1"}));
  EXPECT_TRUE(header_fails(header_with("\"F32\"", "[4]", "[4,20]"), kData, {"'x'", "gap"}));
  EXPECT_TRUE(header_fails(header_with(), kData.substr(1), {"'x'", "ends at byte 16", "which has 15"}));
  EXPECT_TRUE(header_fails(header_with(), kData + "x", {"17 bytes of data", "cover 16"}));
  const std::string two =
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":)";
  EXPECT_TRUE(header_fails(two + "[2,6]}}", "123456", {"'b'", "overlap"}));
  EXPECT_TRUE(header_fails(two + "[5,9]}}", "123456789", {"'b'", "gap"}));
  EXPECT_TRUE(header_fails(two + "[18446744073709551612,18446744073709551615]}}", "12345678", {"'b'"}));
  const std::string twice =
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})";
  EXPECT_TRUE(header_fails(twice, "12345678", {"'a' occurs twice"}));
}

TEST(Safetensors, WhatTheFormatCannotHoldIsNotWritten) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  EXPECT_TRUE(fails_with(
      [&] {
        save_safetensors(path, {{"c", torch::zeros({1}, torch::kComplexFloat)}});
      },
      {"ComplexFloat"}));
  EXPECT_TRUE(fails_with([&] { save_safetensors(path, {{"\xff", torch::zeros({1})}}); }, {"UTF-8"}));
  EXPECT_TRUE(fails_with([&] { save_safetensors(path, {{"__metadata__", torch::zeros({1})}}); }, {"__metadata__"}));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

/// What states, best states, token caches, partial canvases, kept samples, kept features and weights are stored as.
TEST(Safetensors, AFlippedBitAtAnyPlaceIsFoundAndNamed) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  save_safetensors(path, {{"a.weight", torch::randn({64, 8})}, {"codes", torch::randint(0, 9, {16, 4, 4})}},
                   {{"step", "17"}, {"format", "tessera-tokens"}});
  const auto bytes = read_file(path);
  std::mt19937_64 random(3);
  const auto damaged = [&](std::size_t at, unsigned bit) {
    auto flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
    write_file_atomically(path, flipped);
    return fails_with([&] { load_safetensors(path); }, {"state.safetensors"});
  };
  for (int i = 0; i < 200; ++i) {
    const auto at = random() % bytes.size();
    EXPECT_TRUE(damaged(at, static_cast<unsigned>(random() % 8))) << "byte " << at;
  }
  // Every bit of the checksum's own name and digits too.
  const auto name = bytes.find("tessera.sha256");
  ASSERT_NE(name, std::string::npos);
  for (std::size_t at = name - 1; at < name + 20; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) EXPECT_TRUE(damaged(at, bit)) << "byte " << at << " bit " << bit;
  }
}

}  // namespace safetensors_test
}  // namespace tessera
