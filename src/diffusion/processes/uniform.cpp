#include "diffusion/mask_replace.h"
#include "diffusion/processes.h"

namespace tessera {
namespace {

std::shared_ptr<const Process> make_uniform(const ProcessInput& input) {
  return std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(input.codes, input.steps));
}

}  // namespace

ProcessEntry uniform_process() {
  return {"uniform", "codes become any other", false, make_uniform};
}

}  // namespace tessera
