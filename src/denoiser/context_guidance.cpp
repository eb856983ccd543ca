#include "denoiser/context_guidance.h"

#include <map>
#include <utility>

#include "denoiser/guided_denoiser.h"
#include "denoiser/kept_context.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kPlausible = 6;  // nats below the most probable code

/// What the inner evaluator keeps is this one's.
class ContextGuidanceEvaluator : public ContextEvaluator {
 public:
  ContextGuidanceEvaluator(Denoiser& denoiser, const std::vector<Condition>& conditions, double scale,
                           std::int64_t total_time)
      : evaluator_(denoiser.begin(conditions)),
        kinds_(first_of_its_kind(conditions)),
        codes_(denoiser.codebook_size()),
        sees_time_(denoiser.sees_time()),
        scale_(scale),
        total_time_(total_time) {}

  torch::Tensor logits(const Look& look) override { return guide_all(look, evaluator_->logits(look)); }
  torch::Tensor logits_in_context(const Look& look, ContextUse use) override {
    auto* inner = dynamic_cast<ContextEvaluator*>(evaluator_.get());
    require(inner != nullptr, "context guidance: the network keeps no keys and values between steps");
    return guide_all(look, inner->logits_in_context(look, use));
  }

 private:
  torch::Tensor guide_all(const Look& look, const torch::Tensor& found) {
    const auto cells = look.tokens.size(1);
    const auto given = torch::log_softmax(found.to(torch::kFloat32), -1);
    const auto unconditional = empty_of(look, cells).to(given.device());
    const auto mixed = guided(unconditional, given, scales_of(look, cells).to(given.device()));
    const auto plausible = given.ge(given.amax(-1, true) - kPlausible);
    return torch::log_softmax(mixed.masked_fill(plausible.logical_not(), kLogFloor), -1).clamp_min(kLogFloor);
  }
  torch::Tensor scales_of(const Look& look, std::int64_t cells) const {
    if (look.guidance.empty()) return torch::full({1}, scale_, torch::kFloat32);
    auto scales = torch::empty({look.rows.size(0), 1}, torch::kFloat32);
    const auto rows = look.rows.to(torch::kCPU).contiguous();
    for (std::int64_t i = 0; i < rows.size(0); ++i)
      scales.data_ptr<float>()[i] = static_cast<float>(look.scaled(rows.data_ptr<std::int64_t>()[i] / cells, scale_));
    return scales;
  }
  /// log p(x_0) of the cells looked at in a grid of MASK alone, each under its own condition, [M, K].
  torch::Tensor empty_of(const Look& look, std::int64_t cells) {
    const auto count = static_cast<std::int64_t>(kinds_.size());
    std::vector<std::int64_t> at;  // flat over the kinds' grids
    std::map<std::int64_t, std::int64_t> place;
    std::vector<torch::Tensor> grids;
    const auto rows = look.rows.to(torch::kCPU).contiguous();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const auto flat = rows.data_ptr<std::int64_t>()[i];
      const auto condition = look.condition_of(flat / cells, count);
      const auto kind = kinds_.empty() ? 0 : kinds_[static_cast<std::size_t>(condition)];
      const auto [found, added] = place.emplace(kind, static_cast<std::int64_t>(grids.size()));
      if (added) grids.push_back(empty_grid(kind, cells));
      at.push_back(found->second * cells + flat % cells);
    }
    if (grids.size() == 1) return grids[0].index_select(0, torch::tensor(at).to(grids[0].device()));
    return torch::cat(grids).index_select(0, torch::tensor(at).to(grids[0].device()));
  }

  torch::Tensor empty_grid(std::int64_t kind, std::int64_t cells) {
    auto& kept = empty_[{kind, cells}];
    if (kept.defined()) return kept;
    Look look{torch::full({1, cells}, codes_, torch::kInt64), torch::arange(cells)};
    if (sees_time_) look.times = torch::full({1}, total_time_, torch::kInt64);
    look.conditions = {kind};
    kept = torch::log_softmax(evaluator_->logits(look).to(torch::kFloat32), -1);
    return kept;
  }

  std::unique_ptr<Evaluator> evaluator_;
  std::vector<std::int64_t> kinds_;
  std::int64_t codes_;
  bool sees_time_;
  double scale_;
  std::int64_t total_time_;
  std::map<std::pair<std::int64_t, std::int64_t>, torch::Tensor> empty_;  // by kind and cells: [L, K]
};

}  // namespace

std::unique_ptr<Evaluator> ContextGuidance::begin(const std::vector<Condition>& conditions) {
  return std::make_unique<ContextGuidanceEvaluator>(denoiser_, conditions, scale_, total_time_);
}

}  // namespace tessera
