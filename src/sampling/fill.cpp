#include "sampling/fill.h"

#include <fmt/ranges.h>

#include <chrono>

#include "denoiser/context_guidance.h"
#include "runtime/error.h"
#include "runtime/seconds_since.h"
#include "sampling/registry.h"

namespace tessera {
namespace {

/// What is left open, decided by the denoiser and the process alone.
FillOptions decided(FillOptions options, const Denoiser& denoiser, Extent grid) {
  if (options.sampler.empty())
    options.sampler =
        default_sampler(denoiser.is_autoregressive(), !options.process || options.process->has_mask()).name;
  if (options.steps == 0) {
    options.steps = options.process           ? options.process->total_steps()
                    : options.total_steps > 0 ? options.total_steps
                                              : grid.cells();
  }
  return options;
}

}  // namespace

void FillOptions::take(const SamplingOptions& given) {
  for (const auto& [name, value] : given.given()) {
    if (name == "sampler") {
      sampler = std::get<std::string>(value);
    } else if (name == "steps") {
      steps = std::get<std::int64_t>(value);
    } else if (name == "temperature") {
      draw.temperature = std::get<double>(value);
    } else if (name == "top_k") {
      draw.top_k = std::get<std::int64_t>(value);
    } else if (name == "top_p") {
      draw.top_p = std::get<double>(value);
    } else if (name == "typical_p") {
      draw.typical_p = std::get<double>(value);
    } else if (name == "context_guidance") {
      context_guidance = std::get<double>(value);
    } else if (name == "guidance_schedule") {
      guidance_schedule = std::get<std::string>(value);
    } else if (!SamplingOptions::field(name).is_condition()) {
      own[name] = value;
    }
  }
}

SamplingOptions FillOptions::used() const {
  const auto& entry = samplers().at(sampler);
  SamplingOptions options;
  options.set("sampler", sampler);
  if (entry.takes_steps) options.set("steps", steps);
  options.set("temperature", draw.temperature);
  if (draw.top_k > 0) options.set("top_k", draw.top_k);
  if (draw.top_p < 1) options.set("top_p", draw.top_p);
  if (draw.typical_p < 1) options.set("typical_p", draw.typical_p);
  if (context_guidance != 1) options.set("context_guidance", context_guidance);
  const auto reused = reused_context_field();  // 0 is none
  for (const auto& field : entry.options) {
    if (field.name != reused.name || own_value(field.name) != reused.fallback)
      options.set(field.name, own_value(field.name));
  }
  const auto& guidance = guidance_schedules().at(guidance_schedule);
  if (guidance.name != guidance_schedules().entries().front().name) options.set("guidance_schedule", guidance.name);
  for (const auto& field : guidance.options) options.set(field.name, own_value(field.name));
  return options;
}

OptionValue FillOptions::own_value(const std::string& name) const {
  const auto given = own.find(name);
  if (given != own.end()) return given->second;
  for (const auto& field : samplers().at(sampler).options) {
    if (field.name == name) return field.fallback;
  }
  for (const auto& field : guidance_schedules().at(guidance_schedule).options) {
    if (field.name == name) return field.fallback;
  }
  throw UsageError(fmt::format("sampler '{}' has no option {}", sampler, name));
}

void FillOptions::validate() const {
  if (!sampler.empty()) samplers().at(sampler);
  const auto check = [](const char* name, const OptionValue& value) { SamplingOptions::field(name).checked(value); };
  check("steps", steps);
  check("temperature", draw.temperature);
  check("top_k", draw.top_k);
  check("top_p", draw.top_p);
  check("typical_p", draw.typical_p);
  check("context_guidance", context_guidance);
  check("guidance_schedule", guidance_schedule);
  for (const auto& [name, value] : own) SamplingOptions::field(name).checked(value);
  const auto bounded = [](const char* name, std::int64_t value, std::int64_t most, const char* expected) {
    if (value < 0 || value > most) throw UsageError(fmt::format("{} is {}, expected {}", name, value, expected));
  };
  bounded("total_steps", total_steps, kMostSamplingSteps, "1 to 1048576, or 0 for the number of cells");
  bounded("images_per_call", images_per_call, 4096, "1 to 4096, or 0 for the default");
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
  const auto& sampler = samplers().at(options.sampler);
  if (denoiser.is_autoregressive() != sampler.causal) {
    throw UsageError(fmt::format(
        "sampler '{}' with {} denoiser: expected one of {}", options.sampler,
        denoiser.is_autoregressive() ? "an autoregressive" : "a bidirectional",
        fmt::join(suitable_samplers(denoiser.is_autoregressive(), !options.process || options.process->has_mask()),
                  ", ")));
  }
  require(options.images.empty() || static_cast<std::int64_t>(options.images.size()) == grid.count(),
          "fill: {} image keys for {} grids", options.images.size(), grid.count());
  const auto conditions = static_cast<std::int64_t>(options.conditions.size());
  require(conditions <= 1 || conditions == grid.count(), "fill: {} conditions for {} grids, expected one or as many",
          conditions, grid.count());
  require(options.process || !denoiser.sees_time(),
          "fill: the denoiser sees the time, expected the process it learned");
  const bool has_mask = !options.process || options.process->has_mask();
  if (has_mask && sampler.without_mask) {
    throw UsageError(fmt::format("sampler '{}' with a process with MASK: expected one of {}", options.sampler,
                                 fmt::join(suitable_samplers(sampler.causal, true), ", ")));
  }
  if (options.process) {
    require(options.process->codebook_size() == denoiser.codebook_size(),
            "fill: a process of {} codes, expected {} as the denoiser has", options.process->codebook_size(),
            denoiser.codebook_size());
    if (!has_mask && sampler.needs_mask) {
      throw UsageError(fmt::format("sampler '{}' with a process without MASK: expected one of {}", options.sampler,
                                   fmt::join(suitable_samplers(sampler.causal, false), ", ")));
    }
    if (options.draw.typical_p < 1 && !sampler.draws_tokens) {
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
  sampler.run(state);
  state.report.seconds = seconds_since(start);
  return {TokenGrid(state.tokens.view(grid.codes().sizes()), grid.codebook_size()), state.report};
}

}  // namespace tessera
