// PRDC, Fréchet distance and KID: against the published programs' numbers and against plain float64 loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "metrics/feature_rows.h"
#include "metrics/frechet.h"
#include "metrics/kid.h"
#include "metrics/prdc.h"
#include "runtime/error.h"
#include "support/fixtures.h"

namespace tessera {
namespace distribution_test {

torch::Tensor normal(std::vector<std::int64_t> shape, std::uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return torch::randn(shape, generator);
}

torch::Tensor scalar(double value) {
  return torch::tensor({value}, torch::kFloat64);
}

/// The same by plain loops in float64.
Prdc plain_prdc(const torch::Tensor& real, const torch::Tensor& fake, std::int64_t k) {
  const auto distances = [](const torch::Tensor& a, const torch::Tensor& b) {
    return (a.to(torch::kFloat64).unsqueeze(1) - b.to(torch::kFloat64).unsqueeze(0)).square().sum(2).sqrt();
  };
  const auto radius = [&](const torch::Tensor& x) {
    return std::get<0>(distances(x, x).sort(1)).select(1, k);  // entry 0 is the row itself
  };
  const auto d = distances(real, fake);
  const auto in_real = d < radius(real).unsqueeze(1), in_fake = d < radius(fake).unsqueeze(0);
  const auto mean = [](const torch::Tensor& x) { return x.to(torch::kFloat64).mean().item<double>(); };
  return {mean(in_real.any(0)), mean(in_fake.any(1)),
          in_real.to(torch::kFloat64).sum().item<double>() / static_cast<double>(k * fake.size(0)),
          mean(in_real.any(1))};
}

void expect_equal(const Prdc& got, const Prdc& want) {
  EXPECT_DOUBLE_EQ(got.precision, want.precision);
  EXPECT_DOUBLE_EQ(got.recall, want.recall);
  EXPECT_DOUBLE_EQ(got.density, want.density);
  EXPECT_DOUBLE_EQ(got.coverage, want.coverage);
}

TEST(Parity, MetricsPrdc) {
  TESSERA_FOR_EACH_CASE(fixture, "metrics-prdc") {
    SCOPED_TRACE(fixture.name());
    const auto& real = fixture.tensor("real_features");
    const auto& fake = fixture.tensor("fake_features");
    for (const auto& k : fixture.hyperparameters().at("nearest_k")) {
      for (const std::int64_t block : {37, 2048}) {
        const PrdcOptions options{k.get<std::int64_t>(), block};
        const auto ending = fmt::format("_k{}", options.k);
        EXPECT_TRUE(fixture.matches("real_radius" + ending, neighbour_radii(real, options)));
        EXPECT_TRUE(fixture.matches("fake_radius" + ending, neighbour_radii(fake, options)));
        const auto got = prdc(real, fake, options);
        EXPECT_TRUE(fixture.matches("precision" + ending, scalar(got.precision)));
        EXPECT_TRUE(fixture.matches("recall" + ending, scalar(got.recall)));
        EXPECT_TRUE(fixture.matches("density" + ending, scalar(got.density)));
        EXPECT_TRUE(fixture.matches("coverage" + ending, scalar(got.coverage)));
        if (const auto& values = fixture.description.at("values"); values.contains("precision" + ending)) {
          EXPECT_DOUBLE_EQ(got.precision, values.at("precision" + ending).get<double>());
          EXPECT_DOUBLE_EQ(got.density, values.at("density" + ending).get<double>());
        }
      }
    }
  }
}

TEST(Parity, MetricsFrechetDistance) {
  TESSERA_FOR_EACH_CASE(fixture, "metrics-prdc") {
    SCOPED_TRACE(fixture.name());
    const auto& values = fixture.description.at("values");
    const auto check = [&](const std::string& name, const torch::Tensor& real, const torch::Tensor& fake) {
      const double from_rows = frechet_distance(real, fake);
      const auto a = moments_of(real), b = moments_of(fake);
      EXPECT_TRUE(fixture.matches(name, scalar(from_rows)));
      EXPECT_TRUE(fixture.matches(name + "_exact", scalar(from_rows)));
      EXPECT_TRUE(fixture.matches(name + "_exact", scalar(frechet_distance(a, b))));
      if (!values.contains(name + "_exact")) return;
      EXPECT_NEAR(from_rows, values.at(name + "_exact").get<double>(), 1e-9);
      EXPECT_NEAR(frechet_distance(a, b), values.at(name + "_exact").get<double>(), 1e-6);
      EXPECT_NEAR(a.covariance.trace().item<double>(), values.at(name + "_trace_sigma_real").get<double>(), 1e-9);
      EXPECT_NEAR(trace_sqrt_product(a.covariance, b.covariance), values.at(name + "_trace_sqrt_product").get<double>(),
                  1e-5);
    };
    check("fid_full_rank", fixture.tensor("real_features"), fixture.tensor("fake_features"));
    check("fid_rank_deficient", fixture.tensor("rd_real_features"), fixture.tensor("rd_fake_features"));
  }
}

TEST(Prdc, IsWhatPlainFloat64LoopsGiveAlsoWithDuplicatesAndTies) {
  const auto real = normal({90, 24}, 1);
  const auto fake = torch::cat({normal({60, 24}, 2) * 0.8, real.slice(0, 0, 7), real.slice(0, 0, 7)});
  for (const std::int64_t k : {1, 4}) expect_equal(prdc(real, fake, {k, 32}), plain_prdc(real, fake, k));
  // Whole numbers on a small lattice: distances tie with radii everywhere, and ties do not count.
  const auto lattice = (normal({80, 3}, 3) * 2).round(), other = (normal({70, 3}, 4) * 2).round();
  expect_equal(prdc(lattice, other, {3, 16}), plain_prdc(lattice, other, 3));
  // Far from the origin float32 products alone would lose the distances.
  expect_equal(prdc(real.to(torch::kFloat64) + 5000, fake.to(torch::kFloat64) + 5000, {3, 50}),
               plain_prdc(real.to(torch::kFloat64) + 5000, fake.to(torch::kFloat64) + 5000, 3));
  const auto same = torch::ones({12, 5});
  expect_equal(prdc(same, same, {2, 5}), plain_prdc(same, same, 2));
}

TEST(Prdc, AnotherBlockSizeGivesTheSame) {
  const auto real = normal({130, 16}, 5), fake = normal({111, 16}, 6);
  const auto whole = prdc(real, fake, {5, 4096});
  for (const std::int64_t block : {1, 7, 64, 111}) expect_equal(prdc(real, fake, {5, block}), whole);
}

TEST(Frechet, SquareRootSquaredIsTheMatrix) {
  const auto rows = normal({9, 24}, 7).to(torch::kFloat64);
  const auto singular = torch::mm(rows.t(), rows);
  const auto root = symmetric_sqrt(singular);
  EXPECT_LT((torch::mm(root, root) - singular).abs().max().item<double>(), 1e-11 * singular.abs().max().item<double>());
  EXPECT_LT((root - root.t()).abs().max().item<double>(), 1e-13);
  EXPECT_GT(std::get<0>(torch::linalg_eigh(root)).min().item<double>(), -1e-10);
}

TEST(Frechet, KnowsItsClosedForms) {
  const auto rows = normal({400, 6}, 8).to(torch::kFloat64);
  EXPECT_NEAR(frechet_distance(rows, rows), 0, 1e-12);
  // The same set moved by 3 along one axis and stretched by 2: means differ by 9 ..., deviations by their own size.
  EXPECT_NEAR(frechet_distance(rows, rows + 3), 6 * 9.0, 1e-9);
  const auto centred = rows - rows.mean(0);
  const double trace = moments_of(rows).covariance.trace().item<double>();
  EXPECT_NEAR(frechet_distance(centred, 2 * centred), trace, 1e-9);  // (2 - 1)^2 tr S
  const auto few = centred.slice(0, 0, 4);
  EXPECT_NEAR(frechet_distance(few, 2 * few - few.mean(0)), moments_of(few).covariance.trace().item<double>(), 1e-9);
}

TEST(Frechet, ExtrapolationRemovesTheBiasOfFewSamples) {
  // Two sets of one distribution: the true distance is 0, with n samples it is about a / n.
  const auto real = normal({4000, 12}, 9), fake = normal({2000, 12}, 10);
  const auto infinite = fid_infinity(real, fake, {8, 200, 1});
  ASSERT_EQ(infinite.counts.size(), 8U);
  EXPECT_EQ(infinite.counts.front(), 200);
  EXPECT_EQ(infinite.counts.back(), 2000);
  EXPECT_NEAR(infinite.fids.back(), frechet_distance(real, fake), 1e-9);
  EXPECT_GT(infinite.slope, 0);
  EXPECT_LT(infinite.value, 0.5 * infinite.fids.back());
  EXPECT_GT(infinite.standard_error, 0);
}

TEST(Kid, IsTheUnbiasedEstimateOfTheKernelMeans) {
  const auto x = normal({7, 4}, 11).to(torch::kFloat64), y = (normal({5, 4}, 12) + 1).to(torch::kFloat64);
  const auto kernel = [](const torch::Tensor& a, const torch::Tensor& b) {
    return std::pow((a * b).sum().item<double>() / 4 + 1, 3);
  };
  double xx = 0, yy = 0, xy = 0;
  for (int i = 0; i < 7; ++i) {
    for (int j = 0; j < 7; ++j) xx += i == j ? 0 : kernel(x[i], x[j]);
    for (int j = 0; j < 5; ++j) xy += kernel(x[i], y[j]);
  }
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 5; ++j) yy += i == j ? 0 : kernel(y[i], y[j]);
  }
  EXPECT_NEAR(squared_mmd(x, y), xx / 42 + yy / 20 - 2 * xy / 35, 1e-12);
  // A subset as large as the sets is the sets themselves.
  const auto same_size = kid(x.slice(0, 0, 5), y, {3, 5, 0});
  EXPECT_NEAR(same_size.mean, squared_mmd(x.slice(0, 0, 5), y), 1e-12);
  EXPECT_NEAR(same_size.deviation, 0, 1e-12);
  const auto near = kid(normal({300, 8}, 13), normal({300, 8}, 14), {20, 100, 0});
  const auto far = kid(normal({300, 8}, 13), normal({300, 8}, 14) + 1, {20, 100, 0});
  EXPECT_LT(std::abs(near.mean), 0.2 * far.mean);
}

TEST(Features, RandomSubsetsHoldEachRowOnce) {
  for (std::uint64_t subset = 0; subset < 5; ++subset) {
    const auto rows = random_subset(40, 25, 3, subset);
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < rows.size(0); ++i) seen.insert(rows[i].item<std::int64_t>());
    EXPECT_EQ(seen.size(), 25U);
    EXPECT_GE(*seen.begin(), 0);
    EXPECT_LT(*seen.rbegin(), 40);
    EXPECT_TRUE(torch::equal(rows, random_subset(40, 25, 3, subset)));
  }
}

/// The message of the Error that `call` throws; empty where it throws none.
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Features, BadOnesGiveOneLineThatNamesThem) {
  const auto good = normal({20, 4}, 15);
  auto broken = good.clone();
  broken[13][2] = std::nan("");
  EXPECT_EQ(message_of([&] { prdc(good, broken); }), "generated features: row 13 holds NaN or an infinity");
  broken[13][2] = INFINITY;
  EXPECT_EQ(message_of([&] { frechet_distance(broken, good); }), "real features: row 13 holds NaN or an infinity");
  EXPECT_EQ(message_of([&] { prdc(good.slice(0, 0, 5), good); }), "real features: 5 rows, expected at least 6");
  EXPECT_EQ(message_of([&] { kid(good, good); }),
            "KID: 20 rows in the smaller set, expected at least the subset size 1000");
  EXPECT_EQ(message_of([&] {
              frechet_distance(good, normal({20, 5}, 1));
            }),
            "features: real ones are 4 wide, generated ones 5; expected the same network");
  EXPECT_EQ(message_of([&] { prdc(good.to(torch::kInt64), good); }),
            "real features: type Long, expected float32 or float64");
  EXPECT_EQ(message_of([&] { prdc(good, good, {0, 10}); }), "k 0: expected 1 or more neighbours");
  EXPECT_EQ(message_of([&] { moments_of(good.slice(0, 0, 1)); }), "features: 1 rows, expected at least 2");
}

}  // namespace distribution_test
}  // namespace tessera
