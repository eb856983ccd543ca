#include "codec/quantizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/error.h"

namespace tessera {
namespace {

/// [N, D, h, w] -> [N*h*w, D].
torch::Tensor to_rows(const torch::Tensor& latents) {
  return latents.permute({0, 2, 3, 1}).reshape({-1, latents.size(1)});
}

torch::Tensor of_unit_length(const torch::Tensor& vectors, std::int64_t dimension) {
  constexpr double kLeast = 1e-12;
  return vectors / vectors.norm(2, {dimension}, true).clamp_min(kLeast);
}

torch::Tensor mean_square(const torch::Tensor& difference) {
  return difference.square().mean();
}

/// A child module that carries one tensor named `weight`, so that checkpoints read `embedding.weight`.
class Holder : public torch::nn::Module {};

}  // namespace

torch::Tensor nearest_rows(const torch::Tensor& rows, const torch::Tensor& codebook) {
  const torch::NoGradGuard no_grad;
  const auto table = codebook.detach().to(rows.scalar_type());
  const auto norms = table.square().sum(1);  // [K]
  const auto transposed = table.t();
  std::vector<torch::Tensor> found;
  // |z|^2 is the same for every code of a row and left out. Blocks bound the [block, K] matrix to about 64 MiB.
  const std::int64_t block = std::max<std::int64_t>(1, (std::int64_t{1} << 24) / table.size(0));
  for (std::int64_t start = 0; start < rows.size(0); start += block) {
    const auto part = rows.detach().slice(0, start, std::min(start + block, rows.size(0)));
    found.push_back(torch::addmm(norms, part, transposed, 1, -2).argmin(1));
  }
  return found.empty() ? torch::empty({0}, torch::kInt64) : torch::cat(found);
}

torch::Tensor QuantizerImpl::embed(const torch::Tensor& indices) const {
  return torch::embedding(codebook(), indices).permute({0, 3, 1, 2});
}

torch::Tensor QuantizerImpl::candidates(const torch::Tensor& latents) const {
  return to_rows(latents.detach());
}

std::shared_ptr<QuantizerImpl> make_quantizer(const CodecOptions& options) {
  switch (options.quantizer) {
    case QuantizerKind::nearest:
      return std::make_shared<NearestQuantizerImpl>(options);
    case QuantizerKind::ema:
      return std::make_shared<EmaQuantizerImpl>(options);
    case QuantizerKind::gumbel:
      return std::make_shared<GumbelQuantizerImpl>(options);
  }
  fail("codec: unknown quantizer kind");
}

NearestQuantizerImpl::NearestQuantizerImpl(const CodecOptions& options)
    : beta_(options.beta), unit_length_(options.unit_length), beta_term_(options.beta_term) {
  auto holder = register_module("embedding", std::make_shared<Holder>());
  const double bound = 1.0 / static_cast<double>(options.codebook_size);
  embedding_ = holder->register_parameter(
      "weight", torch::empty({options.codebook_size, options.embedding_width}).uniform_(-bound, bound));
}

torch::Tensor NearestQuantizerImpl::codebook() const {
  return unit_length_ ? of_unit_length(embedding_, 1) : embedding_;
}

torch::Tensor NearestQuantizerImpl::compared(const torch::Tensor& latents) const {
  return unit_length_ ? of_unit_length(latents, 1) : latents;
}

torch::Tensor NearestQuantizerImpl::codes(const torch::Tensor& latents) {
  return nearest_rows(to_rows(compared(latents)), codebook()).view({latents.size(0), latents.size(2), latents.size(3)});
}

QuantizerOutput NearestQuantizerImpl::quantize(const torch::Tensor& given, const QuantizerContext&) {
  QuantizerOutput out;
  const auto latents = compared(given);
  out.indices = codes(latents);
  const auto chosen = embed(out.indices);
  const auto encoder_term = mean_square(chosen.detach() - latents);
  const auto codebook_term = mean_square(chosen - latents.detach());
  out.loss =
      beta_term_ == BetaTerm::codebook ? encoder_term + beta_ * codebook_term : beta_ * encoder_term + codebook_term;
  out.quantized = latents + (chosen - latents).detach();
  return out;
}

void NearestQuantizerImpl::replace_rows(const torch::Tensor& rows, const torch::Tensor& vectors) {
  const torch::NoGradGuard no_grad;
  embedding_.index_copy_(0, rows, vectors.to(embedding_.scalar_type()));
}

EmaQuantizerImpl::EmaQuantizerImpl(const CodecOptions& options) : beta_(options.beta) {
  auto holder = register_module("embedding", std::make_shared<Holder>());
  embedding_ = holder->register_buffer("weight", torch::randn({options.codebook_size, options.embedding_width}));
  cluster_size_ = register_buffer("cluster_size", torch::ones({options.codebook_size}));
  embedding_sum_ = register_buffer("embedding_sum", embedding_.clone());
}

torch::Tensor EmaQuantizerImpl::codes(const torch::Tensor& latents) {
  return nearest_rows(to_rows(latents), embedding_).view({latents.size(0), latents.size(2), latents.size(3)});
}

QuantizerOutput EmaQuantizerImpl::quantize(const torch::Tensor& latents, const QuantizerContext& context) {
  QuantizerOutput out;
  out.indices = codes(latents);
  const auto chosen = embed(out.indices).detach();
  out.loss = beta_ * mean_square(chosen - latents);
  out.quantized = latents + (chosen - latents).detach();
  if (is_training()) {
    const torch::NoGradGuard no_grad;
    const auto rows = to_rows(latents).to(torch::kFloat32);
    const auto flat = out.indices.flatten();
    const auto counts = torch::bincount(flat, {}, embedding_.size(0)).to(torch::kFloat32);
    const auto sums = torch::zeros_like(embedding_sum_).index_add_(0, flat, rows);
    out.seen = torch::cat({counts.unsqueeze(1), sums}, 1);
    if (context.follows) follow(std::exchange(out.seen, {}));
  }
  return out;
}

/// In: [K, 1 + D] float32: latents assigned to each row, and their sum.
void EmaQuantizerImpl::follow(const torch::Tensor& seen) {
  const torch::NoGradGuard no_grad;
  cluster_size_.mul_(kDecay).add_(seen.select(1, 0), 1 - kDecay);
  embedding_sum_.mul_(kDecay).add_(seen.slice(1, 1), 1 - kDecay);
  // Laplace smoothing keeps a rarely used row finite.
  const auto total = cluster_size_.sum();
  const auto smoothed =
      (cluster_size_ + kEpsilon) / (total + static_cast<double>(embedding_.size(0)) * kEpsilon) * total;
  embedding_.copy_(embedding_sum_ / smoothed.unsqueeze(1));
}

void EmaQuantizerImpl::replace_rows(const torch::Tensor& rows, const torch::Tensor& vectors) {
  const torch::NoGradGuard no_grad;
  const auto values = vectors.to(embedding_.scalar_type());
  embedding_.index_copy_(0, rows, values);
  embedding_sum_.index_copy_(0, rows, values);
  cluster_size_.index_fill_(0, rows, 1.0);
}

GumbelQuantizerImpl::GumbelQuantizerImpl(const CodecOptions& options) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(options.embedding_width));
  auto projection = register_module("proj", std::make_shared<Holder>());
  weight_ = projection->register_parameter(
      "weight", torch::empty({options.codebook_size, options.embedding_width, 1, 1}).uniform_(-bound, bound));
  bias_ = projection->register_parameter("bias", torch::empty({options.codebook_size}).uniform_(-bound, bound));
  auto holder = register_module("embedding", std::make_shared<Holder>());
  embedding_ = holder->register_parameter("weight", torch::randn({options.codebook_size, options.embedding_width}));
}

double GumbelQuantizerImpl::temperature_at(std::int64_t step) {
  return std::max(1.0 / 16, 1.0 - static_cast<double>(step) / 160000.0);
}

torch::Tensor GumbelQuantizerImpl::logits(const torch::Tensor& latents) const {
  return torch::conv2d(latents, weight_.to(latents.scalar_type()), bias_.to(latents.scalar_type()));
}

torch::Tensor GumbelQuantizerImpl::codes(const torch::Tensor& latents) {
  return logits(latents).argmax(1);
}

torch::Tensor GumbelQuantizerImpl::relax(const torch::Tensor& logits, const torch::Tensor& noise,
                                         double temperature) const {
  const auto weights = torch::softmax((logits + noise) / temperature, 1);  // [N, K, h, w]
  return torch::matmul(weights.permute({0, 2, 3, 1}), embedding_).permute({0, 3, 1, 2});
}

torch::Tensor GumbelQuantizerImpl::kl_from_uniform(const torch::Tensor& logits) {
  const auto q = torch::softmax(logits, 1);
  return (q * torch::log(q * static_cast<double>(logits.size(1)) + 1e-10)).sum(1).mean();
}

QuantizerOutput GumbelQuantizerImpl::quantize(const torch::Tensor& latents, const QuantizerContext& context) {
  const auto scores = logits(latents);
  auto noise = torch::empty(scores.sizes(), torch::kFloat32);
  auto* values = noise.data_ptr<float>();
  const std::int64_t each = noise[0].numel();
  for (std::int64_t image = 0; image < noise.size(0); ++image) {
    const RandomStream stream(context.seed, Purpose::quantizer_noise,
                              static_cast<std::uint64_t>(context.first_row + image),
                              static_cast<std::uint32_t>(context.step));
    for (std::int64_t cell = 0; cell < each; ++cell) {
      values[image * each + cell] = static_cast<float>(stream.gumbel(static_cast<std::uint32_t>(cell)));
    }
  }
  noise = noise.to(scores.device());
  QuantizerOutput out;
  out.indices = (scores.detach() + noise).argmax(1);
  out.quantized = relax(scores, noise, temperature_at(context.step));
  if (straight_through) out.quantized = out.quantized + (embed(out.indices) - out.quantized).detach();
  out.loss = kl_weight * kl_from_uniform(scores);
  return out;
}

void GumbelQuantizerImpl::replace_rows(const torch::Tensor& rows, const torch::Tensor& vectors) {
  const torch::NoGradGuard no_grad;
  embedding_.index_copy_(0, rows, vectors.to(embedding_.scalar_type()));
}

}  // namespace tessera
