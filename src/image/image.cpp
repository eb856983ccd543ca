#include "image/image.h"

#include <fmt/ranges.h>

#include <cstring>

#include "runtime/error.h"

namespace tessera {
namespace {

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

/// Interleaved pixels to three planes.
void separate(const Image& image, std::uint8_t* planes) {
  const std::size_t plane = static_cast<std::size_t>(image.width) * image.height;
  for (std::size_t i = 0; i < plane; ++i) {
    for (std::size_t channel = 0; channel < 3; ++channel) planes[channel * plane + i] = image.pixels[3 * i + channel];
  }
}

void require_valid(const Image& image) {
  require(image.width > 0 && image.height > 0 &&
              image.pixels.size() == 3 * static_cast<std::size_t>(image.width) * image.height,
          "image: {}x{} with {} bytes of pixels, expected 3 bytes a pixel", image.width, image.height,
          image.pixels.size());
}

}  // namespace

Colour parse_colour(std::string_view text) {
  if (text == "white") return {255, 255, 255};
  if (text == "black") return {0, 0, 0};
  const bool is_short = text.size() == 4;
  bool valid = (text.size() == 7 || is_short) && text[0] == '#';
  std::uint8_t parts[3] = {};
  for (std::size_t i = 0; valid && i < 3; ++i) {
    const int high = hex_digit(text[is_short ? 1 + i : 1 + 2 * i]);
    const int low = hex_digit(text[is_short ? 1 + i : 2 + 2 * i]);
    valid = high >= 0 && low >= 0;
    if (valid) parts[i] = static_cast<std::uint8_t>(16 * high + low);
  }
  require(valid, "colour '{}': expected #rrggbb, #rgb, white or black", text);
  return {parts[0], parts[1], parts[2]};
}

std::string to_string(Colour colour) {
  return fmt::format("#{:02x}{:02x}{:02x}", colour.red, colour.green, colour.blue);
}

Image::Image(int image_width, int image_height, Colour fill) : width(image_width), height(image_height) {
  require(width > 0 && height > 0, "image: {}x{}, expected at least 1x1", width, height);
  pixels.resize(3 * static_cast<std::size_t>(width) * height);
  for (std::size_t i = 0; i < pixels.size(); i += 3) {
    pixels[i] = fill.red;
    pixels[i + 1] = fill.green;
    pixels[i + 2] = fill.blue;
  }
}

torch::Tensor to_tensor(const Image& image) {
  require_valid(image);
  auto tensor = torch::empty({3, image.height, image.width}, torch::kUInt8);
  separate(image, tensor.data_ptr<std::uint8_t>());
  return tensor;
}

torch::Tensor to_tensor(const std::vector<Image>& images) {
  require(!images.empty(), "images: none, expected at least one");
  const auto& first = images.front();
  require_valid(first);
  auto tensor = torch::empty({static_cast<std::int64_t>(images.size()), 3, first.height, first.width}, torch::kUInt8);
  for (std::size_t i = 0; i < images.size(); ++i) {
    require_valid(images[i]);
    require(images[i].width == first.width && images[i].height == first.height,
            "image {}: {}x{}, expected {}x{} as the first", i, images[i].width, images[i].height, first.width,
            first.height);
    separate(images[i], tensor.data_ptr<std::uint8_t>() + i * images[i].pixels.size());
  }
  return tensor;
}

Image to_image(const torch::Tensor& tensor) {
  require(tensor.dim() == 3 && tensor.size(0) == 3 && tensor.scalar_type() == torch::kUInt8,
          "image tensor: {} {}, expected [3, H, W] uint8", fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")),
          c10::toString(tensor.scalar_type()));
  const auto interleaved = tensor.to(torch::kCPU).permute({1, 2, 0}).contiguous();
  Image image(static_cast<int>(tensor.size(2)), static_cast<int>(tensor.size(1)));
  std::memcpy(image.pixels.data(), interleaved.data_ptr<std::uint8_t>(), image.pixels.size());
  return image;
}

std::vector<Image> to_images(const torch::Tensor& tensor) {
  require(tensor.dim() == 4, "image batch: {} dimensions, expected [N, 3, H, W]", tensor.dim());
  std::vector<Image> images;
  images.reserve(static_cast<std::size_t>(tensor.size(0)));
  for (std::int64_t i = 0; i < tensor.size(0); ++i) images.push_back(to_image(tensor[i]));
  return images;
}

}  // namespace tessera
