#include "checkpoint/state_dict.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "checkpoint/safetensors_header.h"
#include "checkpoint/torch_archive.h"
#include "import/importers.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "support/scratch.h"

namespace tessera {
namespace state_dict_test {

namespace fs = std::filesystem;
using testing::scratch_folder;

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TensorMap two_tensors() {
  return {{"a.weight", torch::arange(6, torch::kFloat32).view({2, 3})}, {"b.bias", torch::ones({4})}};
}

bool same(const TensorMap& left, const TensorMap& right) {
  if (left.size() != right.size()) return false;
  return std::all_of(left.begin(), left.end(), [&](const auto& entry) {
    const auto found = right.find(entry.first);
    return found != right.end() && torch::equal(found->second, entry.second);
  });
}

TEST(StateDict, ModuleBeforeEveryNameIsCutOff) {
  const auto folder = scratch_folder("state-module");
  TensorMap wrapped;
  for (const auto& [name, tensor] : two_tensors()) wrapped.emplace("module." + name, tensor);
  save_safetensors(folder / "m.safetensors", wrapped);
  EXPECT_TRUE(same(load_state_dict(folder / "m.safetensors").tensors, two_tensors()));
  wrapped.emplace("other", torch::ones({1}));
  save_safetensors(folder / "n.safetensors", wrapped);
  EXPECT_TRUE(load_state_dict(folder / "n.safetensors").tensors.contains("module.a.weight"));
}

TEST(StateDict, ShardsAreReadByTheirIndex) {
  const auto folder = scratch_folder("state-shards");
  const auto all = two_tensors();
  const std::string stem = "diffusion_pytorch_model";
  save_safetensors(folder / (stem + "-00001-of-00002.safetensors"), {{"a.weight", all.at("a.weight")}});
  save_safetensors(folder / (stem + "-00002-of-00002.safetensors"), {{"b.bias", all.at("b.bias")}});
  const auto index = [&](const std::string& a, const std::string& b) {
    write_file_atomically(folder / (stem + ".safetensors.index.json"),
                          "{\"weight_map\": {\"a.weight\": \"" + a + "\", \"b.bias\": \"" + b + "\"}}");
  };
  index(stem + "-00001-of-00002.safetensors", stem + "-00002-of-00002.safetensors");
  EXPECT_TRUE(same(load_hub_weights(folder), all));
  index(stem + "-00001-of-00002.safetensors", stem + "-00003-of-00002.safetensors");
  EXPECT_NE(message_of([&] { load_hub_weights(folder); }).find("which is not there"), std::string::npos);
  index(stem + "-00001-of-00002.safetensors", stem + "-00001-of-00002.safetensors");
  EXPECT_NE(message_of([&] { load_hub_weights(folder); }).find("lacks 'b.bias'"), std::string::npos);
  index(stem + "-00001-of-00002.safetensors", "../elsewhere.safetensors");
  EXPECT_NE(message_of([&] { load_hub_weights(folder); }).find("expected the name of a file beside it"),
            std::string::npos);
}

TEST(StateDict, VariantsStandInForFullPrecision) {
  const auto folder = scratch_folder("state-variant");
  save_safetensors(folder / "diffusion_pytorch_model.fp16.safetensors", two_tensors());
  EXPECT_TRUE(same(load_hub_weights(folder), two_tensors()));
  const auto empty = scratch_folder("state-empty");
  EXPECT_NE(message_of([&] { load_hub_weights(empty); }).find("holds neither"), std::string::npos);
}

TEST(StateDict, WhatIsNoCheckpointIsNamed) {
  const auto folder = scratch_folder("state-foreign");
  const auto says = [&](const std::string& bytes, const std::string& part) {
    std::ofstream(folder / "x.safetensors", std::ios::binary) << bytes;
    const auto message = message_of([&] { load_state_dict(folder / "x.safetensors"); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  says("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n", "a Git LFS pointer");
  says("\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page");
  says(std::string("\x00\x10\0\0\0\0\0\0{}", 10), "cut off");
}

TEST(StateDict, AnUnknownFileIsAnsweredWithWhatItHolds) {
  const auto folder = scratch_folder("state-unknown");
  save_safetensors(folder / "x.safetensors", two_tensors());
  const auto message = message_of([&] { import_checkpoint(folder / "x.safetensors"); });
  EXPECT_NE(message.find("its 2 tensors fit no importer: it holds a. (1), b. (1); expected one of"), std::string::npos)
      << message;
}

TEST(StateDict, NumbersOfEightBitsAreWidened) {
  EXPECT_EQ(float8_value(0x00, Float8::e4m3), 0.F);
  EXPECT_EQ(float8_value(0x38, Float8::e4m3), 1.F);
  EXPECT_EQ(float8_value(0xB8, Float8::e4m3), -1.F);
  EXPECT_EQ(float8_value(0x7E, Float8::e4m3), 448.F);
  EXPECT_EQ(float8_value(0x01, Float8::e4m3), std::ldexp(1.F, -9));
  EXPECT_TRUE(std::isnan(float8_value(0x7F, Float8::e4m3)));
  EXPECT_EQ(float8_value(0x3C, Float8::e5m2), 1.F);
  EXPECT_EQ(float8_value(0x7B, Float8::e5m2), 57344.F);
  EXPECT_EQ(float8_value(0x01, Float8::e5m2), std::ldexp(1.F, -16));
  EXPECT_TRUE(std::isinf(float8_value(0xFC, Float8::e5m2)));
  const auto folder = scratch_folder("state-f8");
  const std::string header = R"({"w":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  std::ofstream(folder / "x.safetensors", std::ios::binary) << bytes + header + "\x38\x40\xB8";
  const auto tensors = load_safetensors(folder / "x.safetensors");
  EXPECT_TRUE(torch::equal(tensors.at("w"), torch::tensor({1.F, 2.F, -1.F}).to(torch::kHalf)));
  for (const auto format : {Float8::e4m3, Float8::e5m2}) {
    for (int bits = 0; bits < 256; ++bits) {
      const auto value = float8_value(static_cast<unsigned char>(bits), format);
      const auto held = static_cast<float>(static_cast<c10::Half>(value));
      EXPECT_TRUE(held == value || (std::isnan(held) && std::isnan(value))) << "float16 holds it exactly: " << bits;
    }
  }
}

TEST(StateDict, ManyNumbersOfEightBitsAreRefusedBeforeTheyAreWidened) {
  const auto folder = scratch_folder("state-f8-many");
  constexpr std::uint64_t kEach = std::uint64_t{140} << 20;
  const auto file_of = [&](const std::string& name, std::uint64_t count) {
    std::string entries;
    for (std::uint64_t i = 0; i < count; ++i) {
      entries += fmt::format(R"({}"w{}":{{"dtype":"F8_E5M2","shape":[{}],"data_offsets":[{},{}]}})", i ? "," : "", i,
                             kEach, i * kEach, (i + 1) * kEach);
    }
    const auto header = "{" + entries + "}";
    std::string length(8, '\0');
    length[0] = static_cast<char>(header.size() & 0xff);
    length[1] = static_cast<char>(header.size() >> 8);
    std::ofstream(folder / name, std::ios::binary) << length + header;
    std::filesystem::resize_file(folder / name, 8 + header.size() + count * kEach);  // with a hole
    return folder / name;
  };
  const auto one = file_of("one.safetensors", 1), two = file_of("two.safetensors", 2);
  const auto refused = [&] { return message_of([&] { load_safetensors(two); }); };
  EXPECT_NE(refused().find("two.safetensors: tensor 'w1' holds 146800640 numbers of 8 bits"), std::string::npos)
      << refused();
  EXPECT_EQ(read_safetensors_entries(two).size(), 2u) << "shapes and checksum need none of them";
  {
    const auto held = load_safetensors(one);
    EXPECT_NE(message_of([&] { load_safetensors(one); }), "") << "what is held is of all files together";
  }
  EXPECT_EQ(message_of([&] { load_safetensors(one); }), "");
}

TEST(StateDict, AHeaderOfAnyLengthIsNoPickle) {
  // A header's length is the file's first bytes; 128 and its like are also how a pickle begins.
  const auto folder = scratch_folder("state-length");
  for (int words = 1; words <= 80; ++words) {
    const TensorMap tensors = {{std::string(static_cast<std::size_t>(8 * words), 'n'), torch::ones({2})}};
    const auto file = folder / "x.safetensors";
    save_safetensors(file, tensors);
    EXPECT_FALSE(looks_like_torch_archive(file)) << words;
    EXPECT_TRUE(same(load_state_dict(file).tensors, tensors)) << words;
  }
}

}  // namespace state_dict_test
}  // namespace tessera
