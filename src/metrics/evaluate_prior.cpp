#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "denoiser/independent.h"
#include "metrics/confidence.h"
#include "metrics/evaluation.h"
#include "metrics/plots.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

constexpr std::size_t kExtremes = 8;  // images listed at either end

/// How an estimate was made, and how sure one image's is.
void add_settings(const BoundOptions& options, const BoundEstimate& estimate, std::int64_t cells,
                  nlohmann::ordered_json& figures) {
  figures["evaluations_an_image"] = estimate.evaluations;
  figures["strata"] = options.strata;
  figures["antithetic"] = options.antithetic;
  figures["repeats"] = options.repeats;
  if (!estimate.standard_error.defined()) return;
  figures["bits_per_token_standard_error_of_one_image"] =
      bits_per_token(estimate.standard_error.square().mean().sqrt(), cells).item<double>();
}

/// The estimate by one form, with its interval in bits per token.
nlohmann::ordered_json bound_figures(Denoiser& prior, const torch::Tensor& tokens, const BoundOptions& options,
                                     double confidence, BoundEstimate& estimate) {
  const auto evaluator = prior.begin();
  const LogitsAt denoise = [&](const torch::Tensor& seen, const torch::Tensor& rows) {
    return evaluator->logits({seen, rows});
  };
  Progress progress(fmt::format("likelihood, {}", name_of(options.form)), 0, tokens.size(0), "images");
  estimate = estimate_bound(denoise, tokens, prior.codebook_size(), options, 0,
                            [&](std::int64_t done, std::int64_t) { progress.update(done, ""); });
  nlohmann::ordered_json figures;
  figures["bits_per_token"] = to_json(interval_of(bits_per_token(estimate.nats, tokens.size(1)), confidence));
  if (options.form == BoundForm::time_steps) figures["total_steps"] = options.total_steps;
  add_settings(options, estimate, tokens.size(1), figures);
  figures["bits_a_masked_cell_by_share_masked"] = estimate.bits_by_share_masked;
  return figures;
}

void add_ranking(const NamedGrids& grids, const torch::Tensor& bits, HtmlReport& report) {
  std::vector<std::size_t> order(grids.names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const double* value = bits.data_ptr<double>();
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return value[a] < value[b]; });
  std::vector<std::vector<std::string>> rows = {{"likeliest", "bits per token", "least likely", "bits per token"}};
  for (std::size_t i = 0; i < std::min(kExtremes, order.size()); ++i) {
    const auto first = order[i], last = order[order.size() - 1 - i];
    rows.push_back({grids.names[first], number_text(value[first]), grids.names[last], number_text(value[last])});
  }
  report.table(rows);
}

/// What the condition tells: the value without it, and the difference on the same images. In: nats [N] of both.
void add_without(const torch::Tensor& with, const torch::Tensor& without, std::int64_t cells,
                 const LikelihoodOptions& options, nlohmann::ordered_json& figures) {
  figures["bits_per_token_without_condition"] =
      to_json(interval_of(bits_per_token(without, cells), options.confidence));
  figures["bits_per_token_that_the_condition_saves"] =
      to_json(interval_of(bits_per_token(without - with, cells), options.confidence));
}

/// Every image's value, and which are the most and the least likely.
void add_images(const NamedGrids& grids, const torch::Tensor& nats, HtmlReport& report,
                nlohmann::ordered_json& figures) {
  figures["cells"] = grids.tokens.size(1);
  const auto bits = bits_per_token(nats, grids.tokens.size(1)).contiguous();
  add_ranking(grids, bits, report);
  auto each = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < grids.names.size(); ++i) {
    each.push_back({{"image", grids.names[i]}, {"bits_per_token", bits[static_cast<std::int64_t>(i)].item<double>()}});
  }
  figures["images"] = each;
}

}  // namespace

nlohmann::ordered_json likelihood_figures(Denoiser& prior, std::int64_t known_cells, const NamedGrids& grids,
                                          const LikelihoodOptions& options, HtmlReport& report, torch::Tensor* nats,
                                          const std::vector<Condition>& conditions,
                                          const std::vector<Condition>& none) {
  const auto cells = grids.tokens.size(1);
  require(known_cells == cells, "likelihood: grids of {} cells, the prior knows {}", cells, known_cells);
  require(grids.names.size() == static_cast<std::size_t>(grids.tokens.size(0)), "likelihood: a name for every image");
  nlohmann::ordered_json figures;
  torch::Tensor values;
  report.heading("Likelihood of held-out token grids");
  if (const auto* independent = dynamic_cast<const IndependentDenoiser*>(&prior)) {
    values = independent_nll(independent->log_probabilities(), grids.tokens);
    figures["kind"] = "exact negative log likelihood of cells that do not depend on each other";
    figures["bits_per_token"] = to_json(interval_of(bits_per_token(values, cells), options.confidence));
    report.figures(figures);
  } else if (prior.is_autoregressive()) {
    Progress progress("likelihood, exact", 0, grids.tokens.size(0), "images");
    const auto say = [&](std::int64_t done, std::int64_t) { progress.update(done, ""); };
    values = exact_nll(prior, grids.tokens, options.bound.batch, say, conditions);
    figures["kind"] = "exact negative log likelihood of the autoregressive prior";
    figures["bits_per_token"] = to_json(interval_of(bits_per_token(values, cells), options.confidence));
    if (!conditions.empty())
      add_without(values, exact_nll(prior, grids.tokens, options.bound.batch, say, none), cells, options, figures);
    report.figures(figures);
  } else {
    BoundEstimate estimate;
    figures["kind"] = fmt::format("variational bound of the absorbing prior, {} form", name_of(options.bound.form));
    figures.update(bound_figures(prior, grids.tokens, options.bound, options.confidence, estimate));
    values = estimate.nats;
    if (options.also_time_steps && options.bound.form != BoundForm::time_steps) {
      auto by_time = options.bound;
      by_time.form = BoundForm::time_steps;
      BoundEstimate second;
      figures["time_steps"] = bound_figures(prior, grids.tokens, by_time, options.confidence, second);
      // Both forms on the same images: the interval of the difference is that of the draws alone.
      figures["time_steps"]["difference_bits_per_token"] =
          to_json(interval_of(bits_per_token(second.nats - estimate.nats, cells), options.confidence));
    }
    report.figures(figures);
    Series curve{"", {}, estimate.bits_by_share_masked};
    for (std::size_t i = 0; i < curve.y.size(); ++i)
      curve.x.push_back((static_cast<double>(i) + 0.5) / static_cast<double>(curve.y.size()));
    report.plot(line_plot({curve}, {"Cross-entropy of a masked cell", "share of cells masked", "bits", false}));
  }
  add_images(grids, values, report, figures);
  if (nats) *nats = values;
  return figures;
}

nlohmann::ordered_json process_likelihood_figures(std::int64_t total_steps, const EstimateBound& own,
                                                  const EstimateBound& unconditioned, const NamedGrids& grids,
                                                  const LikelihoodOptions& options, HtmlReport& report,
                                                  torch::Tensor* nats) {
  const auto cells = grids.tokens.size(1);
  const auto estimate = [&](const EstimateBound& bound, const char* what) {
    Progress progress(fmt::format("likelihood, {}", what), 0, grids.tokens.size(0), "images");
    return bound([&](std::int64_t done, std::int64_t) { progress.update(done, ""); });
  };
  report.heading("Likelihood of held-out token grids");
  const auto with = estimate(own, "with the condition");
  nlohmann::ordered_json figures;
  figures["kind"] = fmt::format("variational bound of the process of {} steps", total_steps);
  figures["bits_per_token"] = to_json(interval_of(bits_per_token(with.nats, cells), options.confidence));
  if (unconditioned) add_without(with.nats, estimate(unconditioned, "without it").nats, cells, options, figures);
  add_settings(options.bound, with, cells, figures);
  report.figures(figures);
  add_images(grids, with.nats, report, figures);
  if (nats) *nats = with.nats;
  return figures;
}

}  // namespace tessera
