#include "sampling/fill.h"

#include <fmt/ranges.h>

#include <chrono>
#include <map>

#include "denoiser/context_guidance.h"
#include "runtime/error.h"
#include "runtime/seconds_since.h"
#include "sampling/sampler.h"

namespace tessera {
namespace {

const std::map<std::string, SamplerFunction>& samplers() {
  static const std::map<std::string, SamplerFunction> table = {
      {"ancestral", sample_ancestral},   {"autoregressive", sample_autoregressive},
      {"confidence", sample_confidence}, {"mlm", sample_mlm},
      {"purity", sample_purity},         {"raster", sample_raster}};
  return table;
}

/// What is left open, decided by the denoiser and the process alone.
FillOptions decided(FillOptions options, const Denoiser& denoiser, Extent grid) {
  if (options.sampler.empty()) options.sampler = denoiser.is_autoregressive() ? "autoregressive" : "ancestral";
  if (options.steps == 0) {
    options.steps = options.process           ? options.process->total_steps()
                    : options.total_steps > 0 ? options.total_steps
                                              : grid.cells();
  }
  return options;
}

template <typename Value>
void require_option(bool condition, const char* option, Value value, const char* expected) {
  if (!condition) throw UsageError(fmt::format("{} is {}, expected {}", option, value, expected));
}

}  // namespace

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const auto& [name, function] : samplers()) names.push_back(name);
  return names;
}

void FillOptions::validate() const {
  if (!sampler.empty() && !samplers().count(sampler)) {
    throw UsageError(fmt::format("sampler '{}': expected one of {}", sampler, fmt::join(sampler_names(), ", ")));
  }
  require_option(steps >= 0 && steps <= 1 << 20, "steps", steps, "1 to 1048576, or 0 for the model's own");
  require_option(draw.temperature >= 0 && draw.temperature <= 1e6, "temperature", draw.temperature,
                 "0 (the most probable token) to 1e6");
  require_option(draw.top_k >= 0, "top_k", draw.top_k, "at least 1, or 0 for all");
  require_option(draw.top_p > 0 && draw.top_p <= 1, "top_p", draw.top_p, "0 < top_p <= 1");
  require_option(draw.typical_p > 0 && draw.typical_p <= 1, "typical_p", draw.typical_p, "0 < typical_p <= 1");
  require_option(total_steps >= 0 && total_steps <= 1 << 20, "total_steps", total_steps,
                 "1 to 1048576, or 0 for the number of cells");
  require_option(choice_temperature >= 0 && choice_temperature <= 1e6, "choice_temperature", choice_temperature,
                 "0 to 1e6");
  require_option(context_guidance >= 0 && context_guidance <= 100, "context_guidance", context_guidance, "0 to 100");
  require_option(purity >= 0 && purity <= 1e3, "purity", purity, "0 to 1000");
  require_option(images_per_call >= 0 && images_per_call <= 4096, "images_per_call", images_per_call,
                 "1 to 4096, or 0 for the default");
}

std::unique_ptr<Denoiser> with_context_guidance(Denoiser& denoiser, const FillOptions& options) {
  const auto scale = options.context_guidance;
  if (scale == 1) return nullptr;
  const bool without_mask = options.process && !options.process->has_mask();
  if (denoiser.is_autoregressive() || without_mask) {
    throw UsageError(fmt::format("context_guidance is {} with {}, expected 1", scale,
                                 without_mask ? "a process without MASK" : "an autoregressive denoiser"));
  }
  return std::make_unique<ContextGuidance>(denoiser, scale, options.process ? options.process->total_steps() : 0);
}

FillResult fill(const TokenGrid& grid, Denoiser& denoiser, const FillOptions& given, const StepCallback& on_step,
                const FillCheckpoint& from) {
  given.validate();
  const auto options = decided(given, denoiser, grid.extent());
  require(grid.codebook_size() == denoiser.codebook_size(), "fill: a grid of {} codes, expected {} as the denoiser has",
          grid.codebook_size(), denoiser.codebook_size());
  if (denoiser.is_autoregressive() != (options.sampler == "autoregressive")) {
    throw UsageError(fmt::format(
        "sampler '{}' with {} denoiser: expected {}", options.sampler,
        denoiser.is_autoregressive() ? "an autoregressive" : "a bidirectional",
        denoiser.is_autoregressive() ? "autoregressive" : "one of ancestral, confidence, mlm, purity, raster"));
  }
  require(options.images.empty() || static_cast<std::int64_t>(options.images.size()) == grid.count(),
          "fill: {} image keys for {} grids", options.images.size(), grid.count());
  require(options.process || !denoiser.sees_time(),
          "fill: the denoiser sees the time, expected the process it learned");
  if (options.process) {
    require(options.process->codebook_size() == denoiser.codebook_size(),
            "fill: a process of {} codes, expected {} as the denoiser has", options.process->codebook_size(),
            denoiser.codebook_size());
    if (!options.process->has_mask() && options.sampler != "ancestral") {
      throw UsageError(fmt::format("sampler '{}' with a process without MASK: expected ancestral", options.sampler));
    }
    if (options.draw.typical_p < 1 && (options.sampler == "ancestral" || options.sampler == "purity")) {
      throw UsageError(
          fmt::format("typical_p is {} with a process that sees the time, expected 1", options.draw.typical_p));
    }
  }
  if (const auto guided = with_context_guidance(denoiser, options)) {
    auto own = options;
    own.context_guidance = 1;
    return fill(grid, *guided, own, on_step, from);
  }
  const torch::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  FillState state(grid, denoiser, options, on_step, from);
  samplers().at(options.sampler)(state);
  state.report.seconds = seconds_since(start);
  return {TokenGrid(state.tokens.view(grid.codes().sizes()), grid.codebook_size()), state.report};
}

}  // namespace tessera
