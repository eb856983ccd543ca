#include "diffusion/processes.h"
#include "diffusion/structured.h"

namespace tessera {
namespace {

std::shared_ptr<const Process> make_gaussian(const ProcessInput& input) {
  return std::make_shared<GaussianProcess>(input.codes, input.steps);
}

}  // namespace

ProcessEntry gaussian_process() {
  return {"gaussian", "codes become near ones by their number", false, make_gaussian};
}

}  // namespace tessera
