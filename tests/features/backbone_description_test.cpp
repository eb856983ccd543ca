/// Descriptions and weights of feature networks from strangers: every fault is one line that names the thing.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "features/backbone.h"
#include "runtime/error.h"
#include "support/scratch.h"

namespace tessera {
namespace backbone_description_test {

nlohmann::json small_network() {
  return nlohmann::json::parse(R"({
    "name": "Tiny, for tests", "file": "tiny.safetensors", "license": "passed over",
    "preprocessing": {"input": "RGB in [0,1], NCHW", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "layers": [
      {"op": "conv", "name": "stem", "kernel": 3, "stride": 2, "padding": 0, "relu": true, "tap": 0},
      {"op": "maxpool", "kernel": 3, "stride": 2, "ceil_mode": true},
      {"op": "fire", "name": "fire", "tap": 1, "note": "free text"},
      {"op": "inverted residual", "name": "block", "expand": 2, "channels": 6, "stride": 1, "residual": true,
       "tap_after_expand": 2}
    ]})");
}

TensorMap small_weights() {
  torch::manual_seed(1);
  return {{"stem.weight", torch::randn({4, 3, 3, 3})},
          {"stem.bias", torch::randn({4})},
          {"fire.squeeze.weight", torch::randn({2, 4, 1, 1})},
          {"fire.squeeze.bias", torch::randn({2})},
          {"fire.expand1x1.weight", torch::randn({3, 2, 1, 1})},
          {"fire.expand1x1.bias", torch::randn({3})},
          {"fire.expand3x3.weight", torch::randn({3, 2, 3, 3})},
          {"fire.expand3x3.bias", torch::randn({3})},
          {"block.expand.weight", torch::randn({12, 6, 1, 1})},
          {"block.expand.bias", torch::randn({12})},
          {"block.depthwise.weight", torch::randn({12, 1, 3, 3})},
          {"block.depthwise.bias", torch::randn({12})},
          {"block.project.weight", torch::randn({6, 12, 1, 1})},
          {"block.project.bias", torch::randn({6})}};
}

std::string fault_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_fault(const std::string& message, const std::vector<std::string>& parts) {
  for (const auto& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(BackboneDescription, ASmallNetworkOfEveryKindRuns) {
  const Backbone backbone(parse_backbone_description(small_network().dump(), "tiny.json"), small_weights(), "tiny");
  EXPECT_EQ(backbone.width(), 6);
  EXPECT_EQ(backbone.description().taps(), 3);
  EXPECT_EQ(backbone.description().short_name(), "Tiny");
  const auto smallest = backbone.description().smallest_side();
  EXPECT_EQ(smallest, 5);  // 5 -> 2 -> 1
  const auto output = backbone.forward(torch::rand({2, 3, smallest, 12}));
  ASSERT_EQ(output.taps.size(), 3U);
  EXPECT_EQ(output.taps[0].sizes(), torch::IntArrayRef({2, 4, 2, 5}));
  EXPECT_EQ(output.taps[2].size(1), 12);
  EXPECT_EQ(output.features.sizes(), torch::IntArrayRef({2, 6}));
  expect_fault(fault_of([&] { (void)backbone.forward(torch::rand({2, 3, 4, 12})); }), {"Tiny", "12x4", "5x5"});
  expect_fault(fault_of([&] { (void)backbone.forward(torch::rand({2, 1, 8, 8})); }), {"Tiny", "[2, 1, 8, 8]"});
}

TEST(BackboneDescription, TheSmallestSideIsThatOfLibTorchsOwnOperations) {
  for (const auto& name : shipped_backbone_names()) {
    const auto backbone = shipped_backbone(name);
    const auto smallest = backbone.description().smallest_side();
    EXPECT_NO_THROW((void)backbone.forward(torch::rand({1, 3, smallest, smallest}))) << name;
  }
  EXPECT_EQ(shipped_backbone("squeezenet").description().smallest_side(), 17);
}

TEST(BackboneDescription, EveryFaultOfAFieldIsNamed) {
  struct Case {
    const char* pointer;
    nlohmann::json value;  // discarded: the key is taken away
    std::vector<std::string> parts;
  };
  const auto gone = nlohmann::json(nlohmann::json::value_t::discarded);
  const std::vector<Case> cases = {
      {"/name", gone, {"name is missing"}},
      {"/name", 5, {"name is 5", "string"}},
      {"/file", "../x.safetensors", {"file '../x.safetensors'"}},
      {"/file", "", {"file ''"}},
      {"/preprocessing", gone, {"preprocessing is missing"}},
      {"/preprocessing/input", "BGR", {"'BGR'", "RGB in [0,1], NCHW"}},
      {"/preprocessing/mean", {1, 2}, {"mean", "three numbers"}},
      {"/preprocessing/std", {1, 0, 1}, {"std 0"}},
      {"/preprocessing/judge_size", 100000, {"judge_size is 100000", "2048"}},
      {"/layers", nlohmann::json::array(), {"layers", "0 of them"}},
      {"/layers", "x", {"layers"}},
      {"/layers/0", 3, {"layer 0", "object"}},
      {"/layers/0/op", "convolution", {"layer 0", "'convolution'", "'conv'", "'fire'"}},
      {"/layers/0/op", "a\nb", {"layer 0", "\\x0a"}},
      {"/layers/0/name", gone, {"layer 0", "name is missing"}},
      {"/layers/0/name", "fire", {"layer 2", "second layer", "fire"}},
      {"/layers/0/kernel", 0, {"layer 0", "kernel is 0", "1 to 31"}},
      {"/layers/0/kernel", 2.5, {"layer 0", "kernel is 2.5"}},
      {"/layers/0/stride", 1000000000000, {"layer 0", "stride"}},
      {"/layers/0/padding", -1, {"layer 0", "padding is -1"}},
      {"/layers/0/relu", "yes", {"layer 0", "relu"}},
      {"/layers/0/relu6", true, {"layer 0", "relu and relu6"}},
      {"/layers/0/groups", 4, {"layer 0", "unknown key 'groups'"}},
      {"/layers/0/tap", 1, {"tap 1", "expected 0"}},
      {"/layers/2/tap", 0, {"'fire'", "tap 0", "expected 1"}},
      {"/layers/3/expand", 1, {"layer 3", "tap_after_expand"}},
      {"/layers/3/stride", 2, {"layer 3", "residual", "stride 2"}},
      {"/layers/3/channels", gone, {"layer 3", "channels is missing"}},
      {"/layers/1/kernel", 31, {"no error"}},  // only larger pictures fit
  };
  for (const auto& [pointer, value, parts] : cases) {
    SCOPED_TRACE(pointer);
    auto document = small_network();
    const nlohmann::json::json_pointer at(pointer);
    if (value.is_discarded()) {
      document[at.parent_pointer()].erase(at.back());
    } else {
      document[at] = value;
    }
    const auto text = document.dump();
    expect_fault(fault_of([&] { (void)parse_backbone_description(text, "net.json"); }), parts);
  }
  expect_fault(fault_of([] { (void)parse_backbone_description("{", "net.json"); }), {"net.json", "not JSON"});
  expect_fault(fault_of([] { (void)parse_backbone_description(std::string(2 << 20, ' '), "net.json"); }),
               {"net.json", "2097152 bytes"});
  expect_fault(fault_of([] {
                 (void)parse_backbone_description(R"({"name":"x","file":"y","preprocessing":{"input":)" +
                                                      std::string(400000, '[') + std::string(400000, ']') + "}}",
                                                  "net.json");
               }),
               {"net.json", "nested deeper than 64"});
}

TEST(BackboneDescription, EveryTensorThatDoesNotFitIsNamed) {
  const auto description = parse_backbone_description(small_network().dump(), "tiny.json");
  const auto fault = [&](const std::function<void(TensorMap&)>& change) {
    auto weights = small_weights();
    change(weights);
    return fault_of([&] { Backbone(description, weights, "tiny.safetensors"); });
  };
  expect_fault(fault([](auto& w) { w.erase("fire.expand3x3.weight"); }),
               {"tiny.safetensors", "missing 'fire.expand3x3.weight'"});
  expect_fault(fault([](auto& w) {
                 w.erase("stem.bias");
                 w["head.weight"] = torch::ones({1});
               }),
               {"2 tensors", "missing 'stem.bias'", "unexpected 'head.weight'"});
  expect_fault(fault([](auto& w) {
                 w["stem.weight"] = torch::randn({4, 3, 5, 5});
               }),
               {"'stem.weight' [4, 3, 5, 5], expected [4, 3, 3, 3]"});
  expect_fault(fault([](auto& w) { w["stem.weight"] = torch::randn({0, 3, 3, 3}); }), {"'stem.weight' [0, 3, 3, 3]"});
  expect_fault(fault([](auto& w) { w["stem.weight"] = torch::tensor(1.0); }), {"'stem.weight' []"});
  expect_fault(fault([](auto& w) { w["stem.bias"] = torch::ones({5}); }), {"'stem.bias' [5], expected [4]"});
  expect_fault(fault([](auto& w) {
                 w["block.depthwise.weight"] = torch::ones({12, 12, 3, 3});
               }),
               {"'block.depthwise.weight' [12, 12, 3, 3], expected [12, 1, 3, 3]"});
  expect_fault(fault([](auto& w) { w["stem.bias"] = torch::ones({4}, torch::kInt64); }),
               {"'stem.bias' [4]", "floating type"});
  expect_fault(fault([](auto& w) {
                 for (auto& [name, tensor] : w) tensor = tensor.to(torch::kHalf);
               }),
               {"no error"});
}

TEST(BackboneDescription, AResidualOfOtherWidthIsNamed) {
  auto document = small_network();
  document["layers"][3]["channels"] = 5;
  const auto description = parse_backbone_description(document.dump(), "tiny.json");
  auto weights = small_weights();
  weights["block.project.weight"] = torch::ones({5, 12, 1, 1});
  weights["block.project.bias"] = torch::ones({5});
  expect_fault(fault_of([&] { Backbone(description, weights, "tiny"); }), {"'block'", "6 channels", "5"});
}

TEST(BackboneFiles, WeightsOfAnotherHashAndAbsentOnesAreNamed) {
  const auto folder = testing::scratch_folder("backbone");
  const auto json = folder / "tiny.json";
  const auto write = [&](const nlohmann::json& document) { std::ofstream(json) << document.dump(); };
  write(small_network());
  expect_fault(fault_of([&] { (void)load_backbone(json); }), {"tiny.json", "'tiny.safetensors'", "not beside it"});
  save_safetensors(folder / "tiny.safetensors", small_weights());
  const auto backbone = load_backbone(json);
  EXPECT_EQ(backbone.hash().size(), 64U);
  auto document = small_network();
  document["sha256"] = std::string(64, '0');
  write(document);
  expect_fault(fault_of([&] { (void)load_backbone(json); }), {"tiny.safetensors", backbone.hash(), "0000"});
  document["sha256"] = backbone.hash();
  write(document);
  EXPECT_NO_THROW((void)load_backbone(json));
  expect_fault(fault_of([&] { (void)load_backbone(folder / "none.json"); }), {"none.json"});
  expect_fault(fault_of([] { (void)shipped_backbone("vgg"); }), {"'vgg'", "mobilenetv2, squeezenet"});
}

TEST(ShippedNetworks, AreTheFilesOfTheRepository) {
  const auto folder = std::filesystem::path(TESSERA_SOURCE_DIR) / "networks";
  for (const auto& [name, file] : std::map<std::string, std::string>{{"mobilenetv2", "mobilenetv2-features.json"},
                                                                     {"squeezenet", "squeezenet1.1-features.json"}}) {
    const auto inside = shipped_backbone(name), outside = load_backbone(folder / file);
    EXPECT_EQ(inside.hash(), outside.hash());
    const auto picture = torch::rand({1, 3, 40, 40});
    EXPECT_TRUE(torch::equal(inside.forward(picture).features, outside.forward(picture).features));
  }
  EXPECT_EQ(shipped_backbone_names(), (std::vector<std::string>{"mobilenetv2", "squeezenet"}));
}

}  // namespace backbone_description_test
}  // namespace tessera
