/// A network of one grid size on a canvas of any size: overlapping windows, their distributions averaged cell by cell.
/// Bond-Taylor et al., "Unleashing Transformers", ECCV 2022, section 3.3, eq. 8.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "denoiser/denoiser.h"
#include "runtime/random.h"
#include "tokens/windows.h"

namespace tessera {

struct WindowOptions {
  std::int64_t stride = 0;    // cells between neighbouring windows; 0: half a window, 1: every place (slow)
  bool random = false;        // the windows of each step are shifted by a random part of the stride
  std::int64_t per_call = 0;  // windows in one network call; 0: 8 on a CPU, 64 on an accelerator

  /// Throws UsageError where the stride leaves gaps between windows of this extent.
  void validate(Extent window) const;
  /// The stride along an axis of windows of `side` cells.
  std::int64_t stride_along(std::int64_t side) const;
};

/// The mixture of eq. 8 at some cells: the mean of softmax(logits) over the windows that hold the cell, temperature 1.
/// In: tokens [N, H * W] int64 over the canvas; the lattice's windows must lie on the canvas or, along an axis where
/// the canvas is smaller than a window, start at 0: cells beyond the canvas are MASK to the network, which marginalises
/// over them. rows [M] int64, flat cells n * H * W + y * W + x. Only windows that hold one of these are evaluated,
/// `per_call` at a time, each under the time and the condition of its canvas. Out: [M, K] float32 on the CPU; rows of
/// zeros for cells in no window. evaluations: windows evaluated are added to it.
torch::Tensor window_mixture(Evaluator& network, std::int64_t codes, const WindowLattice& lattice, Extent canvas,
                             const Look& look, std::int64_t per_call, std::int64_t& evaluations);

/// That mixture as a denoiser of the canvas, so that `fill` and its samplers work on it as they are. Its logits are the
/// logarithms of the mixture's probabilities: temperature and truncation act on the mixture.
class WindowedDenoiser : public Denoiser {
 public:
  /// In: window, the extent that the network was trained on. Random windows are drawn by the image's key and the step.
  WindowedDenoiser(Denoiser& network, Extent window, Extent canvas, const WindowOptions& options);

  std::int64_t codebook_size() const override { return network_.codebook_size(); }
  torch::Device device() const override { return network_.device(); }
  bool sees_time() const override { return network_.sees_time(); }
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;

  /// Windows that the network has been evaluated on so far, by all evaluators.
  std::int64_t evaluations() const { return evaluations_; }

 private:
  friend class WindowedEvaluator;
  WindowLattice lattice(std::int64_t shift_down, std::int64_t shift_right) const;

  Denoiser& network_;
  Extent window_, canvas_;
  WindowOptions options_;
  std::int64_t evaluations_ = 0;
};

}  // namespace tessera
