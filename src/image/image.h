/// A decoded picture, 8-bit sRGB, and its way to and from tensors.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// An opaque sRGB colour.
struct Colour {
  std::uint8_t red = 255;
  std::uint8_t green = 255;
  std::uint8_t blue = 255;
  bool operator==(const Colour&) const = default;
};

/// In: "#rrggbb", "#rgb", "white" or "black". Throws Error on anything else.
Colour parse_colour(std::string_view text);
/// Out: "#rrggbb", lower case.
std::string to_string(Colour colour);

/// One picture. ensures: pixels.size() == 3 * width * height, rgba.size() == 4 * width * height or 0.
struct Image {
  Image() = default;
  /// A picture of one colour. Throws Error unless both sizes are at least 1.
  Image(int image_width, int image_height, Colour fill = {});

  int width = 0;                     // pixels
  int height = 0;                    // pixels
  std::vector<std::uint8_t> pixels;  // [height, width, 3], sRGB, interleaved; transparency composited
  // [height, width, 4], not premultiplied: the picture as its file has it, where it has transparency and was read with
  // ReadOptions::keep_alpha; empty: opaque.
  std::vector<std::uint8_t> rgba = {};

  bool has_transparency() const { return !rgba.empty(); }
  std::uint8_t* rgba_at(int x, int y) { return rgba.data() + 4 * (static_cast<std::size_t>(y) * width + x); }
  const std::uint8_t* rgba_at(int x, int y) const {
    return rgba.data() + 4 * (static_cast<std::size_t>(y) * width + x);
  }

  std::uint8_t* at(int x, int y) { return pixels.data() + 3 * (static_cast<std::size_t>(y) * width + x); }
  const std::uint8_t* at(int x, int y) const { return pixels.data() + 3 * (static_cast<std::size_t>(y) * width + x); }
  bool operator==(const Image&) const = default;
};

/// Out: [3, H, W] uint8.
torch::Tensor to_tensor(const Image& image);
/// In: pictures of one size, at least one. Out: [N, 3, H, W] uint8. Throws Error naming the picture that differs.
torch::Tensor to_tensor(const std::vector<Image>& images);
/// In: [3, H, W] uint8 on any device. Throws Error on another shape or type.
Image to_image(const torch::Tensor& tensor);
/// In: [N, 3, H, W] uint8 on any device.
std::vector<Image> to_images(const torch::Tensor& tensor);

}  // namespace tessera
