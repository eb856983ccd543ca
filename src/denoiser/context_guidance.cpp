#include "denoiser/context_guidance.h"

#include "denoiser/guided_denoiser.h"

namespace tessera {
namespace {

constexpr double kPlausible = 6;  // nats below the most probable code

}  // namespace

void ContextGuidance::begin_times(const torch::Tensor& t) {
  times_ = t;
  denoiser_.begin_times(t);
}

torch::Tensor ContextGuidance::empty_grid(std::int64_t cells) {
  if (empty_.defined() && empty_.size(0) == cells) return empty_;
  const auto masked = torch::full({1, cells}, denoiser_.codebook_size(), torch::kInt64);
  if (denoiser_.sees_time()) denoiser_.begin_times(torch::full({1}, total_time_, torch::kInt64));
  empty_ = torch::log_softmax(denoiser_.logits_at(masked, torch::arange(cells)).to(torch::kFloat32), -1);
  if (denoiser_.sees_time()) denoiser_.begin_times(times_);
  return empty_;
}

torch::Tensor ContextGuidance::logits_at(const torch::Tensor& tokens, const torch::Tensor& rows) {
  const auto empty = empty_grid(tokens.size(1));
  const auto given = torch::log_softmax(denoiser_.logits_at(tokens, rows).to(torch::kFloat32), -1);
  const auto unconditional = empty.index_select(0, rows.to(empty.device()).remainder(tokens.size(1)));
  const auto mixed = guided(unconditional, given, scale_);
  const auto plausible = given.ge(given.amax(-1, true) - kPlausible);
  return torch::log_softmax(mixed.masked_fill(plausible.logical_not(), kLogFloor), -1).clamp_min(kLogFloor);
}

}  // namespace tessera
