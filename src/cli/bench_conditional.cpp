#include "cli/bench_conditional.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/stopwatch.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "diffusion/mask_replace.h"
#include "runtime/seconds_since.h"
#include "sampling/fill.h"
#include "text/clip_text_encoder.h"

namespace tessera::cli {
namespace {

constexpr std::int64_t kSteps = 8;       // of the fill that is timed
constexpr double kGuidanceScale = 5;     // any but 0 and 1 costs the same
constexpr std::int64_t kPositions = 77;  // of a text, as CLIP has them

/// Some text or class; what it says does not matter to the time.
Condition some_condition(const NetworkFacts& sizes, double scale, std::int64_t positions) {
  Condition condition;
  condition.scale = scale;
  if (sizes.condition_width > 0) {
    condition.states = unit_positions(torch::randn({positions, sizes.condition_width}));
    condition.null_states = unit_positions(torch::randn({positions, sizes.condition_width}));
  }
  if (sizes.classes > 0) condition.label = 0;
  return condition;
}

double evaluation_ms(Denoiser& denoiser, const NetworkFacts& sizes, const std::vector<Condition>& conditions,
                     std::int64_t repeats) {
  const auto cells = sizes.grid.cells();
  const auto tokens = torch::full({1, cells}, sizes.codebook_size, torch::kInt64), rows = torch::arange(cells);
  const auto evaluator = denoiser.begin(conditions);
  const Look look{tokens, rows, torch::full({1}, sizes.total_steps, torch::kInt64)};
  return median_ms(denoiser.device(), repeats, [&] { evaluator->logits(look); });
}

double steps_per_second(Denoiser& denoiser, const NetworkFacts& sizes, const std::vector<Condition>& conditions,
                        const std::shared_ptr<const Process>& process) {
  FillOptions fill_options;
  fill_options.process = process;
  fill_options.conditions = conditions;
  fill_options.steps = std::min(kSteps, process->total_steps());
  const auto begin = std::chrono::steady_clock::now();
  const auto made = fill(TokenGrid::all_masked(1, sizes.grid, sizes.codebook_size), denoiser, fill_options);
  return static_cast<double>(made.report.steps) / seconds_since(begin);
}

}  // namespace

nlohmann::json measure_conditioning(Denoiser& denoiser, const ConditionalOptions& options,
                                    const std::shared_ptr<const Process>& process, Precision precision,
                                    std::int64_t repeats, std::int64_t positions) {
  const torch::NoGradGuard no_grad;
  const auto sizes = network_facts(options.to_config(), "bench");
  nlohmann::json report;
  report["condition"] = sizes.condition();
  report["parameters"] = denoiser.parameter_count();
  {
    auto plain = options;
    plain.condition_width = plain.classes = 0;
    ConditionalTransformer network(plain);
    network->initialise(0);
    network->set_precision(precision);
    network->eval();
    network->to(denoiser.device());
    GuidedDenoiser unconditional(network);
    report["evaluation_without_condition_ms"] = evaluation_ms(unconditional, sizes, {}, repeats);
  }
  for (const bool guided : {false, true}) {
    const std::vector<Condition> conditions = {some_condition(sizes, guided ? kGuidanceScale : 1, positions)};
    const std::string name = guided ? "with_guidance" : "with_condition";
    report[fmt::format("evaluation_{}_ms", name)] = evaluation_ms(denoiser, sizes, conditions, repeats);
    report[fmt::format("steps_per_second_{}", name)] = steps_per_second(denoiser, sizes, conditions, process);
  }
  return report;
}

nlohmann::json measure_paper_conditioning(Precision precision, std::int64_t repeats) {
  const torch::NoGradGuard no_grad;
  ConditionalOptions options;
  options.codebook_size = 2886;
  options.layers = 19;
  options.heads = 16;
  options.head_width = 64;
  ConditionalTransformer network(options);
  network->initialise(0);
  network->set_precision(precision);
  network->eval();
  GuidedDenoiser denoiser(network);
  auto report = measure_conditioning(denoiser, options,
                                     std::make_shared<MaskReplaceProcess>(options.codebook_size, options.total_steps),
                                     precision, repeats, kPositions);
  ClipTextEncoder encoder{ClipTextOptions{}};
  encoder->initialise(0);
  encoder->eval();
  const auto ids = torch::zeros({1, kPositions}, torch::kInt64);
  report["prompt_ms"] = median_ms(repeats, [&] { encoder->forward(ids); });
  return report;
}

}  // namespace tessera::cli
