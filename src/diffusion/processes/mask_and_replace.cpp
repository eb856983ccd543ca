#include "diffusion/mask_replace.h"
#include "diffusion/processes.h"

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

}  // namespace

ProcessEntry mask_and_replace_process() {
  ProcessEntry entry{"mask-and-replace", "codes become MASK or any other", true, make_mask_and_replace};
  entry.class_name = "VQDiffusionScheduler";  // the hub's
  return entry;
}

}  // namespace tessera
