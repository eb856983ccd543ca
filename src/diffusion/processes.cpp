#include "diffusion/processes.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "runtime/error.h"

namespace tessera {

// A file each.
ProcessEntry absorbing_process();
ProcessEntry gaussian_process();
ProcessEntry mask_and_replace_process();
ProcessEntry nearest_embedding_process();
ProcessEntry uniform_process();

Registry<ProcessEntry>& processes() {
  static Registry<ProcessEntry> registry(
      "process", {absorbing_process(), gaussian_process(), mask_and_replace_process(), nearest_embedding_process(),
                  uniform_process()});
  return registry;
}

const ProcessEntry& default_process() {
  for (const auto& entry : processes().entries()) {
    if (!entry.needs_time) return entry;
  }
  fail("no process can be reversed without times");
}

std::string process_name(const nlohmann::json& config) {
  const auto own = config.value("tessera", nlohmann::json::object());
  if (own.contains("process")) return own["process"].get<std::string>();
  const auto class_name = config.value("_class_name", std::string());
  for (const auto& entry : processes().entries()) {
    // The class that all of ours have tells none of them.
    if (entry.class_name == class_name && entry.class_name != ProcessEntry().class_name) return entry.name;
  }
  return {};
}

nlohmann::json process_config(const std::string& name, std::int64_t codes, std::int64_t total_steps) {
  return {{"_class_name", processes().at(name).class_name},
          {"num_train_timesteps", total_steps},
          {"num_vec_classes", codes + 1},
          {"tessera", {{"format", 1}, {"process", name}, {"total_steps", total_steps}}}};
}

NamedProcess make_process(const nlohmann::json& config, std::int64_t codes, std::int64_t total_steps,
                          const torch::Tensor& codebook, const std::string& where) {
  try {
    const auto name = process_name(config);
    require(!name.empty(), "{}: names no process", where);
    const auto own = config.value("tessera", nlohmann::json::object());
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
