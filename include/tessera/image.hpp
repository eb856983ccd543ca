/// Images of 8-bit pixels: sRGB, rows from the top, interleaved.
#pragma once

#include <tessera/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {

/// A part of an image, pixels.
struct Box {
  int x = 0, y = 0, width = 0, height = 0;
};

/// An image that something else owns: it lives as long as that does.
class ImageView {
 public:
  ImageView() = default;
  /// pixels: [height, width, channels], 3: RGB, 4: RGBA, not premultiplied, 1: grey, for masks. stride: bytes from row
  /// to row; 0: width * channels.
  ImageView(int width, int height, int channels, const std::uint8_t* pixels, std::size_t stride = 0)
      : view_{width, height, channels, stride, pixels} {}
  explicit ImageView(const tessera_image_view& view) : view_(view) {}

  int width() const noexcept { return view_.width; }
  int height() const noexcept { return view_.height; }
  int channels() const noexcept { return view_.channels; }
  std::size_t row_bytes() const noexcept {
    return static_cast<std::size_t>(view_.width) * static_cast<std::size_t>(view_.channels);
  }
  std::size_t stride() const noexcept { return view_.stride ? view_.stride : row_bytes(); }

  const std::uint8_t* data() const noexcept { return view_.pixels; }
  const std::uint8_t* row(int y) const noexcept { return view_.pixels + static_cast<std::size_t>(y) * stride(); }

  /// PNG, WebP or JPEG by the ending. record: JSON that a PNG carries, as Images::record() gives it; empty: none.
  void write(const std::string& path, const std::string& record = {}) const {
    detail::check(tessera_image_write(detail::c_text(path, "path"), &view_,
                                      record.empty() ? nullptr : detail::c_text(record, "record")));
  }

  const tessera_image_view& c_view() const noexcept { return view_; }

 private:
  tessera_image_view view_ = {0, 0, 3, 0, nullptr};
};

/// An image and its pixels.
class Image {
 public:
  Image() = default;
  /// Black; with 4 channels transparent. Throws UsageError where there can be no such image.
  Image(int width, int height, int channels = 3)
      : width_(width), height_(height), channels_(channels), pixels_(bytes(width, height, channels)) {}
  /// pixels: [height, width, channels]. Throws UsageError where there are more or fewer.
  Image(int width, int height, int channels, std::vector<std::uint8_t> pixels)
      : width_(width), height_(height), channels_(channels), pixels_(std::move(pixels)) {
    if (pixels_.size() != bytes(width, height, channels)) {
      throw UsageError("image: " + std::to_string(pixels_.size()) + " bytes, expected " +
                       text(width, height, channels));
    }
  }
  explicit Image(const ImageView& view) : Image(view.width(), view.height(), view.channels()) {
    for (int y = 0; y < height_; ++y) std::memcpy(row(y), view.row(y), view.row_bytes());
  }

  /// PNG, JPEG, WebP, TIFF, GIF and what else the system reads: upright, sRGB, RGB or RGBA.
  static Image read(const std::string& path) {
    tessera_images* read = nullptr;
    detail::check(tessera_image_read(detail::c_text(path, "path"), &read));
    const std::unique_ptr<tessera_images, void (*)(tessera_images*)> owner(read, tessera_images_free);
    return Image(ImageView(tessera_images_image(read, 0)));
  }
  void write(const std::string& path, const std::string& record = {}) const { view().write(path, record); }

  int width() const noexcept { return width_; }
  int height() const noexcept { return height_; }
  int channels() const noexcept { return channels_; }
  bool empty() const noexcept { return pixels_.empty(); }
  std::size_t size() const noexcept { return pixels_.size(); }  // bytes
  std::size_t row_bytes() const noexcept { return view().row_bytes(); }

  std::uint8_t* data() noexcept { return pixels_.data(); }
  const std::uint8_t* data() const noexcept { return pixels_.data(); }
  std::uint8_t* row(int y) noexcept { return pixels_.data() + offset(y); }
  const std::uint8_t* row(int y) const noexcept { return pixels_.data() + offset(y); }

  /// Sets every channel in the box; what of it lies outside is left out.
  Image& fill(const Box& box, std::uint8_t value) {
    const auto cut = [](long long edge, int side) { return static_cast<int>(std::clamp<long long>(edge, 0, side)); };
    const int left = cut(box.x, width_), right = cut(static_cast<long long>(box.x) + box.width, width_);
    const int top = cut(box.y, height_), bottom = cut(static_cast<long long>(box.y) + box.height, height_);
    for (int y = top; y < bottom; ++y) {
      if (left < right) {
        std::memset(row(y) + static_cast<std::size_t>(left) * static_cast<std::size_t>(channels_), value,
                    static_cast<std::size_t>(right - left) * static_cast<std::size_t>(channels_));
      }
    }
    return *this;
  }

  ImageView view() const noexcept { return {width_, height_, channels_, pixels_.data()}; }
  operator ImageView() const noexcept { return view(); }

 private:
  static std::string text(int width, int height, int channels) {
    return std::to_string(width) + " x " + std::to_string(height) + " x " + std::to_string(channels);
  }
  static std::size_t bytes(int width, int height, int channels) {
    if (width < 0 || height < 0 || (channels != 1 && channels != 3 && channels != 4)) {
      throw UsageError("image: " + text(width, height, channels) + ", expected sides from 0 and 1, 3 or 4 channels");
    }
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * static_cast<std::size_t>(channels);
  }
  std::size_t offset(int y) const noexcept { return static_cast<std::size_t>(y) * row_bytes(); }

  int width_ = 0, height_ = 0, channels_ = 3;
  std::vector<std::uint8_t> pixels_;
};

/// A grey mask of an image's size whose box is meant (white).
inline Image box_mask(int width, int height, const Box& box) {
  Image mask(width, height, 1);
  mask.fill(box, 255);
  return mask;
}

}  // namespace tessera
