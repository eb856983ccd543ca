/// A small codec with random weights and pictures with much to see in them.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "codec/codec.h"
#include "image/image.h"

namespace tessera::testing {

/// 16x16 pixels, 8x8 cells of 2 pixels, 16 codes.
inline Codec tiny_codec() {
  CodecOptions options;
  options.image_size = 16;
  options.base_channels = 32;
  options.channel_multipliers = {1, 1};
  options.attention_resolutions = {};
  options.embedding_width = 4;
  options.codebook_size = 16;
  torch::manual_seed(11);
  Codec codec(options);
  codec->eval();
  return codec;
}

inline Image colourful(int width, int height, int phase = 0) {
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      auto* pixel = image.at(x, y);
      pixel[0] = static_cast<std::uint8_t>((x * 37 + phase) % 256);
      pixel[1] = static_cast<std::uint8_t>((y * 53 + x * 7) % 256);
      pixel[2] = static_cast<std::uint8_t>((x * y * 3 + 91 + phase) % 256);
    }
  }
  return image;
}

inline std::shared_ptr<const Image> picture(int width, int height, int phase = 0) {
  return std::make_shared<Image>(colourful(width, height, phase));
}

}  // namespace tessera::testing
