/// IMD against the eigenvalues of the whole Laplacian; MTop-Div against the plain reduction of the whole complex, and
/// against Ripser 1.2.1.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "metrics/heat_trace.h"
#include "metrics/topology_divergence.h"
#include "runtime/error.h"

namespace tessera {
namespace shape_test {

torch::Tensor random_rows(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return torch::randn({rows, width}, generator, torch::kFloat64);
}

/// Trace of exp(-t L) over the rows from all eigenvalues.
double dense_trace(const torch::Tensor& rows, std::int64_t k, double t) {
  const auto count = rows.size(0);
  const auto distances = torch::cdist(rows, rows);
  auto adjacency = torch::zeros({count, count}, torch::kFloat64);
  const auto nearest = std::get<1>(distances.topk(k + 1, 1, false));
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j <= k; ++j) {
      const auto other = nearest[i][j].item<std::int64_t>();
      if (other != i) adjacency[i][other] = adjacency[other][i] = 1;
    }
  }
  const auto scale = adjacency.sum(1).rsqrt();
  const auto laplacian = torch::eye(count, torch::kFloat64) - scale.unsqueeze(1) * adjacency * scale.unsqueeze(0);
  return (-t * torch::linalg_eigvalsh(laplacian)).exp().sum().item<double>() / static_cast<double>(count);
}

TEST(Imd, TracesAreThoseOfTheWholeLaplacian) {
  const auto rows = random_rows(120, 4, 1);
  ImdOptions options;
  options.probes = 600;
  const auto traces = heat_trace(rows, options);
  const auto temperatures = imd_temperatures(options);
  ASSERT_EQ(traces.size(), 256u);
  EXPECT_DOUBLE_EQ(temperatures.front(), 0.1);
  EXPECT_NEAR(temperatures.back(), 10, 1e-12);
  for (std::size_t i = 0; i < traces.size(); i += 15) {
    const double expected = dense_trace(rows, options.k, temperatures[i]);
    EXPECT_NEAR(traces[i], expected, 0.02 * expected) << "t " << temperatures[i];
  }
  // With a step for each row the quadrature is exact, and probes alone are drawn.
  const auto few = random_rows(9, 3, 2);
  options.k = 2;
  options.lanczos_steps = 9;
  options.probes = 4000;
  EXPECT_NEAR(heat_trace(few, options).at(128), dense_trace(few, 2, imd_temperatures(options)[128]), 5e-3);
}

TEST(Imd, GrowsWithTheDifferenceOfShapesAndNotWithWidthOrScale) {
  const auto flat = random_rows(400, 2, 3), again = random_rows(400, 2, 4), deep = random_rows(400, 12, 5);
  const auto value = [](const torch::Tensor& a, const torch::Tensor& b) { return imd(heat_trace(a), heat_trace(b)); };
  EXPECT_LT(value(flat, again), 0.2 * value(flat, deep));
  EXPECT_NEAR(value(flat, flat), 0, 1e-9);
  const auto wide = torch::cat({flat, torch::zeros({400, 5}, torch::kFloat64)}, 1) * 7;
  EXPECT_NEAR(value(flat, wide), 0, 1e-6) << "the same graph";
}

TEST(Imd, CopiesOfRowsHaveNeighbours) {
  const auto copies = torch::zeros({20, 3}, torch::kFloat64);
  for (const auto trace : heat_trace(copies)) EXPECT_TRUE(std::isfinite(trace));
  EXPECT_THROW((void)heat_trace(random_rows(5, 3, 1)), Error) << "five rows have no five others";
}

/// Lengths of the bars in dimension 1 of P and Q together, all distances within Q 0, by reducing every triangle's
/// boundary; ascending.
std::vector<double> plain_bars(const torch::Tensor& p, const torch::Tensor& q) {
  const auto all = torch::cat({p, q});
  auto distance = torch::cdist(all, all);
  distance.slice(0, p.size(0)).slice(1, p.size(0)).zero_();
  const auto count = all.size(0);
  struct Simplex {
    double value;
    std::vector<std::int64_t> vertices;
  };
  const auto of = [&](std::int64_t i, std::int64_t j) { return distance[i][j].item<double>(); };
  std::vector<Simplex> edges, triangles;
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t j = 0; j < k; ++j) {
      edges.push_back({of(j, k), {j, k}});
      for (std::int64_t i = 0; i < j; ++i) triangles.push_back({std::max({of(i, j), of(i, k), of(j, k)}), {i, j, k}});
    }
  }
  const auto earlier = [](const Simplex& a, const Simplex& b) {
    return std::tie(a.value, a.vertices) < std::tie(b.value, b.vertices);
  };
  std::sort(edges.begin(), edges.end(), earlier);
  std::sort(triangles.begin(), triangles.end(), earlier);
  std::map<std::vector<std::int64_t>, std::size_t> number;
  for (std::size_t i = 0; i < edges.size(); ++i) number[edges[i].vertices] = i;
  std::map<std::size_t, std::set<std::size_t>> by_pivot;
  std::vector<double> lengths;
  for (const auto& triangle : triangles) {
    const auto& v = triangle.vertices;
    std::set<std::size_t> column = {number.at({v[0], v[1]}), number.at({v[0], v[2]}), number.at({v[1], v[2]})};
    while (!column.empty()) {
      const auto pivot = *column.rbegin();
      const auto known = by_pivot.find(pivot);
      if (known == by_pivot.end()) {
        if (triangle.value > edges[pivot].value) lengths.push_back(triangle.value - edges[pivot].value);
        by_pivot[pivot] = column;
        break;
      }
      for (const auto edge : known->second) {
        if (!column.erase(edge)) column.insert(edge);
      }
    }
  }
  std::sort(lengths.begin(), lengths.end());
  return lengths;
}

std::vector<double> lengths_of(const std::vector<Bar>& bars) {
  std::vector<double> lengths;
  for (const auto& bar : bars) lengths.push_back(bar.death - bar.birth);
  std::sort(lengths.begin(), lengths.end());
  return lengths;
}

TEST(TopologyDivergence, BarsAreThoseOfTheWholeComplex) {
  std::size_t bars = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const auto p = random_rows(9, 2, seed) + 0.3 * static_cast<double>(seed % 3), q = random_rows(7, 2, 100 + seed);
    const auto found = lengths_of(cross_barcode(p, q)), expected = plain_bars(p, q);
    ASSERT_EQ(found.size(), expected.size()) << seed;
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-12) << seed;
    bars += found.size();
  }
  EXPECT_GE(bars, 15u) << "the sets have loops";
}

/// sin(phase + 1.7 i (c + 1) + 0.3 i^2) + shift in row i, column c.
torch::Tensor cloud(std::int64_t rows, double phase, double shift) {
  const auto i = torch::arange(rows, torch::kFloat64).unsqueeze(1), c = torch::arange(3, torch::kFloat64);
  return torch::sin(phase + 1.7 * i * (c + 1) + 0.3 * i * i) + shift;
}

TEST(TopologyDivergence, BarsAreRipsers) {
  const auto lengths = lengths_of(cross_barcode(cloud(60, 0.5, 0), cloud(90, 2.5, 0.4)));
  ASSERT_EQ(lengths.size(), 23u);
  double sum = 0;
  for (const auto length : lengths) sum += length;
  EXPECT_NEAR(sum, 1.323599, 1e-5);
  EXPECT_NEAR(lengths.back(), 0.168341, 1e-5);
}

TEST(TopologyDivergence, IsNothingWhereTheOtherSetHasEveryPoint) {
  const auto rows = random_rows(60, 3, 8);
  TopologyDivergenceOptions options;
  options.batches = 1;
  EXPECT_EQ(topology_divergence(rows, rows, options).mean, 0);
  const auto shifted = topology_divergence(rows, rows + 0.5, options).mean;
  EXPECT_GT(topology_divergence(rows, rows + 3, options).mean, shifted);
  EXPECT_GT(shifted, 0);
}

TEST(TopologyDivergence, FindsAModeThatTheOtherSetLacks) {
  const auto ring = torch::arange(40, torch::kFloat64) * (2 * M_PI / 40);
  const auto circle = torch::stack({ring.cos(), ring.sin()}, 1);
  const auto both = torch::cat({circle, circle + 10});
  TopologyDivergenceOptions options;
  options.batches = 1;
  EXPECT_GT(topology_divergence(both, circle + 0.001, options).mean, 1) << "the second ring's hole";
  EXPECT_LT(topology_divergence(circle, both, options).mean, 1e-9);
}

TEST(TopologyDivergence, WrongOptionsAreNamed) {
  TopologyDivergenceOptions options;
  options.points = 1;
  EXPECT_THROW((void)topology_divergence(random_rows(5, 2, 1), random_rows(5, 2, 2), options), UsageError);
  EXPECT_THROW((void)cross_barcode(random_rows(5, 2, 1), random_rows(5, 3, 2)), Error) << "widths differ";
}

}  // namespace shape_test
}  // namespace tessera
