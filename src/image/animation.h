/// Many pictures as one that moves.
#pragma once

#include <string>
#include <vector>

#include "image/image.h"

namespace tessera {

/// The bytes of an animated WebP that repeats for ever. In: frames of one size, at least one, sides at most 16383
/// pixels; milliseconds that each is shown. Throws Error naming the frame that differs, and without TESSERA_WITH_VIPS.
std::string encode_webp_animation(const std::vector<Image>& frames, int milliseconds);

}  // namespace tessera
