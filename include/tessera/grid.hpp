/// Grids of tokens.
#pragma once

#include <tessera/error.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace tessera {

/// A cell that is to be filled.
constexpr std::int32_t kMask = -1;

/// A grid that something else owns: it lives as long as that does.
class GridView {
 public:
  GridView() = default;
  /// tokens: [height, width], row by row; in [0, K) or kMask.
  GridView(std::int64_t height, std::int64_t width, const std::int32_t* tokens) : view_{height, width, tokens} {}
  explicit GridView(const tessera_grid_view& view) : view_(view) {}

  std::int64_t height() const noexcept { return view_.height; }  // cells
  std::int64_t width() const noexcept { return view_.width; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(view_.height * view_.width); }
  std::int32_t operator()(std::int64_t y, std::int64_t x) const { return view_.tokens[y * view_.width + x]; }

  const std::int32_t* data() const noexcept { return view_.tokens; }
  const std::int32_t* begin() const noexcept { return view_.tokens; }
  const std::int32_t* end() const noexcept { return view_.tokens + size(); }

  const tessera_grid_view& c_view() const noexcept { return view_; }

 private:
  tessera_grid_view view_ = {0, 0, nullptr};
};

/// A grid and its tokens.
class Grid {
 public:
  Grid() = default;
  /// Throws UsageError where a side is below 0.
  Grid(std::int64_t height, std::int64_t width, std::int32_t token = kMask)
      : height_(height), width_(width), tokens_(cells(height, width), token) {}
  /// tokens: [height, width], row by row. Throws UsageError where there are more or fewer.
  Grid(std::int64_t height, std::int64_t width, std::vector<std::int32_t> tokens)
      : height_(height), width_(width), tokens_(std::move(tokens)) {
    if (tokens_.size() != cells(height, width)) {
      throw UsageError("grid: " + std::to_string(tokens_.size()) + " tokens, expected " + std::to_string(height) +
                       " x " + std::to_string(width));
    }
  }
  explicit Grid(const GridView& view)
      : height_(view.height()), width_(view.width()), tokens_(view.begin(), view.end()) {}

  std::int64_t height() const noexcept { return height_; }
  std::int64_t width() const noexcept { return width_; }
  std::size_t size() const noexcept { return tokens_.size(); }

  std::int32_t& operator()(std::int64_t y, std::int64_t x) { return tokens_[index(y, x)]; }
  std::int32_t operator()(std::int64_t y, std::int64_t x) const { return tokens_[index(y, x)]; }
  /// Throws UsageError where the cell lies outside.
  std::int32_t& at(std::int64_t y, std::int64_t x) {
    require_inside(y, x);
    return tokens_[index(y, x)];
  }
  std::int32_t at(std::int64_t y, std::int64_t x) const {
    require_inside(y, x);
    return tokens_[index(y, x)];
  }

  std::int32_t* data() noexcept { return tokens_.data(); }
  const std::int32_t* data() const noexcept { return tokens_.data(); }
  auto begin() noexcept { return tokens_.begin(); }
  auto end() noexcept { return tokens_.end(); }
  auto begin() const noexcept { return tokens_.begin(); }
  auto end() const noexcept { return tokens_.end(); }

  GridView view() const noexcept { return {height_, width_, tokens_.data()}; }
  operator GridView() const noexcept { return view(); }

  friend bool operator==(const Grid& a, const Grid& b) {
    return a.height_ == b.height_ && a.width_ == b.width_ && a.tokens_ == b.tokens_;
  }
  friend bool operator!=(const Grid& a, const Grid& b) { return !(a == b); }

 private:
  static std::size_t cells(std::int64_t height, std::int64_t width) {
    if (height < 0 || width < 0 || (width > 0 && height > std::numeric_limits<std::int32_t>::max() / width)) {
      throw UsageError("grid: " + std::to_string(height) + " x " + std::to_string(width) +
                       " cells, expected sides from 0 and fewer than 2^31 cells");
    }
    return static_cast<std::size_t>(height * width);
  }
  std::size_t index(std::int64_t y, std::int64_t x) const { return static_cast<std::size_t>(y * width_ + x); }
  void require_inside(std::int64_t y, std::int64_t x) const {
    if (y < 0 || x < 0 || y >= height_ || x >= width_) {
      throw UsageError("grid: cell " + std::to_string(y) + ", " + std::to_string(x) + " of " + std::to_string(height_) +
                       " x " + std::to_string(width_));
    }
  }

  std::int64_t height_ = 0, width_ = 0;
  std::vector<std::int32_t> tokens_;
};

}  // namespace tessera
