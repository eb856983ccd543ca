#include "denoiser/denoiser.h"

#include "runtime/error.h"

namespace tessera {

std::unique_ptr<Decoding> Denoiser::begin_decoding(std::int64_t) {
  fail("denoiser: found a bidirectional network, expected an autoregressive one");
}

}  // namespace tessera
