#include "diffusion/mask_replace.h"
#include "diffusion/processes.h"

namespace tessera {
namespace {

std::shared_ptr<const Process> make_absorbing(const ProcessInput& input) {
  return std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::absorbing(input.codes, input.steps));
}

}  // namespace

ProcessEntry absorbing_process() {
  ProcessEntry entry{"absorbing", "codes become MASK", true, make_absorbing};
  entry.needs_time = false;  // what is MASK says it
  return entry;
}

}  // namespace tessera
