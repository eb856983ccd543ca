/// How likely token grids are under a prior: estimates of the absorbing prior's variational bound, image by image, and
/// the autoregressive prior's exact value. All in nats an image; see bits_per_token.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "denoiser/denoiser.h"
#include "diffusion/likelihood.h"
#include "diffusion/process.h"
#include "diffusion/redraw.h"

namespace tessera {

enum class BoundForm {
  // sum over t = 1..T of E CE_t / t, cells masked with probability t / T: the bound of the T-step process as the
  // released code sums it. Bond-Taylor et al., arXiv:2111.12701, equation 8; arXiv:2107.03006, appendix A.2.
  time_steps,
  // sum over k = 1..L of E CE / k, exactly k cells masked, uniformly: the mean over all orders of the negative log
  // likelihood of decoding in that order. Uria et al., arXiv:1310.1757, equation 6; Hoogeboom et al.,
  // arXiv:2110.02037, equation 5. The limit of the former for T to infinity.
  any_order,
};

/// "time-steps" | "any-order". Throws UsageError listing these.
BoundForm bound_form_from(const std::string& name);
std::string name_of(BoundForm form);

struct BoundOptions {
  BoundForm form = BoundForm::any_order;
  std::int64_t total_steps = 256;  // T (form time_steps)
  // Equal parts that the levels 1..T (1..L) are cut into; every image gets one random level of each part, weighted by
  // the part's size. 0: every level once, the full sum.
  std::int64_t strata = 32;
  // Each draw with its mirror image: the level from the other end of its part, and the cells' order reversed, so that
  // an early mask and a late one share no luck. Doubles the evaluations.
  bool antithetic = false;
  std::int64_t repeats = 1;  // independent estimates an image; from 2 on each image's own error is known
  Seed seed = 0;
  std::int64_t batch = 32;  // images in one network call

  /// Throws UsageError naming the option.
  void validate() const;
};

struct BoundEstimate {
  torch::Tensor nats;                        // [N] float64, an unbiased estimate of each image's bound
  torch::Tensor standard_error;              // [N] float64: of each, from the repeats; undefined with one repeat
  std::int64_t evaluations = 0;              // network evaluations an image
  std::vector<double> bits_by_share_masked;  // cross-entropy a masked cell (bits) by share of cells masked, 16 parts
  torch::Tensor share_sums;                  // [2, 16] float64: bits, and cells masked, that these are the quotients of
};

/// bits_by_share_masked of the sums of several estimates. In: [2, parts]; undefined: none.
std::vector<double> bits_by_share(const torch::Tensor& share_sums);

using LikelihoodProgress = std::function<void(std::int64_t done, std::int64_t total)>;

/// In: denoise gives logits of MASK cells; x0 [N, L] int64 codes below K. Image n's draws are keyed by
/// (seed, first_image + n, draw), so that they do not depend on the batch. Throws Error on a code of K or more.
BoundEstimate estimate_bound(const LogitsAt& denoise, const torch::Tensor& x0, std::int64_t codebook_size,
                             const BoundOptions& options, std::uint64_t first_image = 0,
                             const LikelihoodProgress& progress = {});

/// The same over the steps 1..T of a given process, masked by its own schedule; the options' form and total steps do
/// not count.
BoundEstimate estimate_bound(const AbsorbingProcess& process, const LogitsAt& denoise, const torch::Tensor& x0,
                             const BoundOptions& options, std::uint64_t first_image = 0,
                             const LikelihoodProgress& progress = {});

/// Logits [N, L, K] of x_0 for x_t [N, L] at times t [N]; first: number of the first row among the images estimated.
using LogitsOfTimes = std::function<torch::Tensor(const torch::Tensor& xt, const torch::Tensor& t, std::int64_t first)>;

/// The bound of a prior that sees the time, under any process: sum over t = 1..T of E KL(q(x_{t-1} | x_t, x_0) ||
/// p(x_{t-1} | x_t)), from draws of t as above (the options' form and total steps do not count). Gu et al.,
/// arXiv:2111.14822, equation 9. The divergence at T is left out, as there: it does not depend on the network.
BoundEstimate estimate_process_bound(const Process& process, const LogitsOfTimes& denoise, const torch::Tensor& x0,
                                     const BoundOptions& options, std::uint64_t first_image = 0,
                                     const LikelihoodProgress& progress = {});

/// Logits of a chain's step for rows first.. of the images estimated (StepLogits).
using ChainLogits = std::function<torch::Tensor(const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time,
                                                std::int64_t first)>;

/// The bound of a prior whose steps back in time go cell by cell (redraw_bound_terms), every step of each image once
/// (the options' form, strata and total steps do not count).
BoundEstimate estimate_chain_bound(const Process& process, const ChainLogits& logits, const torch::Tensor& x0,
                                   const BoundOptions& options, std::uint64_t first_image = 0,
                                   const LikelihoodProgress& progress = {});

/// -log p(x) of each row under a prior whose cells do not depend on each other, exact. In: log p of each cell's code,
/// [1 or L, K]; tokens [N, L]. Out: [N] float64 nats.
torch::Tensor independent_nll(const torch::Tensor& log_probabilities, const torch::Tensor& tokens);

/// -log p(x) of each row under an autoregressive network, exact. In: tokens [N, L]; conditions: of each row, or empty.
/// Out: [N] float64 nats.
torch::Tensor exact_nll(Denoiser& prior, const torch::Tensor& tokens, std::int64_t batch = 32,
                        const LikelihoodProgress& progress = {}, const std::vector<Condition>& conditions = {});

}  // namespace tessera
