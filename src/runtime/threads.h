/// One place that decides how many threads compute.
#pragma once

namespace tessera {

/// Set in processes that a command started to share its work: their number.
inline constexpr const char* kProcessesVariable = "TESSERA_PROCESSES";

/// Sets LibTorch's (and with it OpenMP's and the BLAS's) threads; 0: one a processor, which processes that share
/// the work of one command (kProcessesVariable) share too.
void set_threads(int threads);

}  // namespace tessera
