// InceptionV3 and LPIPS against the numbers of the published programs, on weights filled by a formula.
#include <gtest/gtest.h>

#include <algorithm>

#include "checkpoint/torch_archive.h"
#include "codec/perceptual.h"
#include "metrics/formula_weights.h"
#include "metrics/inception.h"
#include "metrics/inception_input.h"
#include "runtime/error.h"
#include "support/fixtures.h"

namespace tessera {
namespace feature_network_test {

using testing::FixtureCase;
using testing::formula_weights;

/// "a", "b", ... of the tensors image_a, image_b, ...
std::vector<std::string> picture_names(const FixtureCase& fixture) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : fixture.expected) {
    if (name.starts_with("image_")) names.push_back(name.substr(6));
  }
  return names;
}

void expect_if_there(const FixtureCase& fixture, const std::string& name, const torch::Tensor& got) {
  if (!fixture.has(name)) return;
  EXPECT_TRUE(fixture.matches(name, got));
}

torch::Tensor statistics(const torch::Tensor& x) {  // [C, ...] -> [C, 4]
  const auto rows = x.flatten(1);
  return torch::stack({rows.mean(1), rows.std(1, false), rows.amin(1), rows.amax(1)}, 1);
}

void expect_unit_statistics(const FixtureCase& fixture, const InceptionV3& network, const torch::Tensor& input,
                            std::size_t picture) {
  if (!fixture.description.contains("unit_statistics")) return;
  auto observed = network;
  std::map<std::string, torch::Tensor> outputs;
  observed.observer = [&](const std::string& name, const torch::Tensor& output) { outputs[name] = output; };
  (void)observed.forward(input);
  const auto& units = fixture.description.at("unit_statistics").at("units");
  EXPECT_EQ(outputs.size(), units.size());
  for (const auto& unit : units) {
    const auto found = outputs.find(unit[0].get<std::string>());
    ASSERT_NE(found, outputs.end()) << unit[0];
    EXPECT_EQ(found->second[0].sizes().vec(), unit[1].get<std::vector<std::int64_t>>()) << unit[0];
    EXPECT_NEAR(found->second.mean().item<double>(), unit[2 + picture][0].get<double>(), 2e-5) << unit[0];
  }
}

TEST(Parity, MetricsInception) {
  TESSERA_FOR_EACH_CASE(fixture, "metrics-inception") {
    SCOPED_TRACE(fixture.name());
    auto weights = formula_weights(fixture.description);
    const auto shapes = inception_parameter_shapes();
    EXPECT_EQ(shapes.size(), fixture.description.at("weights").at("rows").size());
    for (const auto& [name, tensor] : weights) {
      ASSERT_TRUE(shapes.count(name)) << name;
      EXPECT_EQ(shapes.at(name), tensor.sizes().vec()) << name;
    }
    const InceptionV3 network(weights, fixture.name());
    const auto samples = torch::tensor(fixture.hyperparameters().at("sample_index").get<std::vector<std::int64_t>>());
    const auto pictures = picture_names(fixture);
    ASSERT_FALSE(pictures.empty());
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const auto bytes = fixture.tensor("image_" + pictures[i]).unsqueeze(0);
      for (const auto& convention : inception_input_names()) {
        auto prefix = convention + "." + pictures[i] + ".";
        std::replace(prefix.begin(), prefix.end(), '-', '_');
        SCOPED_TRACE(prefix);
        const auto input = inception_input(bytes, inception_input_from(convention));
        EXPECT_TRUE(fixture.matches(prefix + "resized_stats", statistics(input[0])));
        EXPECT_TRUE(
            fixture.matches(prefix + "resized_sample", input[0].index_select(1, samples).index_select(2, samples)));
        const auto output = network.forward(input);
        EXPECT_TRUE(fixture.matches(prefix + "features_2048", output.features[0]));
        expect_if_there(fixture, prefix + "features_64", output.block0[0]);
        expect_if_there(fixture, prefix + "features_192", output.block1[0]);
        expect_if_there(fixture, prefix + "features_768", output.block2[0]);
        expect_if_there(fixture, prefix + "logits_unbiased", network.logits(output.features, false)[0]);
        expect_if_there(fixture, prefix + "logits", network.logits(output.features, true)[0]);
        if (convention == "pytorch-fid" && i < 2) expect_unit_statistics(fixture, network, input, i);
      }
    }
  }
}

TEST(Inception, AcceptsThePublishedCountersAndNamesWhatIsWrong) {
  TensorMap tensors;
  for (const auto& [name, shape] : inception_parameter_shapes()) tensors[name] = torch::ones(shape);
  tensors["Mixed_5b.branch1x1.bn.num_batches_tracked"] = torch::zeros({}, torch::kInt64);
  EXPECT_NO_THROW(InceptionV3(tensors, "weights"));
  tensors.erase("Mixed_7c.branch_pool.conv.weight");
  tensors["AuxLogits.fc.weight"] = torch::ones({1});
  tensors["fc.weight"] = torch::ones({1000, 2048});
  try {
    InceptionV3(tensors, "weights.pth");
    FAIL() << "took a torchvision network";
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const char* part :
         {"weights.pth", "Mixed_7c.branch_pool.conv.weight", "AuxLogits.fc.weight", "[1000, 2048]"}) {
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(Parity, MetricsLpips) {
  TESSERA_FOR_EACH_CASE(fixture, "metrics-lpips") {
    SCOPED_TRACE(fixture.name());
    TensorMap trunk;  // not used: the case gives the features
    for (const int i : {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}) {
      trunk[fmt::format("features.{}.weight", i)] = torch::zeros({1, 1, 3, 3});
      trunk[fmt::format("features.{}.bias", i)] = torch::zeros({1});
    }
    const Lpips lpips(trunk, load_torch_archive(fixture.checkpoint()).tensors());
    std::vector<torch::Tensor> a, b;
    for (int layer = 0; layer < 5; ++layer) {
      a.push_back(fixture.tensor(fmt::format("feat0_{}", layer)));
      b.push_back(fixture.tensor(fmt::format("feat1_{}", layer)));
    }
    const auto parts = torch::stack(lpips.parts(a, b), 1);
    EXPECT_TRUE(fixture.matches("distance_per_layer", parts));
    EXPECT_TRUE(fixture.matches("distance", parts.sum(1)));
  }
}

TEST(Parity, MetricsLpipsVgg) {
  TESSERA_FOR_EACH_CASE(fixture, "metrics-lpips-vgg") {
    SCOPED_TRACE(fixture.name());
    const auto heads = fixture.folder / fixture.description.at("heads").at("file").get<std::string>();
    if (!std::filesystem::exists(heads)) GTEST_SKIP() << "no heads at " << heads;
    Lpips lpips(formula_weights(fixture.description), load_torch_archive(heads).tensors());
    const torch::NoGradGuard no_grad;
    const auto &a = fixture.tensor("image_0"), &b = fixture.tensor("image_1");
    EXPECT_TRUE(fixture.matches("distance", lpips.distance(a, b)));
    const auto maps_a = lpips.features(a), maps_b = lpips.features(b);
    EXPECT_TRUE(fixture.matches("distance_per_layer", torch::stack(lpips.parts(maps_a, maps_b), 1)));
    const auto check = [&](const std::vector<torch::Tensor>& maps, const std::string& ending) {
      std::vector<torch::Tensor> mean, deviation, largest;
      for (const auto& map : maps) {
        mean.push_back(map.flatten(1).mean(1));
        deviation.push_back(map.flatten(1).std(1, false));
        largest.push_back(map.flatten(1).amax(1));
      }
      EXPECT_TRUE(fixture.matches("feature_mean" + ending, torch::stack(mean, 1)));
      EXPECT_TRUE(fixture.matches("feature_std" + ending, torch::stack(deviation, 1)));
      EXPECT_TRUE(fixture.matches("feature_max" + ending, torch::stack(largest, 1)));
      EXPECT_TRUE(fixture.matches("relu5_3" + ending, maps.back()));
    };
    check(maps_a, "_0");
    check(maps_b, "_1");
    // As an embedding: squared Euclidean distances are the same numbers.
    const auto apart = (lpips.embedding(a) - lpips.embedding(b)).square().sum(1);
    EXPECT_TRUE(fixture.matches("distance", apart));
  }
}

}  // namespace feature_network_test
}  // namespace tessera
