#include "denoiser/guided_decoding.h"

#include "denoiser/guided_denoiser.h"

namespace tessera {
namespace {

class GuidedDecoding : public Decoding {
 public:
  GuidedDecoding(std::unique_ptr<Decoding> inner, DecodedRows rows)
      : inner_(std::move(inner)), rows_(torch::tensor(rows.guided)), scales_(std::move(rows.scales)) {}

  void guide(const std::vector<double>& shares) override { shares_ = shares; }

  torch::Tensor advance(const torch::Tensor& previous) override {
    const auto given = previous.defined() ? torch::cat({previous, previous.index_select(0, rows_)}) : previous;
    const auto both = log_probabilities(inner_->advance(given));
    const auto all = both.size(0) - rows_.size(0);
    auto scale = torch::empty({rows_.size(0), 1});
    for (std::int64_t i = 0; i < rows_.size(0); ++i) {
      const double share = shares_.empty() ? 1 : shares_.at(static_cast<std::size_t>(rows_[i].item<std::int64_t>()));
      scale[i] = 1 + share * (scales_[static_cast<std::size_t>(i)] - 1);
    }
    const auto conditional = both.slice(0, 0, all), null = both.slice(0, all);
    const auto at = rows_.to(both.device());
    return conditional.index_copy(0, at, guided(null, conditional.index_select(0, at), scale.to(both.device())));
  }

 private:
  std::unique_ptr<Decoding> inner_;
  torch::Tensor rows_;          // [G] int64
  std::vector<double> scales_;  // of the guided rows
  std::vector<double> shares_;  // of every row; empty: all of it
};

}  // namespace

torch::Tensor DecodedRows::classes(const std::vector<Condition>& known) const {
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const auto& condition = known.at(static_cast<std::size_t>(conditions[i]));
    labels.push_back(i < told ? condition.label : condition.null_label);
  }
  return torch::tensor(labels, torch::kInt64);
}

DecodedRows rows_to_decode(const std::vector<Condition>& known, std::int64_t count,
                           const std::vector<std::int64_t>& conditions) {
  Look look;
  look.conditions = conditions;
  DecodedRows rows;
  rows.told = static_cast<std::size_t>(count);
  for (std::int64_t n = 0; n < count; ++n) {
    rows.conditions.push_back(look.condition_of(n, static_cast<std::int64_t>(known.size())));
    const auto scale = known[static_cast<std::size_t>(rows.conditions.back())].scale;
    if (scale == 1) continue;
    rows.guided.push_back(n);
    rows.scales.push_back(scale);
  }
  for (const auto n : rows.guided) rows.conditions.push_back(rows.conditions[static_cast<std::size_t>(n)]);
  return rows;
}

std::unique_ptr<Decoding> with_guidance(std::unique_ptr<Decoding> inner, DecodedRows rows) {
  if (rows.guided.empty()) return inner;
  return std::make_unique<GuidedDecoding>(std::move(inner), std::move(rows));
}

}  // namespace tessera
