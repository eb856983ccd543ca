/// What `tessera train` proposes for a set of pictures: size, starting model, settings, time; with the reasons.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "training/codec_trainer.h"
#include "training/prior_trainer.h"
#include "training/survey.h"

namespace tessera {

struct PlanOptions {
  double minutes = 0;     // of the whole run; 0: 20, or 10 where there is an accelerator
  std::int64_t size = 0;  // pixels; 0 chooses
  std::string start;      // bundle to start from; empty: as found by shipped_start
  bool start_from_nothing = false;
  bool accelerated = false;  // a GPU trains
  std::int64_t seed = 0;
};

struct TrainingPlan {
  CodecRecipe codec;
  PriorRecipe prior;
  bool trains_codec = true;
  double seconds = 0;                                      // of the whole run
  double codec_seconds = 0;                                // of the codec's training within it
  std::vector<std::pair<std::string, std::string>> lines;  // topic and why, in the order in which they are said

  std::string text() const;
  /// The recipe that repeats the run.
  std::string recipe(const std::string& data, const std::string& out) const;
};

/// The largest usual size that most pictures fill and that the time allows. Out: pixels and why.
std::pair<std::int64_t, std::string> choose_size(const FileSurvey& files, const PlanOptions& options);

/// Part of the pictures to hold out: 5 %, of few pictures more, so that there are about 32 to judge by, at most a
/// fifth.
double share_held_out(std::int64_t pictures);

/// The general model that comes with the program for pictures of that size, else for smaller ones, whose codec then
/// sees several pixels as one position (patch_size); empty: none.
std::string shipped_start(std::int64_t size);

/// Everything but the numbers of steps. In: options.size is chosen.
TrainingPlan plan_training(const FileSurvey& files, const PictureSurvey& pictures, const PlanOptions& options);

/// The numbers of steps that fit the time, given the measured seconds a step.
void fit_steps(TrainingPlan& plan, double seconds_a_codec_step, double seconds_a_prior_step);

/// Seconds a step of a task takes here: the median of `steps`, the first few left out.
double seconds_a_step(TrainingTask& task, std::int64_t steps);

}  // namespace tessera
