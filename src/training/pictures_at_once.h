/// How many pictures go through a codec together.
#pragma once

#include <algorithm>
#include <cstdint>

#include "codec/codec.h"

namespace tessera {

/// Of so many pixels each: at most 32, and fewer of large ones. LlamaGen's encoder takes 5 KB a pixel in float32, so
/// that 32 pictures of 256x256 would take more memory than many machines have.
inline std::int64_t pictures_at_once(const Codec& codec, std::int64_t pixels) {
  constexpr std::int64_t kMost = 32, kPixels = std::int64_t{2} * 256 * 256, kPixelsOfAGpu = 16 * kPixels;
  return std::clamp<std::int64_t>(
      (codec->device().is_cuda() ? kPixelsOfAGpu : kPixels) / std::max<std::int64_t>(1, pixels), 1, kMost);
}

/// Of its own size.
inline std::int64_t pictures_at_once(const Codec& codec) {
  const auto grid = codec->options().grid();
  const std::int64_t factor = codec->options().factor();
  return pictures_at_once(codec, grid.h * grid.w * factor * factor);
}

}  // namespace tessera
