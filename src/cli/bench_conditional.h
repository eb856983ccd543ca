/// What a condition and guidance cost: steps per second with and without.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "denoiser/conditional_transformer.h"
#include "diffusion/process.h"

namespace tessera::cli {

/// In: a network of these sizes that computes in `precision`, the process it reverses, positions of a text. Out:
/// for one picture the milliseconds of an evaluation without any condition (a network of the same size that lacks the
/// layers for it, random weights), with the condition alone and with guidance (both halves), and steps per second of a
/// fill with the last two.
nlohmann::json measure_conditioning(Denoiser& denoiser, const ConditionalOptions& options,
                                    const std::shared_ptr<const Process>& process, Precision precision,
                                    std::int64_t repeats, std::int64_t positions);

/// The same of VQ-Diffusion-B (arXiv:2111.14822, section 5.1: 19 blocks of width 1024; 32x32 cells, 2,886 codes, T =
/// 100) with CLIP's text encoder, random weights, which cost the same as trained ones.
nlohmann::json measure_paper_conditioning(Precision precision, std::int64_t repeats);

}  // namespace tessera::cli
