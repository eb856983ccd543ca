#include "canvas/pixel_region.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "runtime/error.h"

namespace tessera {

PixelBox parse_pixel_box(std::string_view text, std::string_view what) {
  constexpr int kMost = 1 << 24;
  int values[4] = {};
  const char* at = text.data();
  const char* const end = at + text.size();
  bool valid = true;
  for (int i = 0; i < 4 && valid; ++i) {
    if (i > 0) valid = at != end && *at++ == ',';
    const auto parsed = std::from_chars(at, end, values[i]);
    valid = valid && parsed.ec == std::errc() && values[i] >= 0 && values[i] < kMost;
    at = parsed.ptr;
  }
  if (!valid || at != end || values[2] < 1 || values[3] < 1) {
    throw UsageError(fmt::format("{} '{}': expected x,y,w,h in whole pixels, w and h at least 1", what, text));
  }
  return {values[0], values[1], values[2], values[3]};
}

std::string to_string(const PixelBox& box) {
  return fmt::format("{},{},{},{}", box.x, box.y, box.width, box.height);
}

PixelMask::PixelMask(int width, int height) : width_(width), height_(height) {
  require(width > 0 && height > 0, "mask: {}x{} pixels, expected at least 1x1", width, height);
  set_.assign(static_cast<std::size_t>(width) * height, 0);
}

PixelMask PixelMask::from_image(const Image& image, std::string_view name, int width, int height,
                                std::vector<std::string>& notes, MaskReading reading) {
  const bool same = image.width == width && image.height == height;
  require(same || std::int64_t{image.width} * height == std::int64_t{image.height} * width,
          "mask {}: {}x{} pixels, expected {}x{} as the picture, or the same aspect", name, image.width, image.height,
          width, height);
  if (!same) {
    notes.push_back(fmt::format("mask {}: scaled from {}x{} to {}x{}", name, image.width, image.height, width, height));
  }
  bool transparent = false;
  for (std::size_t i = 3; i < image.rgba.size() && !transparent; i += 4) transparent = image.rgba[i] < 128;
  PixelMask mask(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int from_x = static_cast<int>(std::int64_t{x} * image.width / width);
      const int from_y = static_cast<int>(std::int64_t{y} * image.height / height);
      const auto* pixel = image.at(from_x, from_y);
      const bool bright = pixel[0] + pixel[1] + pixel[2] >= 3 * 128;
      const bool opaque = !transparent || image.rgba_at(from_x, from_y)[3] >= 128;
      mask.set_[mask.index(x, y)] = !transparent ? bright : opaque == (reading == MaskReading::strokes);
    }
  }
  require(mask.count() > 0, "mask {}: all {}, expected {} where the picture is meant", name,
          transparent ? "transparent" : "black", transparent ? "opaque strokes" : "white");
  const char* rule = !transparent                      ? "its white pixels"
                     : reading == MaskReading::strokes ? "it has transparency, its opaque pixels"
                                                       : "its transparent pixels";
  notes.push_back(fmt::format("mask {}: {} are taken, {}", name, rule, mask.share_text()));
  return mask;
}

std::string PixelMask::share_text() const {
  return fmt::format("{:.1f}% of the picture",
                     100.0 * static_cast<double>(count()) / (static_cast<double>(width_) * height_));
}

std::int64_t PixelMask::count() const {
  return std::count(set_.begin(), set_.end(), std::uint8_t{1});
}

void PixelMask::add(const PixelBox& box, std::string_view what) {
  require(box.x >= 0 && box.y >= 0 && box.right() <= width_ && box.bottom() <= height_,
          "{} {} leaves the picture of {}x{} pixels", what, to_string(box), width_, height_);
  for (int y = box.y; y < box.bottom(); ++y)
    std::memset(&set_[index(box.x, y)], 1, static_cast<std::size_t>(box.width));
}

void PixelMask::add(const PixelMask& other) {
  require(other.width_ == width_ && other.height_ == height_, "mask: {}x{} pixels, expected {}x{}", other.width_,
          other.height_, width_, height_);
  for (std::size_t i = 0; i < set_.size(); ++i) set_[i] |= other.set_[i];
}

PixelMask PixelMask::inverted() const {
  auto result = *this;
  for (auto& pixel : result.set_) pixel ^= 1;
  return result;
}

PixelMask PixelMask::cut(const PixelBox& box) const {
  PixelMask part(box.width, box.height);
  const int columns = std::min(box.width, width_ - box.x), rows = std::min(box.height, height_ - box.y);
  for (int y = 0; y < rows; ++y) {
    std::memcpy(&part.set_[part.index(0, y)], &set_[index(box.x, box.y + y)], static_cast<std::size_t>(columns));
  }
  return part;
}

PixelBox PixelMask::bounds() const {
  int left = width_, right = 0, top = height_, bottom = 0;
  for (int y = 0; y < height_; ++y) {
    for (int x = 0; x < width_; ++x) {
      if (!at(x, y)) continue;
      left = std::min(left, x);
      right = std::max(right, x + 1);
      top = std::min(top, y);
      bottom = y + 1;
    }
  }
  return right == 0 ? PixelBox{} : PixelBox{left, top, right - left, bottom - top};
}

torch::Tensor PixelMask::cells(std::int64_t factor, double threshold) const {
  const int side = static_cast<int>(factor);
  const int rows = (height_ + side - 1) / side, columns = (width_ + side - 1) / side;
  auto result = torch::zeros({rows, columns}, torch::kBool);
  auto* cell = result.data_ptr<bool>();
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column, ++cell) {
      const int bottom = std::min(height_, (row + 1) * side), right = std::min(width_, (column + 1) * side);
      int touched = 0;
      for (int y = row * side; y < bottom; ++y) {
        for (int x = column * side; x < right; ++x) touched += set_[index(x, y)];
      }
      const int pixels = (bottom - row * side) * (right - column * side);
      *cell = touched > 0 && touched >= threshold * pixels;
    }
  }
  return result;
}

torch::Tensor PixelMask::feathered(int feather) const {
  // Chebyshev distance to the mask by the two passes of Rosenfeld and Pfaltz (1968), cut off beyond the feather.
  const int beyond = feather + 1;
  std::vector<int> distance(set_.size());
  const auto relax = [&](int x, int y, int dx, int dy) {
    if (x + dx < 0 || x + dx >= width_ || y + dy < 0 || y + dy >= height_) return;
    distance[index(x, y)] = std::min(distance[index(x, y)], distance[index(x + dx, y + dy)] + 1);
  };
  for (int y = 0; y < height_; ++y) {
    for (int x = 0; x < width_; ++x) {
      distance[index(x, y)] = at(x, y) ? 0 : beyond;
      relax(x, y, -1, 0);
      for (int dx = -1; dx <= 1; ++dx) relax(x, y, dx, -1);
    }
  }
  for (int y = height_ - 1; y >= 0; --y) {
    for (int x = width_ - 1; x >= 0; --x) {
      relax(x, y, 1, 0);
      for (int dx = -1; dx <= 1; ++dx) relax(x, y, dx, 1);
    }
  }
  auto result = torch::empty({height_, width_});
  auto* alpha = result.data_ptr<float>();
  for (std::size_t i = 0; i < distance.size(); ++i) {
    alpha[i] = 1 - static_cast<float>(std::min(distance[i], beyond)) / static_cast<float>(beyond);
  }
  return result;
}

}  // namespace tessera
