/// One place that decides how many threads compute.
#pragma once

namespace tessera {

/// Sets LibTorch's (and with it OpenMP's and the BLAS's) threads; 0: one a processor.
void set_threads(int threads);

}  // namespace tessera
