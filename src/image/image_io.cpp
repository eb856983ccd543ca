#include "image/image_io.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {

bool is_picture_ending(std::string_view ending) {
  static const std::set<std::string, std::less<>> endings = {
      "png", "apng", "jpg", "jpeg", "jpe", "jfif", "jif",  "webp", "tif", "tiff", "gif", "bmp",
      "dib", "ppm",  "pgm", "pbm",  "pnm", "pam",  "heic", "heif", "hif", "avif", "jxl", "jp2",
      "j2k", "jpx",  "svg", "svgz", "tga", "psd",  "xcf",  "ico",  "exr", "hdr",  "dds", "qoi",
      "pcx", "eps",  "ai",  "dng",  "cr2", "cr3",  "nef",  "arw",  "orf", "rw2",  "raf", "raw"};
  return endings.contains(ending);
}

Image read_image(const std::filesystem::path& path, const ReadOptions& options) {
  const std::string bytes = read_file(path, options.max_file_bytes);
  return read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, path.string(), options);
}

Image crop(const Image& image, int left, int top, int width, int height) {
  require(
      left >= 0 && top >= 0 && width > 0 && height > 0 && width <= image.width - left && height <= image.height - top,
      "crop: {}x{} at ({}, {}) of an image of {}x{}", width, height, left, top, image.width, image.height);
  Image part(width, height);
  for (int y = 0; y < height; ++y)
    std::memcpy(part.at(0, y), image.at(left, top + y), 3 * static_cast<std::size_t>(width));
  if (image.has_transparency()) {
    part.rgba.resize(4 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    for (int y = 0; y < height; ++y)
      std::memcpy(part.rgba_at(0, y), image.rgba_at(left, top + y), 4 * static_cast<std::size_t>(width));
  }
  return part;
}

Image resize_and_crop(const Image& image, int size) {
  require(size > 0, "resize: size {}, expected at least 1", size);
  const int shorter = std::min(image.width, image.height);
  const auto scaled = [&](int side) {
    return std::max(size, static_cast<int>(std::lround(static_cast<double>(side) * size / shorter)));
  };
  const int width = scaled(image.width);
  const int height = scaled(image.height);
  if (width == size && height == size) return resize_exact(image, size, size);
  return crop(resize_exact(image, width, height), (width - size) / 2, (height - size) / 2, size, size);
}

}  // namespace tessera
