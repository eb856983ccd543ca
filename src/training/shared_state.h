/// What the ranks of a training tell each other outside of its steps: the state that rank 0 alone reads and writes,
/// what it decides by its clock, and that all train the same thing.
#pragma once

#include <optional>

#include "distributed/ranks.h"
#include "training/training_loop.h"

namespace tessera {

/// Throws Error naming rank and field where a rank would train by another recipe or on other data; warns where one
/// computes with another number of threads, by which sums may round otherwise.
void check_same_task(const Ranks& ranks, const TrainingTask& task);

/// Gives all ranks rank 0's state.
void share_state(const Ranks& ranks, TrainingTask& task);

/// Rank 0's number, to all.
std::int64_t number_of_first(const Ranks& ranks, std::int64_t number);
/// Whether any rank says so.
bool any_says(const Ranks& ranks, bool says);
/// Rank 0's judgement, to all.
std::optional<Judgement> judgement_of_first(const Ranks& ranks, const std::optional<Judgement>& judgement);

}  // namespace tessera
