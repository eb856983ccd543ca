#include "metrics/pixel_likelihood.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "runtime/error.h"

namespace tessera {
namespace {

/// log of the standard normal's mass in [low, high], in float64; taken in the tail where neither end loses digits.
torch::Tensor log_mass(const torch::Tensor& low, const torch::Tensor& high) {
  // Mirror so that the interval lies (mostly) left of 0: there the distribution function keeps its relative precision.
  const auto mirrored = low + high > 0;
  const auto a = torch::where(mirrored, -high, low), b = torch::where(mirrored, -low, high);
  const auto log_cdf = [](const torch::Tensor& x) { return torch::special_log_ndtr(x); };
  const auto upper = log_cdf(b), lower = log_cdf(a);
  return upper + torch::log1p(-torch::exp(lower - upper));
}

}  // namespace

PixelForm pixel_form_from(const std::string& name) {
  if (name == "density") return PixelForm::density;
  if (name == "bins") return PixelForm::bins;
  throw UsageError(fmt::format("pixel likelihood '{}': expected one of density, bins", name));
}

std::string name_of(PixelForm form) {
  return form == PixelForm::density ? "density" : "bins";
}

torch::Tensor gaussian_nll(const torch::Tensor& images, const torch::Tensor& mean, const torch::Tensor& log_sigma) {
  require(images.sizes() == mean.sizes() && mean.sizes() == log_sigma.sizes(),
          "pixel likelihood: expected one mean and deviation a value");
  const auto each = 0.5 * torch::exp(2 * torch::log(torch::abs(images - mean)) - 2 * log_sigma) + log_sigma +
                    0.5 * std::log(2 * std::numbers::pi);
  return each.flatten(1).sum(1);
}

torch::Tensor binned_nll(const torch::Tensor& bytes, const torch::Tensor& mean, const torch::Tensor& log_sigma,
                         std::int64_t bits) {
  if (bits < 1 || bits > 8) throw UsageError(fmt::format("bits {}: expected 1 to 8", bits));
  require(bytes.scalar_type() == torch::kUInt8 && bytes.sizes() == mean.sizes() && mean.sizes() == log_sigma.sizes(),
          "pixel likelihood: expected bytes and one mean and deviation a value");
  const double levels = std::ldexp(1.0, static_cast<int>(bits));
  const auto level = torch::div(bytes.to(torch::kFloat64), std::ldexp(1.0, static_cast<int>(8 - bits)), "floor");
  const auto centre = mean.to(torch::kFloat64), scale = torch::exp(-log_sigma.to(torch::kFloat64));
  const double infinity = std::numeric_limits<double>::infinity();
  const auto low = ((level / levels - centre) * scale).masked_fill(level == 0, -infinity);
  const auto high = (((level + 1) / levels - centre) * scale).masked_fill(level == levels - 1, infinity);
  // An infinite end: the mass of a half-line.
  const auto first = torch::special_log_ndtr(high), last = torch::special_log_ndtr(-low);
  const auto inner = log_mass(low.masked_fill(level == 0, 0), high.masked_fill(level == levels - 1, 0));
  const auto mass = torch::where(level == 0, first, torch::where(level == levels - 1, last, inner));
  return -mass.flatten(1).sum(1);
}

torch::Tensor pixel_nll(CodecImpl& codec, const torch::Tensor& bytes, std::int64_t bits, PixelForm form) {
  const torch::NoGradGuard no_grad;
  if (bits < 1 || bits > 8) throw UsageError(fmt::format("bits {}: expected 1 to 8", bits));
  const auto pixels = codec.to_network_range(bytes.to(codec.device()));
  const auto quantized = codec.quantizer->embed(codec.quantizer->codes(codec.latents(pixels)));
  auto [mean, log_sigma] = codec.decoder->distribution(codec.before_decoder(quantized));
  if (codec.options().pixel_range == PixelRange::symmetric) {  // y = 2x - 1: back to [0, 1]
    mean = mean * 0.5 + 0.5;
    log_sigma = log_sigma - std::numbers::ln2;
  }
  mean = mean.to(torch::kCPU);
  log_sigma = log_sigma.to(torch::kCPU);
  if (form == PixelForm::bins) return binned_nll(bytes, mean, log_sigma, bits);
  const double levels = static_cast<double>(bytes[0].numel()) * static_cast<double>(bits) * std::numbers::ln2;
  return gaussian_nll(bytes.to(torch::kFloat32) / 255, mean, log_sigma).to(torch::kFloat64) + levels;
}

torch::Tensor image_bits_per_dimension(const torch::Tensor& pixel_nats, const torch::Tensor& prior_nats,
                                       std::int64_t values) {
  require(pixel_nats.sizes() == prior_nats.sizes(), "image likelihood: {} images' pixels, {} images' tokens",
          pixel_nats.numel(), prior_nats.numel());
  return (pixel_nats + prior_nats).to(torch::kFloat64) / (static_cast<double>(values) * std::numbers::ln2);
}

}  // namespace tessera
