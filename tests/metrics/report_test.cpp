// Neighbours, samples on the disk, sweeps, plots and the report.
#include "metrics/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>
#include <vector>

#include "codec/perceptual.h"
#include "metrics/feature_network.h"
#include "metrics/neighbours.h"
#include "metrics/plots.h"
#include "metrics/samples.h"
#include "metrics/sweep.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace report_test {

class OnDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-metrics-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};
using FeatureCache = OnDisk;
using Sweep = OnDisk;

torch::Tensor noise(std::vector<std::int64_t> shape, std::uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return torch::randint(0, 256, shape, generator).to(torch::kUInt8);
}

/// The mean colour of a picture; counts how often it is asked.
class MeanColour : public FeatureNetwork {
 public:
  torch::Tensor features(const std::vector<torch::Tensor>& images) override {
    std::vector<torch::Tensor> rows;
    for (const auto& image : images) rows.push_back(image.to(torch::kFloat32).mean({1, 2}));
    calls += 1;
    return torch::stack(rows);
  }
  std::string label() const override { return "mean colour"; }
  std::string distance_name() const override { return "FD-test"; }
  bool published() const override { return false; }
  std::string key() const override { return "mean colour 1"; }
  int calls = 0;
};

TEST_F(FeatureCache, AreComputedOnceAndThenTakenFromTheCache) {
  MeanColour network;
  const auto images = noise({10, 3, 4, 4}, 1);
  const auto stream = tensor_stream(images, "ten pictures");
  const auto first = extract_features(*stream, network, "features", folder_, 4);
  EXPECT_EQ(network.calls, 3);
  EXPECT_TRUE(torch::allclose(first, images.to(torch::kFloat32).mean({2, 3})));
  EXPECT_TRUE(torch::equal(extract_features(*stream, network, "features", folder_, 4), first));
  EXPECT_EQ(network.calls, 3);
  (void)extract_features(*tensor_stream(images, "other pictures"), network, "features", folder_, 10);
  EXPECT_EQ(network.calls, 4);
  // A broken file is computed again.
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    write_file_atomically(entry.path(), "nonsense");
  EXPECT_TRUE(torch::equal(extract_features(*stream, network, "features", folder_, 10), first));
  EXPECT_EQ(network.calls, 5);
}

TEST(Neighbours, ByFeaturesAreThoseOfAFullSort) {
  auto generator = at::detail::createCPUGenerator(3);
  const auto base = torch::randn({70, 6}, generator),
             queries = torch::cat({torch::randn({5, 6}, generator), base.slice(0, 11, 13)});
  const auto found = nearest_features(queries, base, 4, 16);
  const auto distance =
      (queries.to(torch::kFloat64).unsqueeze(1) - base.to(torch::kFloat64).unsqueeze(0)).square().sum(2).sqrt();
  const auto [sorted, order] = distance.sort(1);
  EXPECT_TRUE(torch::equal(found.index, order.slice(1, 0, 4)));
  EXPECT_TRUE(torch::allclose(found.distance, sorted.slice(1, 0, 4)));
  EXPECT_EQ(found.index[5][0].item<std::int64_t>(), 11);
  EXPECT_EQ(found.distance[5][0].item<double>(), 0);
  EXPECT_THROW(nearest_features(queries, base, 71), Error);
}

TEST(Neighbours, ByLpipsAreThoseOfEveryPairwiseDistance) {
  TensorMap trunk, heads;
  auto generator = at::detail::createCPUGenerator(5);
  const std::vector<std::pair<int, std::array<std::int64_t, 2>>> layers = {
      {0, {4, 3}},  {2, {4, 4}},  {5, {5, 4}},  {7, {5, 5}},  {10, {6, 5}}, {12, {6, 6}}, {14, {6, 6}},
      {17, {7, 6}}, {19, {7, 7}}, {21, {7, 7}}, {24, {7, 7}}, {26, {7, 7}}, {28, {7, 7}}};
  for (const auto& [index, size] : layers) {
    trunk[fmt::format("features.{}.weight", index)] = torch::randn({size[0], size[1], 3, 3}, generator) * 0.3;
    trunk[fmt::format("features.{}.bias", index)] = torch::randn({size[0]}, generator) * 0.1;
  }
  int head = 0;
  for (const std::int64_t width : {4, 5, 6, 7, 7})
    heads[fmt::format("lin{}.model.1.weight", head++)] = torch::rand({1, width, 1, 1}, generator);
  Lpips lpips(trunk, heads);
  const auto base = noise({9, 3, 32, 32}, 6), queries = torch::cat({noise({2, 3, 32, 32}, 7), base.slice(0, 4, 5)});
  const auto found = nearest_lpips(queries, *tensor_stream(base, ""), lpips, 3, 4);
  const auto unit = [](const torch::Tensor& bytes) { return bytes.to(torch::kFloat32) / 127.5 - 1; };
  const torch::NoGradGuard no_grad;
  for (std::int64_t row = 0; row < 3; ++row) {
    const auto all =
        lpips.distance(unit(queries.slice(0, row, row + 1).expand({9, 3, 32, 32})), unit(base)).to(torch::kFloat64);
    const auto [sorted, order] = all.sort(0);
    EXPECT_TRUE(torch::equal(found.index[row], order.slice(0, 0, 3)));
    EXPECT_LT((found.distance[row] - sorted.slice(0, 0, 3)).abs().max().item<double>(), 1e-5);
  }
  EXPECT_EQ(found.index[2][0].item<std::int64_t>(), 4);
  EXPECT_EQ(neighbours_sheet(queries, base, found).height, 3 * 32 + 4 * 2);
}

TEST_F(Sweep, AFlippedBitInKeptFiguresIsFoundAndTheyAreMeasuredAgain) {
  FillOptions base;
  base.sampler = "ancestral";
  base.steps = 7;
  const auto cell = sweep_cells(base, {}).at(0);
  int measured = 0;
  const auto figures = [&] {
    return sweep_figures(cell, folder_, "key", [&] {
      ++measured;
      return nlohmann::ordered_json{{"fid", 12.625}, {"precision", 0.5}, {"name", "x"}};
    });
  };
  const auto expected = figures();
  EXPECT_EQ(figures(), expected);
  EXPECT_EQ(measured, 1);
  const auto file = folder_ / (cell.name + ".json");
  const auto text = read_file(file);
  std::mt19937_64 random(17);
  for (int i = 0; i < 200; ++i) {
    auto flipped = text;
    const auto at = random() % text.size();
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << (random() % 8)));
    write_file_atomically(file, flipped);
    EXPECT_EQ(figures(), expected) << "byte " << at << ": " << flipped;
  }
  EXPECT_GT(measured, 100) << "white space may change";
}

TEST_F(Sweep, CellsAreEveryCombinationAndBadOnesAreFoundBeforeAnyIsMeasured) {
  FillOptions base;
  base.sampler = "ancestral";
  base.steps = 7;
  const auto cells = sweep_cells(base, {{"sampler", {"ancestral", "confidence"}},
                                        {"steps", {std::int64_t{4}, std::int64_t{8}}},
                                        {"temperature", {0.5, 1.0}}});
  ASSERT_EQ(cells.size(), 8U);
  EXPECT_EQ(cells[0].name, "ancestral-s4-t0.5");
  EXPECT_EQ(cells[7].name, "confidence-s8-t1");
  EXPECT_EQ(cells[7].fill.steps, 8);
  EXPECT_EQ(sweep_cells(base, {}).at(0).fill.steps, 7);
  const auto guided = sweep_cells(base, {{"context_guidance", {1.0, 1.75}}});
  ASSERT_EQ(guided.size(), 2U);
  EXPECT_EQ(guided[0].name, "ancestral-s7-t1");
  EXPECT_EQ(guided[1].name, "ancestral-s7-t1-g1.75");
  EXPECT_EQ(guided[1].fill.context_guidance, 1.75);
  EXPECT_THROW(sweep_cells(base, {{"sampler", {"ancestral", "eulr"}}}), UsageError);
  EXPECT_THROW(sweep_cells(base, {{"steps", {std::int64_t{16}, std::int64_t{0}}}}), UsageError);
  // An option of one sampler is swept where that sampler is.
  const auto purities = sweep_cells(base, {{"sampler", {"ancestral", "purity"}}, {"purity", {0.0, 2.0}}});
  ASSERT_EQ(purities.size(), 3U);
  EXPECT_EQ(purities[0].name, "ancestral-s7-t1");
  EXPECT_EQ(purities[2].name, "purity-s7-t1-purity-2");
  EXPECT_EQ(purities[2].fill.number("purity"), 2.0);
}

TEST_F(Sweep, AFinishedCellIsNotMeasuredAgain) {
  SweepCell cell{"c", {}};
  cell.fill.sampler = "ancestral";
  int measured = 0;
  const auto measure = [&] {
    ++measured;
    return nlohmann::ordered_json{{"fid", 12.5}};
  };
  EXPECT_EQ(sweep_figures(cell, folder_, "key", measure)["fid"], 12.5);
  EXPECT_EQ(sweep_figures(cell, folder_, "key", measure)["sampler"], "ancestral");
  EXPECT_EQ(measured, 1);
  (void)sweep_figures(cell, folder_, "another key", measure);
  EXPECT_EQ(measured, 2);
  write_file_atomically(folder_ / "c.json", "{\"key\": \"another key\", \"fig");
  (void)sweep_figures(cell, folder_, "another key", measure);
  EXPECT_EQ(measured, 3);
}

TEST_F(Sweep, ProcessesThatShareAFolderMeasureEachCellOnceAndAllGetAllFigures) {
  FillOptions base;
  base.sampler = "ancestral";
  base.steps = 7;
  const auto cells = sweep_cells(base, {{"temperature", {0.5, 0.6, 0.7, 0.8, 0.9, 1.0}}});
  std::atomic<int> measured = 0;
  std::vector<nlohmann::ordered_json> results(3);
  std::vector<std::thread> processes;
  for (auto& result : results) {
    processes.emplace_back([&] {
      SweepWork work;
      work.folder = folder_ / "cells";
      work.key = [](const SweepCell&) { return "key"; };
      work.measure = [&](const SweepCell& cell) {
        ++measured;
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        return nlohmann::ordered_json{{"fid", 10 * cell.fill.draw.temperature}};
      };
      result = sweep_all(cells, work);
    });
  }
  for (auto& process : processes) process.join();
  EXPECT_EQ(measured, 6);
  for (const auto& result : results) {
    ASSERT_EQ(result.size(), 6U);
    EXPECT_EQ(result, results[0]);
    EXPECT_EQ(result[4]["fid"], 9.0);
  }
}

TEST_F(Sweep, ACellOfASilentProcessIsTakenOver) {
  FillOptions base;
  base.sampler = "ancestral";
  base.steps = 7;
  const auto cells = sweep_cells(base, {});
  const auto lease = folder_ / (cells[0].name + ".lease");
  write_file_atomically(lease, "process 1 on elsewhere, silent after 1 s, lease 1");
  std::filesystem::last_write_time(lease, std::filesystem::last_write_time(lease) - std::chrono::seconds(5));
  SweepWork work;
  work.folder = folder_;
  work.key = [](const SweepCell&) { return "key"; };
  work.measure = [](const SweepCell&) { return nlohmann::ordered_json{{"fid", 1.0}}; };
  EXPECT_EQ(sweep_all(cells, work)[0]["fid"], 1.0);
  EXPECT_FALSE(std::filesystem::exists(lease));
}

TEST(Plots, HoldTheirPointsAndNothingFromOutside) {
  const auto svg = line_plot({{"one <a>", {1, 10, 100}, {3, 2, NAN}}, {"two", {1, 100}, {1, 5}}},
                             {"FID & co", "steps", "FID", true});
  EXPECT_NE(svg.find("one &lt;a&gt;"), std::string::npos);
  EXPECT_NE(svg.find("FID &amp; co"), std::string::npos);
  std::size_t dots = 0;
  for (auto at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) ++dots;
  EXPECT_EQ(dots, 4U);
  EXPECT_EQ(svg.find("href"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_THROW(line_plot({{"none", {1}, {NAN}}}, {}), Error);
  const auto bars = bar_plot(std::vector<double>(1000, 2.0), {"bars", "code", "tokens"});
  EXPECT_NE(bars.find("<rect"), std::string::npos);
  EXPECT_EQ(line_plot({{"", {2, 2}, {5, 5}}}, {}).find("nan"), std::string::npos);  // no extent in either direction
}

TEST(Report, IsOneFileWithEverythingEscaped) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  HtmlReport report("A <b> model");
  report.figures({{"bits_per_token", {{"mean", 4.25}}}, {"name", "<script>"}, {"list", {1, 2}}});
  const auto html = report.html();
  EXPECT_NE(html.find("A &lt;b&gt; model"), std::string::npos);
  EXPECT_NE(html.find("bits per token mean"), std::string::npos);
  EXPECT_NE(html.find("4.2500"), std::string::npos);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_EQ(html.find("src=\"http"), std::string::npos);
}

}  // namespace report_test
}  // namespace tessera
