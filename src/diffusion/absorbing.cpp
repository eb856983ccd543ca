#include "diffusion/absorbing.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "diffusion/mask_replace.h"
#include "runtime/error.h"

namespace tessera {

MaskSchedule mask_schedule_from(const std::string& name) {
  if (name == "random") return MaskSchedule::random;
  if (name == "fixed") return MaskSchedule::fixed;
  fail("mask schedule '{}': expected one of random, fixed", name);
}

std::string name_of(MaskSchedule schedule) {
  return schedule == MaskSchedule::random ? "random" : "fixed";
}

LossKind loss_kind_from(const std::string& name) {
  if (name == "reweighted_elbo") return LossKind::reweighted_elbo;
  if (name == "elbo") return LossKind::elbo;
  if (name == "mlm") return LossKind::mlm;
  fail("loss '{}': expected one of reweighted_elbo, elbo, mlm", name);
}

std::string name_of(LossKind kind) {
  switch (kind) {
    case LossKind::reweighted_elbo:
      return "reweighted_elbo";
    case LossKind::elbo:
      return "elbo";
    case LossKind::mlm:
      break;
  }
  return "mlm";
}

AbsorbingProcess::AbsorbingProcess(std::int64_t codebook_size, std::int64_t total_steps, MaskSchedule schedule)
    : codebook_size_(codebook_size), total_steps_(total_steps), schedule_(schedule) {
  require(codebook_size >= 1, "absorbing process: codebook_size is {}, expected at least 1", codebook_size);
  require(total_steps >= 1 && total_steps <= (1 << 24), "absorbing process: total_steps is {}, expected 1 to {}",
          total_steps, 1 << 24);
}

torch::Tensor AbsorbingProcess::log_likelihood(const torch::Tensor& xt, const torch::Tensor& s,
                                               const torch::Tensor& t) const {
  return MaskReplaceProcess::absorbing(codebook_size_, total_steps_).log_likelihood(xt, s, t);
}

torch::Tensor AbsorbingProcess::log_transition(const torch::Tensor& xs, const torch::Tensor& s,
                                               const torch::Tensor& t) const {
  return MaskReplaceProcess::absorbing(codebook_size_, total_steps_).log_transition(xs, s, t);
}

torch::Tensor AbsorbingProcess::log_spread(const torch::Tensor& log_p, const torch::Tensor& t) const {
  return MaskReplaceProcess::absorbing(codebook_size_, total_steps_).log_spread(log_p, t);
}

std::optional<EvenStep> AbsorbingProcess::even_step(std::int64_t s, std::int64_t t) const {
  require(s >= 0 && s <= t && t <= total_steps_, "process: a step from time {} to {}, expected 0 <= s <= t <= {}", s, t,
          total_steps_);
  const double alpha = s == t ? 1 : static_cast<double>(total_steps_ - t) / static_cast<double>(total_steps_ - s);
  return EvenStep{alpha, 0, 1 - alpha};
}

std::int64_t AbsorbingProcess::fixed_count(std::int64_t t, std::int64_t cells) const {
  // The published program computes t / T in float32; nearbyint rounds halves to even.
  const float masked = static_cast<float>(t) / static_cast<float>(total_steps_) * static_cast<float>(cells);
  return std::max<std::int64_t>(1, std::lrint(std::nearbyint(masked)));
}

Noised AbsorbingProcess::q_sample(const torch::Tensor& x0, const torch::Tensor& t,
                                  const torch::Tensor& uniforms) const {
  require(x0.dim() == 2 && uniforms.sizes() == x0.sizes() && t.dim() == 1 && t.size(0) == x0.size(0),
          "absorbing process: expected x0 and uniforms [N, L] and t [N]");
  torch::Tensor masked;
  if (schedule_ == MaskSchedule::random) {
    // In float32, as the published program compares; wider uniforms keep their precision.
    const auto rate = (t.to(torch::kFloat32) / static_cast<double>(total_steps_)).unsqueeze(1);
    masked = uniforms < rate.to(uniforms.scalar_type());
  } else {
    const auto rank = uniforms.argsort(std::int64_t{1}).argsort(std::int64_t{1});  // 0 is the smallest
    auto counts = torch::empty_like(t, torch::kCPU);
    const auto times = t.to(torch::kCPU).contiguous();
    for (std::int64_t n = 0; n < times.size(0); ++n) {
      counts.data_ptr<std::int64_t>()[n] = fixed_count(times.data_ptr<std::int64_t>()[n], x0.size(1));
    }
    masked = rank < counts.to(rank.device()).unsqueeze(1);
  }
  masked = masked.to(x0.device());
  return {x0.masked_fill(masked, mask_token()), masked};
}

Noised AbsorbingProcess::q_sample(const torch::Tensor& x0, const torch::Tensor& t, Seed seed, std::uint64_t first_row,
                                  std::uint32_t step) const {
  return q_sample(x0, t, uniform_rows(seed, Purpose::training_masks, first_row, step, x0.size(0), x0.size(1)));
}

torch::Tensor AbsorbingProcess::revealed(const torch::Tensor& xt, const torch::Tensor& uniforms,
                                         const torch::Tensor& t) const {
  const auto rate = t.to(torch::kFloat32).reciprocal().unsqueeze(1);
  return (xt == mask_token()) & (uniforms < rate.to(uniforms.scalar_type()));
}

torch::Tensor AbsorbingProcess::posterior(const torch::Tensor& xt, const torch::Tensor& x0_probabilities,
                                          const torch::Tensor& t) const {
  require(x0_probabilities.dim() == 3 && x0_probabilities.size(2) == codebook_size_,
          "absorbing process: expected probabilities [N, L, {}]", codebook_size_);
  const auto reveal = t.to(x0_probabilities.scalar_type()).reciprocal().view({-1, 1, 1});
  const auto revealed = torch::cat({x0_probabilities * reveal, (1 - reveal).expand({xt.size(0), xt.size(1), 1})}, 2);
  const auto kept = torch::one_hot(xt, codebook_size_ + 1).to(x0_probabilities.scalar_type());
  return torch::where((xt == mask_token()).unsqueeze(2), revealed, kept);
}

torch::Tensor masked_cross_entropy(const torch::Tensor& logits, const torch::Tensor& x0, const torch::Tensor& masked) {
  const auto losses =
      torch::nll_loss(torch::log_softmax(logits.flatten(0, 1), -1), x0.flatten(), {}, at::Reduction::None);
  return (losses.view(x0.sizes()) * masked).sum(1);
}

torch::Tensor masked_cross_entropy_at(const torch::Tensor& logits, const torch::Tensor& x0, const torch::Tensor& rows) {
  const auto targets = x0.flatten().index_select(0, rows).to(logits.device());
  const auto losses = torch::nll_loss(torch::log_softmax(logits, -1), targets, {}, at::Reduction::None);
  const auto images = torch::div(rows, x0.size(1), "floor").to(logits.device());
  return torch::zeros({x0.size(0)}, losses.options()).index_add(0, images, losses);
}

torch::Tensor rows_of(const torch::Tensor& cells) {
  return cells.flatten().nonzero().squeeze(1);
}

TrainingLoss training_loss(LossKind kind, const torch::Tensor& cross_entropy, const torch::Tensor& masked,
                           const torch::Tensor& t, const torch::Tensor& p_t, std::int64_t total_steps) {
  const double bits = 1.0 / (std::numbers::ln2 * static_cast<double>(masked.size(1)));
  const auto times = t.to(cross_entropy.options());
  TrainingLoss result;
  result.vb = cross_entropy / times / p_t.to(cross_entropy.options()) * bits;
  switch (kind) {
    case LossKind::elbo:
      result.loss = result.vb;
      break;
    case LossKind::mlm:
      result.loss = cross_entropy / masked.sum(1).clamp_min(1).to(cross_entropy.device());
      break;
    case LossKind::reweighted_elbo:
      result.loss = (1 - times / static_cast<double>(total_steps)) * cross_entropy * bits;
      break;
  }
  return result;
}

}  // namespace tessera
