/// The one function that every job comes to: fills the MASK cells of a grid with tokens drawn from a denoiser.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "denoiser/denoiser.h"
#include "diffusion/process.h"
#include "runtime/random.h"
#include "sampling/draw.h"
#include "sampling/sampling_options.h"
#include "tokens/token_grid.h"

namespace tessera {

inline constexpr std::int64_t kMostSamplingSteps = 1 << 20;

/// A sampler that is left open is the model's to choose: a Pipeline takes what its bundle suggests (sampler, and steps,
/// temperature and context guidance where these are at their off-values here), `fill` alone the denoiser's own order.
struct FillOptions {
  std::string sampler;     // one of samplers() (sampling/registry.h); empty: as the model suggests, else the first that
                           // suits the denoiser
  std::int64_t steps = 0;  // S (autoregressive: one step a cell, not used; raster: at most one a cell); 0: as the model
                           // suggests, else T
  DrawOptions draw;        // temperature, top_k, top_p, typical_p
  Seed seed = 0;
  std::uint64_t first_image = 0;  // number of the grid's first image: image i of a seed is the same in every split
  std::int64_t total_steps = 0;   // T of the process the network learned (mlm); 0: the number of cells
  // The sampler's and the guidance schedule's own options that were given ("purity", "order" ..); the others have the
  // fallback of their field.
  OptionValues own;
  // Images in one network call; part of the rounding of the logits, not of the draws. 0: 1 on a CPU (8 where the
  // network decodes cell by cell), 32 on an accelerator.
  std::int64_t images_per_call = 0;
  // The process that the denoiser learned to reverse; none: absorbing, whose steps need no time.
  std::shared_ptr<const Process> process;
  std::string condition;  // the same in words, for records alone; empty: nothing
  // What each image of the grid is to show, or one condition for all; empty: nothing. A Pipeline makes them of prompts
  // and labels (condition_for).
  std::vector<Condition> conditions;
  // Above 1: draws lean towards what the cells known so far speak for (denoiser/context_guidance.h), below 1 away from
  // it; 1: the model's own distribution. Networks with MASK alone.
  double context_guidance = 1;
  // How much of both guidances there is when: one of guidance_schedules() (sampling/registry.h), its options in `own`.
  std::string guidance_schedule = "constant";
  // The mean cross-entropy of a cell (nats) with a share 0, 1/n .. (n-1)/n of the cells known, for the schedule dp; of
  // the bundle. Empty: not measured.
  std::vector<double> cross_entropy;
  // The key of each image of the grid, which may be of several seeds: jobs that are filled together keep their
  // pictures. Their places in a network call are by their order. Empty: image n is number first_image + n of `seed`.
  std::vector<ImageKey> images;
  // Asked before each network call: true where image n of the grid is no longer wanted. It costs no more evaluations,
  // its open cells come out with any token or MASK. None: all are wanted.
  std::function<bool(std::int64_t n)> abandoned;

  ImageKey key_of(std::int64_t n) const {
    return images.empty() ? ImageKey{seed, first_image + static_cast<std::uint64_t>(n)}
                          : images.at(static_cast<std::size_t>(n));
  }

  /// An option of the sampler's own. Throws UsageError where the sampler has none of that name.
  double number(const std::string& name) const { return std::get<double>(own_value(name)); }
  std::string text(const std::string& name) const { return std::get<std::string>(own_value(name)); }

  /// Takes over what was given, conditions left out.
  void take(const SamplingOptions& given);
  /// What the sampler uses and does not stand at "off", conditions left out: for records, and to ask for the same
  /// again. The sampler is chosen.
  SamplingOptions used() const;

  /// Throws UsageError naming the option, its value and what is expected; an unknown sampler lists the choices.
  void validate() const;

 private:
  OptionValue own_value(const std::string& name) const;
};

struct FillReport {
  std::int64_t steps = 0;        // steps walked
  std::int64_t evaluations = 0;  // network evaluations x images; a step that changes nothing in an image needs none
  double seconds = 0;            // wall time
  bool cancelled = false;        // the callback asked to stop: some cells may still be MASK
};

struct FillProgress {
  std::int64_t step = 0;  // 1..steps
  std::int64_t steps = 0;
  torch::Tensor tokens;          // [N, h, w] int64 after this step, K where MASK; not to be changed
  std::int64_t evaluations = 0;  // as in FillReport, up to this step
};

/// Where an earlier fill of the same grid with the same options stood; going on from it gives what that fill would
/// have.
struct FillCheckpoint {
  torch::Tensor tokens;   // [N, h, w] int64 after `step`, K where MASK; undefined: from the start
  std::int64_t step = 0;  // steps walked (FillProgress::step)
};

/// Called after every step. false cancels.
using StepCallback = std::function<bool(const FillProgress&)>;

struct FillResult {
  TokenGrid grid;
  FillReport report;
};

/// In: a grid whose MASK cells are to be filled; the others are kept as they are.
/// Samplers (each described in its file): ancestral (the exact reverse process in S steps; a grid that starts partly
/// masked starts at the step that its number of masked cells implies), mlm (every step masks the estimate again and
/// draws all of it), confidence (MaskGIT, arXiv:2202.04200: the most confident draws stay), raster (the masked cells in
/// row-major order, each given all others known by then), autoregressive (row-major, each cell given those before it),
/// purity (every step draws the cells that the denoiser is surest of; Tang et al., arXiv:2205.16007, section 3.2).
///
/// With options.process, ancestral is the reverse of that process from T to 0 in S strides, by x_0-parameterisation;
/// draw.top_p and draw.top_k cut p(x_0) (the published truncation rate and count), temperature divides its logits. A
/// grid that is partly kept starts at the time at which as large a share of cells is MASK. A process without MASK
/// starts from codes drawn uniformly in the cells to be filled. Samplers that only take MASK away give the denoiser the
/// time that the share of MASK cells implies.
///
/// Promise: image i of a seed comes out the same whatever other images are filled with it. The draws are keyed by
/// (seed, image, step, cell); the network is called on groups of `images_per_call` images with fixed places (image
/// number / images_per_call, absent ones filled up with MASK), so that its rounding does not depend on the split
/// either. Another images_per_call, device, dtype or a library that rounds differently with another thread count may
/// move a logit in its last bits.
FillResult fill(const TokenGrid& grid, Denoiser& denoiser, const FillOptions& options, const StepCallback& on_step = {},
                const FillCheckpoint& from = {});

/// The denoiser that options.context_guidance asks for, which refers to the one given; null where it is 1. `fill` calls
/// it, what stands between the two (windows) may do so before. Throws UsageError where there is no MASK.
std::unique_ptr<Denoiser> with_context_guidance(Denoiser& denoiser, const FillOptions& options);

}  // namespace tessera
