#include "metrics/prior_likelihood.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "diffusion/objective.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::size_t kShares = 16;

/// The levels 1..levels cut into equal parts.
struct Strata {
  std::int64_t levels, parts;
  std::int64_t first(std::int64_t part) const { return part * levels / parts + 1; }
  std::int64_t size(std::int64_t part) const { return (part + 1) * levels / parts - part * levels / parts; }
};

/// One draw for a part of the images.
struct Draw {
  torch::Tensor x0;        // [n, L]
  torch::Tensor levels;    // [n]
  torch::Tensor uniforms;  // [n, L], for the noise
  std::int64_t first;      // number of the part's first image
};

void require_tokens(const torch::Tensor& x0, std::int64_t codebook_size) {
  require(x0.dim() == 2 && x0.numel() > 0 && x0.scalar_type() == torch::kInt64, "bound: expected int64 tokens [N, L]");
  require(x0.min().item<std::int64_t>() >= 0 && x0.max().item<std::int64_t>() < codebook_size,
          "bound: token {}, expected 0 to {}", x0.max().item<std::int64_t>(), codebook_size - 1);
}

/// Adds up `term(draw)` [n] float64 of every draw, each weighted by the levels that it stands for.
template <typename Term>
BoundEstimate estimate_by_levels(const torch::Tensor& x0, std::int64_t levels, const BoundOptions& options,
                                 std::uint64_t first_image, const LikelihoodProgress& progress, const Term& term) {
  const torch::NoGradGuard no_grad;
  const auto count = x0.size(0);
  const Strata strata{levels, options.strata > 0 ? std::min(options.strata, levels) : levels};
  const std::int64_t mirrors = options.antithetic ? 2 : 1;
  auto values = torch::zeros({options.repeats, count}, torch::kFloat64);
  for (std::int64_t start = 0; start < count; start += options.batch) {
    const auto part = x0.slice(0, start, std::min(start + options.batch, count));
    const auto first = first_image + static_cast<std::uint64_t>(start);
    for (std::int64_t repeat = 0; repeat < options.repeats; ++repeat) {
      auto nats = values[repeat].slice(0, start, start + part.size(0));
      for (std::int64_t stratum = 0; stratum < strata.parts; ++stratum) {
        const auto number = static_cast<std::uint32_t>(repeat * strata.parts + stratum);
        const auto lowest = strata.first(stratum), size = strata.size(stratum);
        auto level = torch::empty({part.size(0)}, torch::kInt64);
        for (std::int64_t n = 0; n < part.size(0); ++n) {
          const RandomStream random(options.seed, Purpose::training_times, first + static_cast<std::uint64_t>(n),
                                    number);
          level[n] = lowest + static_cast<std::int64_t>(random.below(0, static_cast<std::uint64_t>(size)));
        }
        const auto uniforms =
            uniform_rows(options.seed, Purpose::training_masks, first, number, part.size(0), x0.size(1));
        const double weight = static_cast<double>(size) / static_cast<double>(mirrors);
        nats += term(Draw{part, level, uniforms, start}) * weight;
        if (mirrors == 2) nats += term(Draw{part, 2 * lowest + size - 1 - level, 1 - uniforms, start}) * weight;
      }
    }
    if (progress) progress(start + part.size(0), count);
  }
  BoundEstimate estimate;
  estimate.nats = values.mean(0);
  if (options.repeats > 1) estimate.standard_error = values.std(0) / std::sqrt(static_cast<double>(options.repeats));
  estimate.evaluations = options.repeats * strata.parts * mirrors;
  return estimate;
}

}  // namespace

BoundForm bound_form_from(const std::string& name) {
  if (name == "time-steps") return BoundForm::time_steps;
  if (name == "any-order") return BoundForm::any_order;
  throw UsageError(fmt::format("likelihood form '{}': expected one of any-order, time-steps", name));
}

std::string name_of(BoundForm form) {
  return form == BoundForm::time_steps ? "time-steps" : "any-order";
}

void BoundOptions::validate() const {
  if (total_steps < 1) throw UsageError(fmt::format("total steps {}: expected 1 or more", total_steps));
  if (strata < 0) throw UsageError(fmt::format("strata {}: expected 0 (all levels) or more", strata));
  if (repeats < 1) throw UsageError(fmt::format("repeats {}: expected 1 or more", repeats));
  if (batch < 1) throw UsageError(fmt::format("batch {}: expected 1 or more", batch));
}

BoundEstimate estimate_bound(const LogitsAt& denoise, const torch::Tensor& x0, std::int64_t codebook_size,
                             const BoundOptions& options, std::uint64_t first_image,
                             const LikelihoodProgress& progress) {
  const bool by_time = options.form == BoundForm::time_steps;
  options.validate();
  require_tokens(x0, codebook_size);
  // With T = L the schedule `fixed` masks exactly t cells: the any-order form.
  const AbsorbingProcess process(codebook_size, by_time ? options.total_steps : x0.size(1),
                                 by_time ? MaskSchedule::random : MaskSchedule::fixed);
  return estimate_bound(process, denoise, x0, options, first_image, progress);
}

BoundEstimate estimate_bound(const AbsorbingProcess& process, const LogitsAt& denoise, const torch::Tensor& x0,
                             const BoundOptions& options, std::uint64_t first_image,
                             const LikelihoodProgress& progress) {
  options.validate();
  require_tokens(x0, process.codebook_size());
  std::vector<double> bits(kShares, 0), masked(kShares, 0);
  auto estimate = estimate_by_levels(x0, process.total_steps(), options, first_image, progress, [&](const Draw& draw) {
    const auto noised = process.q_sample(draw.x0, draw.levels, draw.uniforms);
    const auto rows = rows_of(noised.changed);
    if (rows.numel() == 0) return torch::zeros({draw.x0.size(0)}, torch::kFloat64);
    const auto logits = denoise(noised.tokens, rows).to(torch::kFloat32);
    const auto nats = masked_cross_entropy_at(logits, draw.x0, rows).to(torch::kCPU, torch::kFloat64);
    const auto counts = noised.changed.sum(1);
    for (std::int64_t n = 0; n < draw.x0.size(0); ++n) {
      const auto count = counts[n].item<std::int64_t>();
      if (count == 0) continue;
      const auto share = static_cast<std::size_t>((count - 1) * static_cast<std::int64_t>(kShares) / draw.x0.size(1));
      bits[share] += nats[n].item<double>() / std::numbers::ln2;
      masked[share] += static_cast<double>(count);
    }
    return nats / draw.levels.to(torch::kFloat64);
  });
  estimate.share_sums = torch::stack({torch::tensor(bits, torch::kFloat64), torch::tensor(masked, torch::kFloat64)});
  estimate.bits_by_share_masked = bits_by_share(estimate.share_sums);
  return estimate;
}

std::vector<double> bits_by_share(const torch::Tensor& share_sums) {
  if (!share_sums.defined()) return {};
  std::vector<double> shares;
  for (std::int64_t i = 0; i < share_sums.size(1); ++i) {
    const auto masked = share_sums[1][i].item<double>();
    shares.push_back(masked > 0 ? share_sums[0][i].item<double>() / masked : 0);
  }
  return shares;
}

BoundEstimate estimate_process_bound(const Process& process, const LogitsOfTimes& denoise, const torch::Tensor& x0,
                                     const BoundOptions& options, std::uint64_t first_image,
                                     const LikelihoodProgress& progress) {
  options.validate();
  require_tokens(x0, process.codebook_size());
  return estimate_by_levels(x0, process.total_steps(), options, first_image, progress, [&](const Draw& draw) {
    const auto xt = process.q_sample(draw.x0, draw.levels, draw.uniforms).tokens;
    const auto logits = denoise(xt, draw.levels, draw.first).to(torch::kFloat32);
    const auto device = logits.device();
    const auto sums = objective_sums(process, {}, draw.x0.to(device), xt.to(device), logits, draw.levels,
                                     torch::ones({draw.x0.size(0)}));
    return sums.bound.to(torch::kCPU, torch::kFloat64);
  });
}

BoundEstimate estimate_chain_bound(const Process& process, const ChainLogits& logits, const torch::Tensor& x0,
                                   const BoundOptions& options, std::uint64_t first_image,
                                   const LikelihoodProgress& progress) {
  const torch::NoGradGuard no_grad;
  options.validate();
  require_tokens(x0, process.codebook_size());
  const auto count = x0.size(0), drawn = uniforms_of_bound(process.total_steps()) * x0.size(1);
  auto values = torch::zeros({options.repeats, count}, torch::kFloat64);
  for (std::int64_t start = 0; start < count; start += options.batch) {
    const auto part = x0.slice(0, start, std::min(start + options.batch, count));
    const auto first = first_image + static_cast<std::uint64_t>(start);
    const StepLogits of_part = [&](const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time) {
      return logits(xt, before, time, start).to(torch::kFloat32);
    };
    for (std::int64_t repeat = 0; repeat < options.repeats; ++repeat) {
      const auto uniforms = uniform_rows(options.seed, Purpose::training_masks, first,
                                         static_cast<std::uint32_t>(repeat), part.size(0), drawn);
      const auto terms = redraw_bound_terms(process, of_part, part, uniforms);
      values[repeat].slice(0, start, start + part.size(0)).copy_(terms.to(torch::kCPU, torch::kFloat64).sum(0));
    }
    if (progress) progress(start + part.size(0), count);
  }
  BoundEstimate estimate;
  estimate.nats = values.mean(0);
  if (options.repeats > 1) estimate.standard_error = values.std(0) / std::sqrt(static_cast<double>(options.repeats));
  estimate.evaluations = options.repeats * process.total_steps();
  return estimate;
}

torch::Tensor independent_nll(const torch::Tensor& log_probabilities, const torch::Tensor& tokens) {
  require_tokens(tokens, log_probabilities.size(1));
  const auto of_cells = log_probabilities.to(torch::kCPU, torch::kFloat64).expand({tokens.size(1), -1});
  const auto cells = torch::arange(tokens.size(1)).expand_as(tokens);
  return -of_cells.index({cells, tokens}).sum(1);
}

torch::Tensor exact_nll(Denoiser& prior, const torch::Tensor& tokens, std::int64_t batch,
                        const LikelihoodProgress& progress, const std::vector<Condition>& conditions) {
  const torch::NoGradGuard no_grad;
  require(prior.is_autoregressive(), "exact likelihood: the prior is not autoregressive; its bound can be estimated");
  const auto evaluator = prior.begin(conditions);
  std::vector<torch::Tensor> nats;
  for (std::int64_t start = 0; start < tokens.size(0); start += batch) {
    const auto part = tokens.slice(0, start, std::min(start + batch, tokens.size(0)));
    const auto logits = evaluator->logits_in_order(part, start).to(torch::kCPU, torch::kFloat32);
    nats.push_back(autoregressive_nll(logits, part).to(torch::kFloat64));
    if (progress) progress(start + part.size(0), tokens.size(0));
  }
  return torch::cat(nats);
}

}  // namespace tessera
