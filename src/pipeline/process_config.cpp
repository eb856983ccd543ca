#include "pipeline/process_config.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffusion/mask_replace.h"
#include "diffusion/structured.h"
#include "runtime/error.h"

namespace tessera {

std::vector<std::string> process_names() {
  return {"absorbing", "gaussian", "mask-and-replace", "nearest-embedding", "uniform"};
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
    if (name == "mask-and-replace") {
      MaskReplaceSchedule schedule;
      schedule.alpha_start = config.value("alpha_cum_start", schedule.alpha_start);
      schedule.alpha_end = config.value("alpha_cum_end", schedule.alpha_end);
      schedule.gamma_start = config.value("gamma_cum_start", schedule.gamma_start);
      schedule.gamma_end = config.value("gamma_cum_end", schedule.gamma_end);
      return {name, std::make_shared<MaskReplaceProcess>(codes, steps, schedule)};
    }
    if (name == "absorbing")
      return {name, std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::absorbing(codes, steps))};
    if (name == "uniform")
      return {name, std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(codes, steps))};
    if (name == "gaussian") return {name, std::make_shared<GaussianProcess>(codes, steps)};
    require(name != "nearest-embedding" || codebook.defined(), "{}: the nearest-embedding process needs a codebook",
            where);
    if (name == "nearest-embedding")
      return {name, std::make_shared<NearestEmbeddingProcess>(codebook, steps, std::min<std::int64_t>(8, codes - 1))};
    fail("{}: process '{}': expected one of {}", where, name, fmt::join(process_names(), ", "));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", where, error.what());
  }
}

}  // namespace tessera
