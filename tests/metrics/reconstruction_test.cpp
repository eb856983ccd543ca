// Reconstruction metrics, codebook use and pixel likelihood: against plain loops and known values.
#include "metrics/reconstruction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "checkpoint/torch_archive.h"
#include "import/importers.h"
#include "metrics/codebook_use.h"
#include "metrics/pixel_likelihood.h"
#include "runtime/error.h"
#include "support/fixtures.h"

namespace tessera {
namespace reconstruction_test {

torch::Tensor noise(std::vector<std::int64_t> shape, std::uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return torch::randint(0, 256, shape, generator).to(torch::kUInt8);
}

/// SSIM of one plane by its definition, in plain loops.
double plain_ssim(const torch::Tensor& a, const torch::Tensor& b) {
  const auto x = a.to(torch::kFloat64), y = b.to(torch::kFloat64);
  const auto p = x.accessor<double, 2>(), q = y.accessor<double, 2>();
  double weights[11][11], total = 0;
  for (int i = 0; i < 11; ++i) {
    for (int j = 0; j < 11; ++j) {
      weights[i][j] = std::exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / (2 * 1.5 * 1.5));
      total += weights[i][j];
    }
  }
  double sum = 0;
  int positions = 0;
  for (std::int64_t r = 0; r + 11 <= a.size(0); ++r) {
    for (std::int64_t c = 0; c + 11 <= a.size(1); ++c, ++positions) {
      double ma = 0, mb = 0, va = 0, vb = 0, ab = 0;
      for (int i = 0; i < 11; ++i) {
        for (int j = 0; j < 11; ++j) {
          ma += weights[i][j] / total * p[r + i][c + j];
          mb += weights[i][j] / total * q[r + i][c + j];
        }
      }
      for (int i = 0; i < 11; ++i) {
        for (int j = 0; j < 11; ++j) {
          const double w = weights[i][j] / total, da = p[r + i][c + j] - ma, db = q[r + i][c + j] - mb;
          va += w * da * da;
          vb += w * db * db;
          ab += w * da * db;
        }
      }
      sum += (2 * ma * mb + 6.5025) * (2 * ab + 58.5225) / ((ma * ma + mb * mb + 6.5025) * (va + vb + 58.5225));
    }
  }
  return sum / positions;
}

TEST(Reconstruction, SsimIsItsDefinition) {
  const auto a = noise({2, 3, 17, 14}, 1);
  const auto b = (a.to(torch::kInt32) / 2 + noise({2, 3, 17, 14}, 2).to(torch::kInt32) / 2).to(torch::kUInt8);
  const auto got = ssim(a, b);
  for (int n = 0; n < 2; ++n) {
    const double want =
        (plain_ssim(a[n][0], b[n][0]) + plain_ssim(a[n][1], b[n][1]) + plain_ssim(a[n][2], b[n][2])) / 3;
    EXPECT_NEAR(got[n].item<double>(), want, 1e-9);
  }
  EXPECT_NEAR(ssim(a, a).min().item<double>(), 1, 1e-12);
  EXPECT_TRUE(torch::allclose(ms_ssim(a, b, 1), got));
}

TEST(Reconstruction, MultiScaleTakesAsManyScalesAsFit) {
  EXPECT_EQ(ms_ssim_scales(10), 0);
  EXPECT_EQ(ms_ssim_scales(11), 1);
  EXPECT_EQ(ms_ssim_scales(64), 3);
  EXPECT_EQ(ms_ssim_scales(175), 4);
  EXPECT_EQ(ms_ssim_scales(176), 5);
  EXPECT_EQ(ms_ssim_scales(4096), 5);
  const auto a = noise({1, 3, 48, 48}, 3);
  EXPECT_NEAR(ms_ssim(a, a, 3).item<double>(), 1, 1e-12);
  const auto small =
      (a.to(torch::kInt32) + noise({1, 3, 48, 48}, 4).to(torch::kInt32) / 8).clamp(0, 255).to(torch::kUInt8);
  const auto large = noise({1, 3, 48, 48}, 5);
  EXPECT_GT(ms_ssim(a, small, 3).item<double>(), ms_ssim(a, large, 3).item<double>());
  EXPECT_THROW(ms_ssim(a, small, 4), Error);
}

TEST(Reconstruction, PsnrAndL1KnowTheirValues) {
  const auto a = torch::full({2, 3, 4, 4}, 100, torch::kUInt8);
  auto b = a.clone();
  b[0] += 10;
  EXPECT_NEAR(psnr(a, b)[0].item<double>(), 20 * std::log10(25.5), 1e-9);
  EXPECT_DOUBLE_EQ(psnr(a, b)[1].item<double>(), 100);
  EXPECT_NEAR(l1_distance(a, b)[0].item<double>(), 10.0 / 255, 1e-12);
  EXPECT_THROW(psnr(a, b.slice(2, 0, 3)), Error);
  EXPECT_THROW(ssim(a, b), Error);  // smaller than the window
}

TEST(CodebookUse, CountsUsedAndDeadCodes) {
  const auto use = codebook_histogram(torch::tensor({0, 0, 3, 3, 5, 5, 6, 6}, torch::kInt64).view({2, 2, 2}), 8);
  EXPECT_EQ(use.used, 4);
  EXPECT_EQ(use.dead, (std::vector<std::int64_t>{1, 2, 4, 7}));
  EXPECT_DOUBLE_EQ(use.entropy_bits, 2);
  EXPECT_DOUBLE_EQ(use.perplexity, 4);
  EXPECT_EQ(use.counts[3], 2);
  EXPECT_THROW(codebook_histogram(torch::tensor({8}, torch::kInt64), 8), Error);
}

TEST(PixelLikelihood, BinsOfOnePixelSumToOne) {
  for (const std::int64_t bits : {1, 3, 5, 8}) {
    for (const double mean : {-0.2, 0.3, 0.999}) {
      for (const double log_sigma : {-6.0, -2.0, 1.0}) {
        const auto levels = std::int64_t{1} << bits;
        const auto bytes = (torch::arange(levels) * (256 / levels)).to(torch::kUInt8).view({levels, 1, 1, 1});
        const auto nats = binned_nll(bytes, torch::full_like(bytes, mean, torch::kFloat64),
                                     torch::full_like(bytes, log_sigma, torch::kFloat64), bits);
        ASSERT_TRUE(nats.isfinite().all().item<bool>());
        const double total = (-nats).exp().sum().item<double>();
        EXPECT_NEAR(total, 1, 1e-9) << bits << " bits, mean " << mean << ", log sigma " << log_sigma;
      }
    }
  }
}

TEST(PixelLikelihood, NarrowBinsComeToTheDensity) {
  const auto byte = torch::full({1, 1, 1, 1}, 100, torch::kUInt8);
  const auto mean = torch::full({1, 1, 1, 1}, 0.35), log_sigma = torch::full({1, 1, 1, 1}, -1.0);
  const double binned = binned_nll(byte, mean, log_sigma, 8).item<double>();
  const double density = gaussian_nll(torch::full({1, 1, 1, 1}, 100.5 / 256), mean, log_sigma).item<double>();
  EXPECT_NEAR(binned, density + 8 * std::numbers::ln2, 1e-4);
}

TEST(Parity, MetricsPixelLikelihood) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-vqgan") {
    SCOPED_TRACE(fixture.name());
    if (!fixture.has("nll_raw")) continue;
    ImportOptions options;
    options.image_size = fixture.hyperparameters().at("img_size").get<std::int64_t>();
    const auto imported =
        import_unleashing_codec(load_torch_archive(fixture.checkpoint()).tensors(), options, fixture.name());
    Codec codec(codec_options_from_json(imported.config));
    codec->load(imported.tensors, fixture.name());
    codec->eval();
    const torch::NoGradGuard no_grad;
    const auto& image = fixture.tensor("image");
    const auto quantized = codec->quantizer->embed(codec->quantizer->codes(codec->latents(image)));
    const auto [mean, log_sigma] = codec->decoder->distribution(codec->before_decoder(quantized));
    const auto nats = gaussian_nll(image, mean, log_sigma);
    EXPECT_TRUE(fixture.matches("nll_raw", nats));
    const auto values = image[0].numel();
    const auto bits = image_bits_per_dimension(nats, torch::zeros_like(nats), values);
    EXPECT_TRUE(fixture.matches("nll_bits_per_dim", bits.mean().view({1})));
    // On bytes, as the released bound has it: nll + C H W ln 32 for 5 bits.
    const auto bytes = (image * 255).round().to(torch::kUInt8);
    const auto of_bytes = pixel_nll(*codec, bytes, 5, PixelForm::density);
    EXPECT_LT(((of_bytes - nats - static_cast<double>(values) * std::log(32.0)) / values).abs().max().item<double>(),
              0.2);
    EXPECT_TRUE(pixel_nll(*codec, bytes, 5, PixelForm::bins).gt(0).all().item<bool>());
  }
}

}  // namespace reconstruction_test
}  // namespace tessera
