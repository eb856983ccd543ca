#include "sampling/sampler.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "sampling/device_draw.h"
#include "sampling/registry.h"

namespace tessera {
namespace {

/// The draws of logits [M, K] on a GPU for uniforms [M].
void draw_where_they_are(const torch::Tensor& logits, const torch::Tensor& uniforms, const DrawOptions& options,
                         TokenDraw* out) {
  const auto drawn = draw_tokens(logits, uniforms.to(logits.device()), options);
  const auto codes = drawn.tokens.to(torch::kCPU), log_probability = drawn.log_probability.to(torch::kCPU);
  for (std::int64_t row = 0; row < logits.size(0); ++row) {
    out[row] = {codes.data_ptr<std::int64_t>()[row], log_probability.data_ptr<double>()[row]};
    require(std::isfinite(out[row].log_probability),
            "sampling: the denoiser returned logits that are not finite (in float16 they may be too large: --dtype "
            "bfloat16)");
  }
}

constexpr const char* kReusedContext = "reused_context_steps";

std::int64_t reused_context_of(const FillOptions& options) {
  const auto given = options.own.find(kReusedContext);
  return given == options.own.end() ? 0 : std::get<std::int64_t>(given->second);
}

}  // namespace

OptionField reused_context_field() {
  OptionField field{
      kReusedContext,
      "so many steps after each full evaluation compute only the cells asked for and those changed since, "
      "and see the others as they were: faster, approximate; 0: every evaluation is full",
      std::int64_t{0}, 0, 64};
  field.needs = OptionField::Needs::mask;
  field.label = "Steps that reuse the context";
  field.shown_most = 8;
  return field;
}

FillState::FillState(const TokenGrid& grid, Denoiser& network, const FillOptions& given, const StepCallback& on_step,
                     const FillCheckpoint& from)
    : options(given),
      start(grid.flat().to(torch::kCPU).contiguous()),
      mask_token(grid.mask_token()),
      denoiser_(network),
      evaluator_(network.begin(given.conditions)),
      reused_context_steps_(reused_context_of(given)),
      extent_(grid.extent()),
      walked_(from.step),
      now_(from.step),
      on_step_(on_step) {
  if (reused_context_steps_ > 0) {
    in_context_ = dynamic_cast<ContextEvaluator*>(evaluator_.get());
    if (in_context_ == nullptr) {
      throw UsageError(
          fmt::format("{} is {}, but this network (or a canvas filled through windows) keeps no keys and "
                      "values between steps, expected 0",
                      kReusedContext, reused_context_steps_));
    }
  }
  if (!from.tokens.defined()) {
    tokens = start.clone(at::MemoryFormat::Contiguous);
    return;
  }
  const TokenGrid now(from.tokens, grid.codebook_size());  // checks shape, type and values
  require(now.codes().sizes() == grid.codes().sizes() && from.step >= 0,
          "fill: a checkpoint of {} grids of {}x{} cells at step {}, expected {} of {}x{}", now.count(), now.extent().h,
          now.extent().w, from.step, grid.count(), grid.extent().h, grid.extent().w);
  tokens = now.flat().to(torch::kCPU).clone(at::MemoryFormat::Contiguous);
  const auto known = start != mask_token;
  require(tokens.masked_select(known).equal(start.masked_select(known)),
          "fill: the checkpoint changes cells that the grid keeps");
}

RandomStream FillState::stream(std::int64_t n, Purpose purpose, std::uint32_t step) const {
  const auto key = options.key_of(n);
  return {key.seed, purpose, key.image, step};
}

torch::Tensor FillState::uniforms(Purpose purpose, std::uint32_t step) const {
  auto result = torch::empty({count(), cells()}, torch::kFloat64);
  auto* out = result.data_ptr<double>();
  for (std::int64_t n = 0; n < count(); ++n) {
    const auto draws = stream(n, purpose, step);
    for (std::int64_t cell = 0; cell < cells(); ++cell) *out++ = draws.uniform(static_cast<std::uint32_t>(cell));
  }
  return result;
}

std::int64_t FillState::images_per_call() const {
  if (reused_context_steps_ > 0) return 1;
  if (options.images_per_call > 0) return options.images_per_call;
  if (!denoiser_.device().is_cpu()) return 32;
  return denoiser_.is_autoregressive() ? 8 : 1;
}

std::vector<FillState::Group> FillState::groups() const {
  const auto size = images_per_call();
  const auto before = options.images.empty() ? options.first_image : 0;
  std::vector<Group> result;
  for (std::int64_t first = 0; first < count();) {
    const auto offset =
        static_cast<std::int64_t>((before + static_cast<std::uint64_t>(first)) % static_cast<std::uint64_t>(size));
    const auto last = std::min(count(), first + size - offset);
    result.push_back({first, last, offset});
    first = last;
  }
  return result;
}

bool FillState::abandoned(const Group& group) const {
  if (!options.abandoned) return false;
  for (auto n = group.first; n < group.last; ++n) {
    if (!options.abandoned(n)) return false;
  }
  return true;
}

FillState::Draws FillState::draw(const torch::Tensor& seen, const torch::Tensor& wanted, std::uint32_t step) {
  const auto flags = wanted.contiguous();
  const bool* is_wanted = flags.data_ptr<bool>();
  std::vector<std::int64_t> at;
  for (std::int64_t cell = 0; cell < flags.numel(); ++cell) {
    if (is_wanted[cell]) at.push_back(cell);
  }
  return draw(seen, at, step);
}

FillState::Draws FillState::draw(const torch::Tensor& seen, const std::vector<std::int64_t>& wanted,
                                 std::uint32_t step) {
  Draws result;
  for_groups(seen, wanted, step, 0, [&](const std::vector<std::int64_t>& at, const torch::Tensor& found) {
    draw_rows(found, at, step, result);
  });
  return result;
}

torch::Tensor FillState::logits(const torch::Tensor& seen, const std::vector<std::int64_t>& wanted, std::uint32_t step,
                                std::int64_t t) {
  std::vector<torch::Tensor> parts;
  for_groups(seen, wanted, step, t, [&](const std::vector<std::int64_t>& at, const torch::Tensor& found) {
    require(found.dim() == 2 && found.size(0) == static_cast<std::int64_t>(at.size()) && found.size(1) == mask_token,
            "fill: the denoiser returned logits of another shape than [{}, {}]", at.size(), mask_token);
    parts.push_back(found.to(torch::kCPU, torch::kFloat32));
  });
  return parts.empty() ? torch::zeros({0, mask_token}) : torch::cat(parts);
}

std::vector<std::int64_t> FillState::conditions_of(const Group& group, std::int64_t places) const {
  std::vector<std::int64_t> result;
  for (std::int64_t place = 0; place < places; ++place)
    result.push_back(std::clamp(group.first + place - group.offset, group.first, group.last - 1));
  return result;
}

std::vector<double> FillState::guidance_of(const torch::Tensor& seen, std::int64_t t) const {
  if (options.guidance_schedule == guidance_schedules().entries().front().name) return {};
  std::vector<double> shares;
  const auto masked = (seen == mask_token).sum(1);
  for (std::int64_t n = 0; n < seen.size(0); ++n) {
    const double open = t > 0 ? static_cast<double>(t) / static_cast<double>(options.process->total_steps())
                              : masked[n].item<double>() / static_cast<double>(cells());
    shares.push_back(guidance_share(options, 1 - open));
  }
  return shares;
}

torch::Tensor FillState::look_at(const Look& look) {
  if (in_context_ == nullptr) return evaluator_->logits(look);
  const bool is_full = now_ % (reused_context_steps_ + 1) == 0;
  return in_context_->logits_in_context(look, is_full ? ContextUse::keep : ContextUse::reuse);
}

void FillState::for_groups(const torch::Tensor& seen, const std::vector<std::int64_t>& wanted, std::uint32_t step,
                           std::int64_t t, const GroupBody& body) {
  const auto size = images_per_call();
  // Samplers that do not follow the process's times give the one that the MASK cells imply, image by image.
  const auto times_of = [&](const torch::Tensor& now) {
    if (t > 0) return torch::full({1}, t, torch::kInt64);
    auto times = (now == mask_token).sum(1);
    for (std::int64_t n = 0; n < times.size(0); ++n) {
      auto& time = times.data_ptr<std::int64_t>()[n];
      time = std::max<std::int64_t>(1, implied_time(*options.process, time, cells()));
    }
    return times;
  };
  auto from = wanted.begin();
  for (const auto& group : groups()) {
    const auto to = std::lower_bound(from, wanted.end(), group.last * cells());
    const std::vector<std::int64_t> at(from, to);
    from = to;
    if (at.empty()) continue;
    if (abandoned(group)) {
      body(at, torch::zeros({static_cast<std::int64_t>(at.size()), mask_token}));
      continue;
    }
    const auto given = seen.narrow(0, group.first, group.last - group.first);
    torch::Tensor found;
    if (size == 1) {
      Look look{given, torch::tensor(at) - group.first * cells()};
      if (options.process) look.times = times_of(given);
      look.conditions = {group.first};
      look.guidance = guidance_of(given, t);
      look.key = options.key_of(group.first);
      look.step = step;
      found = look_at(look);
      report.evaluations += 1;
    } else {
      // The whole group at its places and every cell, so that shapes, and with them rounding, are always the same.
      const bool no_mask = options.process && !options.process->has_mask();
      auto places = torch::full({size, cells()}, no_mask ? 0 : mask_token, torch::kInt64);
      places.narrow(0, group.offset, group.last - group.first).copy_(given);
      Look look{places, torch::arange(size * cells())};
      if (options.process) look.times = times_of(places);
      look.conditions = conditions_of(group, size);
      look.guidance = guidance_of(places, t);
      found = evaluator_->logits(look);
      found = found.index_select(0, (torch::tensor(at) + (group.offset - group.first) * cells()).to(found.device()));
      for (std::size_t i = 0; i < at.size(); ++i)
        report.evaluations += i == 0 || at[i] / cells() != at[i - 1] / cells();
    }
    body(at, found);
  }
}

void FillState::draw_rows(const torch::Tensor& given, const std::vector<std::int64_t>& at, std::uint32_t step,
                          const DrawOptions& how, Draws& out) const {
  const auto rows = static_cast<std::int64_t>(at.size());
  require(given.dim() == 2 && given.size(0) == rows && given.size(1) == mask_token,
          "fill: the denoiser returned logits of another shape than [{}, {}]", rows, mask_token);
  const auto begin = out.draws.size();
  out.cells.insert(out.cells.end(), at.begin(), at.end());
  out.draws.resize(begin + at.size());
  const auto uniform_of = [&](std::int64_t row) {
    return stream(at[row] / cells(), Purpose::draw_tokens, step).uniform(static_cast<std::uint32_t>(at[row] % cells()));
  };
  if (!given.is_cpu() && draws_on_device(how)) {
    auto uniforms = torch::empty({rows}, torch::kFloat64);
    for (std::int64_t row = 0; row < rows; ++row) uniforms.data_ptr<double>()[row] = uniform_of(row);
    draw_where_they_are(given, uniforms, how, out.draws.data() + begin);
    return;
  }
  const auto logits = given.to(torch::kCPU, torch::kFloat32).contiguous();
  const float* values = logits.data_ptr<float>();
  at::parallel_for(0, rows, std::max<std::int64_t>(1, 16384 / mask_token), [&](std::int64_t from, std::int64_t to) {
    DrawScratch scratch;
    for (auto row = from; row < to; ++row) {
      out.draws[begin + row] = draw_token(values + row * mask_token, mask_token, uniform_of(row), how, scratch);
    }
  });
}

void FillState::write(const Draws& draws) {
  auto* out = tokens.data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < draws.cells.size(); ++i) out[draws.cells[i]] = draws.draws[i].token;
}

bool FillState::advance(std::int64_t step, std::int64_t steps) {
  report.steps = now_ = step;
  const bool between = now_ % (reused_context_steps_ + 1) != 0 && step < steps;
  if (!on_step_ || between) return true;
  report.cancelled = !on_step_({step, steps, tokens.view({count(), extent_.h, extent_.w}), report.evaluations});
  return !report.cancelled;
}

}  // namespace tessera
