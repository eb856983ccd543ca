/// Draws of the original programs again: torch.multinomial with one sample takes the token with the greatest p / E for
/// exponential draws E, which the cases hold.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "sampling/draw.h"
#include "sampling/truncation.h"

namespace tessera::testing {

/// softmax(logits / temperature), cut to top-k and of that to top-p. In, out: [N, K].
inline torch::Tensor truncated(const torch::Tensor& logits, const DrawOptions& options) {
  const auto scaled = logits.to(torch::kFloat64) / options.temperature;
  const auto likely = torch::log_softmax(keep_count(torch::log_softmax(scaled, -1), options.top_k), -1);
  return torch::softmax(keep_rate(likely, options.top_p), -1);
}

/// The tokens of logits [N, K] that the original drew with E [N, K]. That draw_token has the same distribution is
/// expected of every row: in the middle of the token's share of the unit interval it draws it too.
inline torch::Tensor drawn_with(const torch::Tensor& logits, const torch::Tensor& exponential,
                                const DrawOptions& options) {
  const auto p = truncated(logits, options);
  const auto tokens = (p / exponential.to(torch::kFloat64)).argmax(-1);
  const auto rows = logits.to(torch::kFloat32).contiguous();
  const auto middle = (p.cumsum(-1) - p / 2).gather(1, tokens.unsqueeze(1)).contiguous();
  DrawScratch scratch;
  for (std::int64_t n = 0; n < rows.size(0); ++n) {
    const auto own =
        draw_token(rows[n].data_ptr<float>(), rows.size(1), middle.data_ptr<double>()[n], options, scratch);
    EXPECT_EQ(own.token, tokens[n].item<std::int64_t>()) << "row " << n;
  }
  return tokens;
}

}  // namespace tessera::testing
