/// What a network whose steps back in time go cell by cell is asked of one step of a process.
#pragma once

#include <torch/torch.h>

#include <cmath>
#include <cstdint>

#include "denoiser/step_decoder.h"
#include "diffusion/process.h"
#include "runtime/error.h"

namespace tessera {

/// Of the step from x_t [N, L] to x_{t-1}, t = time in 1..T. Throws Error where codes do not fare alike in it or become
/// MASK.
inline StepLook step_look(const Process& process, torch::Tensor noised, std::int64_t time) {
  const auto step = process.even_step(time - 1, time);
  require(step && step->gamma == 0, "step cell by cell: expected a process that redraws codes alike");
  StepLook look;
  look.noised = std::move(noised);
  look.time = time;
  look.log_same = std::log(step->alpha + step->beta);
  look.log_other = std::log(step->beta);
  return look;
}

}  // namespace tessera
