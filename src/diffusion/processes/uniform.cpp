#include "diffusion/mask_replace.h"
#include "diffusion/processes.h"
#include "runtime/error.h"

namespace tessera {
namespace {

std::shared_ptr<const Process> make_uniform(const ProcessInput& input) {
  const auto own = input.config.value("tessera", nlohmann::json::object());
  if (!own.contains("kept"))
    return std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(input.codes, input.steps));
  const auto kept = own["kept"].get<std::vector<double>>();
  require(static_cast<std::int64_t>(kept.size()) == input.steps + 1, "{}: kept holds {} probabilities, expected {}",
          input.where, kept.size(), input.steps + 1);
  return std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(input.codes, kept));
}

}  // namespace

ProcessEntry uniform_process() {
  return {"uniform", "codes become any other", false, make_uniform};
}

}  // namespace tessera
