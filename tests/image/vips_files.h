/// Image files of every kind, made in memory for the tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#ifdef TESSERA_WITH_VIPS
#include <vips/vips.h>

#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera::testing {

struct Unref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using VipsHandle = std::unique_ptr<VipsImage, Unref>;

inline std::span<const std::uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A picture with another colour in each quarter: red, green / blue, yellow.
inline Image quarters(int width, int height) {
  Image image(width, height);
  const std::uint8_t colours[4][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) std::memcpy(image.at(x, y), colours[2 * (2 * y / height) + 2 * x / width], 3);
  }
  return image;
}

/// Values of any band count and format as a libvips image that owns its memory.
template <typename Value>
VipsHandle vips_from(const std::vector<Value>& values, int width, int height, int bands, VipsBandFormat format,
                     VipsInterpretation interpretation) {
  encode_png(Image(1, 1));  // starts libvips
  VipsImage* image =
      vips_image_new_from_memory_copy(values.data(), values.size() * sizeof(Value), width, height, bands, format);
  if (image == nullptr) throw std::runtime_error("libvips: no image");
  image->Type = interpretation;
  return VipsHandle(image);
}

inline VipsHandle vips_from(const Image& image) {
  return vips_from(image.pixels, image.width, image.height, 3, VIPS_FORMAT_UCHAR, VIPS_INTERPRETATION_sRGB);
}

/// In: suffix with options as libvips takes them, ".jpg[Q=90]". Out: the file's bytes.
inline std::string save(const VipsHandle& image, const std::string& suffix) {
  void* buffer = nullptr;
  std::size_t size = 0;
  if (vips_image_write_to_buffer(image.get(), suffix.c_str(), &buffer, &size, nullptr) != 0) {
    const std::string message = vips_error_buffer();
    vips_error_clear();
    throw std::runtime_error(suffix + ": " + message);
  }
  std::string bytes(static_cast<const char*>(buffer), size);
  g_free(buffer);
  return bytes;
}

inline std::string save(const Image& image, const std::string& suffix) {
  return save(vips_from(image), suffix);
}

/// The largest difference of any channel of any pixel; 999 where the sizes differ.
inline int difference(const Image& left, const Image& right) {
  if (left.width != right.width || left.height != right.height) return 999;
  int largest = 0;
  for (std::size_t i = 0; i < left.pixels.size(); ++i) {
    largest = std::max(largest, std::abs(int{left.pixels[i]} - int{right.pixels[i]}));
  }
  return largest;
}

/// The message of the Error that the call throws; empty: it threw none.
inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace tessera::testing
#endif
