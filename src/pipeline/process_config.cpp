#include "pipeline/process_config.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffusion/mask_replace.h"
#include "diffusion/structured.h"
#include "runtime/error.h"

namespace tessera {

namespace {

std::shared_ptr<const Process> make_mask_and_replace(const ProcessInput& input) {
  MaskReplaceSchedule schedule;
  schedule.alpha_start = input.config.value("alpha_cum_start", schedule.alpha_start);
  schedule.alpha_end = input.config.value("alpha_cum_end", schedule.alpha_end);
  schedule.gamma_start = input.config.value("gamma_cum_start", schedule.gamma_start);
  schedule.gamma_end = input.config.value("gamma_cum_end", schedule.gamma_end);
  return std::make_shared<MaskReplaceProcess>(input.codes, input.steps, schedule);
}

std::shared_ptr<const Process> make_absorbing(const ProcessInput& input) {
  return std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::absorbing(input.codes, input.steps));
}

std::shared_ptr<const Process> make_uniform(const ProcessInput& input) {
  return std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(input.codes, input.steps));
}

std::shared_ptr<const Process> make_gaussian(const ProcessInput& input) {
  return std::make_shared<GaussianProcess>(input.codes, input.steps);
}

std::shared_ptr<const Process> make_nearest_embedding(const ProcessInput& input) {
  require(input.codebook.defined(), "{}: the nearest-embedding process needs a codebook", input.where);
  constexpr std::int64_t kNeighbours = 8;
  return std::make_shared<NearestEmbeddingProcess>(input.codebook, input.steps,
                                                   std::min<std::int64_t>(kNeighbours, input.codes - 1));
}

}  // namespace

Registry<ProcessEntry>& processes() {
  static Registry<ProcessEntry> registry(
      "process", {{"absorbing", "codes become MASK", true, make_absorbing},
                  {"gaussian", "codes become near ones by their number", false, make_gaussian},
                  {"mask-and-replace", "codes become MASK or any other", true, make_mask_and_replace},
                  {"nearest-embedding", "codes become near ones by their codebook rows", false, make_nearest_embedding},
                  {"uniform", "codes become any other", false, make_uniform}});
  return registry;
}

NamedProcess make_process(const nlohmann::json& config, std::int64_t codes, std::int64_t total_steps,
                          const torch::Tensor& codebook, const std::string& where) {
  try {
    const auto own = config.value("tessera", nlohmann::json::object());
    const bool hub = config.value("_class_name", nlohmann::json()) == "VQDiffusionScheduler";
    require(hub || own.contains("process"), "{}: names no process", where);
    const auto name = own.value("process", std::string("mask-and-replace"));
    const auto classes = config.value("num_vec_classes", codes + 1);
    require(classes == codes + 1, "{}: {} classes with MASK, expected {} as the denoiser has", where, classes,
            codes + 1);
    const auto steps = own.contains("total_steps") ? own["total_steps"].get<std::int64_t>()
                                                   : config.value("num_train_timesteps", std::int64_t{100});
    require(steps == total_steps, "{}: {} time steps, expected {} as the denoiser has", where, steps, total_steps);
    const auto* entry = processes().find(name);
    require(entry != nullptr, "{}: process '{}': expected one of {}", where, name,
            fmt::join(processes().names(), ", "));
    return {name, entry->make({config, codes, steps, codebook, where})};
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", where, error.what());
  }
}

}  // namespace tessera
