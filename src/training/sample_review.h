/// What looks at the grids that a prior in training makes at a validation.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "tokens/token_grid.h"
#include "training/training_loop.h"

namespace tessera {

/// Puts what is to be seen of grids sampled at a validation into the recorder; empty: nothing is sampled.
using GridPreview = std::function<void(std::int64_t step, const TokenGrid& samples, Recorder& recorder)>;

/// Judges grids sampled at a validation (training/sample_judge.h).
struct GridJudge {
  std::int64_t grids = 0;  // that it needs
  std::function<Judgement(std::int64_t step, const TokenGrid& samples, Recorder& recorder)> judge;
};

struct SampleReview {
  GridPreview preview = {};  // of the first 16
  GridJudge judge = {};

  /// Samples to be made; 0: none.
  std::int64_t count() const;
  std::optional<Judgement> operator()(std::int64_t step, const TokenGrid& samples, Recorder& recorder) const;
};

}  // namespace tessera
