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
/// `per_call` at a time. Out: [M, K] float32 on the CPU; rows of zeros for cells in no window. evaluations: windows
/// evaluated are added to it.
torch::Tensor window_mixture(Denoiser& network, const WindowLattice& lattice, Extent canvas,
                             const torch::Tensor& tokens, const torch::Tensor& rows, std::int64_t per_call,
                             std::int64_t& evaluations);

/// That mixture as a denoiser of the canvas, so that `fill` and its samplers work on it as they are. Its logits are the
/// logarithms of the mixture's probabilities: temperature and truncation act on the mixture.
class WindowedDenoiser : public Denoiser {
 public:
  /// In: window, the extent that the network was trained on. Random windows are drawn by the image's key and the step.
  WindowedDenoiser(Denoiser& network, Extent window, Extent canvas, const WindowOptions& options);

  std::int64_t codebook_size() const override { return network_.codebook_size(); }
  torch::Device device() const override { return network_.device(); }
  void begin_step(const ImageKey& key, std::uint32_t step) override;
  void begin_times(const torch::Tensor& t) override;
  bool sees_time() const override { return network_.sees_time(); }
  torch::Tensor logits_at(const torch::Tensor& tokens, const torch::Tensor& rows) override;

  /// Windows that the network has been evaluated on so far.
  std::int64_t evaluations() const { return evaluations_; }

 private:
  void lay_out(std::int64_t shift_down, std::int64_t shift_right);

  Denoiser& network_;
  Extent window_, canvas_;
  WindowOptions options_;
  WindowLattice lattice_;
  std::int64_t evaluations_ = 0;
};

}  // namespace tessera
