/// PNG files without a compressor, for builds without libvips.
#pragma once

#include <string>

#include "image/image_io.h"

namespace tessera {

/// A PNG file's bytes with the pixels stored, not compressed: 3 bytes a pixel, readable everywhere. Needs no libvips.
std::string encode_stored_png(const Image& image, const PngText& text = {});

}  // namespace tessera
