#include "server/small_jobs.h"

#include <cmath>

namespace tessera::server {
namespace {

constexpr double kOperationsPerSecond = 5e10;  // of a network that has not been seen at work: those of two old cores
constexpr double kLoadBytesPerSecond = 2e8;    // of weights that are not loaded yet

double windows_along(std::int64_t cells, std::int64_t own, std::int64_t stride) {
  if (own <= 0 || cells <= own) return 1;
  const auto step = static_cast<double>(stride > 0 ? std::min(stride, own) : std::max<std::int64_t>(1, own / 2));
  return 1 + std::ceil(static_cast<double>(cells - own) / step);
}

/// Pixels of what the job fills, at most.
std::pair<std::int64_t, std::int64_t> canvas_of(const JobRequest& request, const ModelInfo& model) {
  if (request.tokens) return {request.tokens->w * model.factor, request.tokens->h * model.factor};
  const auto& picture = request.onto ? request.onto : request.image;
  if (picture) {
    return {picture->width + request.left + request.right, picture->height + request.top + request.bottom};
  }
  return {request.width > 0 ? request.width : model.width, request.height > 0 ? request.height : model.height};
}

}  // namespace

double windows_of(std::int64_t h, std::int64_t w, std::int64_t stride, const ModelInfo& model) {
  return windows_along(h, model.h, stride) * windows_along(w, model.w, stride);
}

JobWork work_of(const JobRequest& request, const ModelInfo& model) {
  const auto [width, height] = canvas_of(request, model);
  const auto factor = std::max<std::int64_t>(1, model.factor);
  const auto w = (width + factor - 1) / factor, h = (height + factor - 1) / factor;
  const auto count = static_cast<double>(request.count);
  JobWork work;
  work.cells = count * static_cast<double>(w * h);
  if (request.verb == "reconstruct" || !model.has_prior) return work;
  // As the pipeline decides them (pipeline/sampling_choice.cpp), and never fewer.
  const bool larger = h > model.h || w > model.w;
  auto steps = request.sampling.maybe<std::int64_t>("steps").value_or(0);
  if (steps == 0 && !larger && !request.sampling.has("sampler"))
    steps = model.suggested.maybe<std::int64_t>("steps").value_or(0);
  if (steps == 0) steps = std::max(model.total_steps, h * w);
  const auto windows = windows_of(h, w, request.stride, model);
  work.evaluations = count * windows * static_cast<double>(steps);
  // The least likely cells are looked for with an evaluation for each few of them.
  if (request.by == "likelihood") work.evaluations += windows * static_cast<double>(h * w);
  return work;
}

void JobSeconds::note(const std::string& model, double evaluations, double seconds) {
  if (evaluations <= 0) return;
  constexpr double kNew = 0.25;  // share of the latest in the mean
  const auto [found, fresh] = evaluation_.try_emplace(model, seconds / evaluations);
  if (!fresh) found->second += kNew * (seconds / evaluations - found->second);
}

double JobSeconds::of(const JobWork& work, const ModelInfo& model, double a_cell) const {
  const auto found = evaluation_.find(model.name);
  // Two operations for each weight of 4 bytes and each cell.
  const double evaluation =
      found != evaluation_.end()
          ? found->second
          : static_cast<double>(model.bytes) / 2 * static_cast<double>(model.h * model.w) / kOperationsPerSecond;
  const double load = model.loaded ? 0 : static_cast<double>(model.bytes) / kLoadBytesPerSecond;
  return load + work.evaluations * evaluation + 2 * work.cells * a_cell;  // encoded and decoded
}

}  // namespace tessera::server
