/// A small joint distribution of tokens as an exact denoiser: conditionals by summation, bidirectional or cell by cell.
#pragma once

#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "support/plain_denoiser.h"
#include "tokens/token_grid.h"

namespace tessera::testing {

constexpr std::int64_t kTableCodes = 3;
constexpr Extent kTableGrid{2, 2};

/// joint [3, 3, 3, 3] float64 over four cells, all entries positive, cells strongly dependent.
inline torch::Tensor example_joint() {
  auto joint = (torch::arange(81, torch::kFloat64) * 1.7).sin().add_(1.6).view({3, 3, 3, 3});
  for (std::int64_t code = 0; code < 3; ++code) joint[code][code][code][code] += 4;
  return joint / joint.sum();
}

class TableDenoiser : public PlainDenoiser {
 public:
  TableDenoiser(torch::Tensor joint, bool autoregressive) : joint_(std::move(joint)), autoregressive_(autoregressive) {}

  std::int64_t codebook_size() const override { return kTableCodes; }
  bool is_autoregressive() const override { return autoregressive_; }

  torch::Tensor look_at(const Look& look) override { return logits_at(look.tokens, look.rows); }
  torch::Tensor logits_at(const torch::Tensor& tokens, const torch::Tensor& rows) {
    calls += 1;
    images += tokens.size(0);
    std::vector<torch::Tensor> logits;
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const auto row = rows[i].item<std::int64_t>();
      logits.push_back(conditional(tokens[row / 4], row % 4));
    }
    return torch::stack(logits);
  }

  /// log p(cell | the known tokens), [3].
  torch::Tensor conditional(const torch::Tensor& tokens, std::int64_t cell) const {
    auto mass = joint_;
    for (std::int64_t other = 0; other < 4; ++other) {
      const auto token = tokens[other].item<std::int64_t>();
      if (other == cell) continue;
      mass = token == kTableCodes ? mass.sum(other, true) : mass.narrow(other, token, 1);
    }
    return mass.flatten().log().to(torch::kFloat32);
  }

  std::unique_ptr<Decoding> decoding(std::int64_t count) override;

  std::int64_t calls = 0;
  std::int64_t images = 0;

 private:
  torch::Tensor joint_;
  bool autoregressive_;
};

class TableDecoding : public Decoding {
 public:
  TableDecoding(const TableDenoiser& table, std::int64_t count)
      : table_(table), tokens_(torch::full({count, 4}, kTableCodes, torch::kInt64)) {}

  torch::Tensor advance(const torch::Tensor& previous) override {
    if (previous.defined()) tokens_.select(1, cell_++).copy_(previous);
    std::vector<torch::Tensor> logits;
    for (std::int64_t n = 0; n < tokens_.size(0); ++n) logits.push_back(table_.conditional(tokens_[n], cell_));
    return torch::stack(logits);
  }

 private:
  const TableDenoiser& table_;
  torch::Tensor tokens_;
  std::int64_t cell_ = 0;
};

inline std::unique_ptr<Decoding> TableDenoiser::decoding(std::int64_t count) {
  if (!autoregressive_) return nullptr;
  return std::make_unique<TableDecoding>(*this, count);
}

/// Pearson's statistic of samples [N, 4] against the joint: 80 degrees of freedom, 0.999 quantile 124.8.
inline double chi_square(const torch::Tensor& samples, const torch::Tensor& joint) {
  const auto index = (samples * torch::tensor({27, 9, 3, 1}, torch::kInt64)).sum(1);
  const auto counts = torch::bincount(index, {}, 81).to(torch::kFloat64);
  const auto expected = joint.flatten() * static_cast<double>(samples.size(0));
  return ((counts - expected).square() / expected).sum().item<double>();
}

}  // namespace tessera::testing
