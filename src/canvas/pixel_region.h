/// Which pixels of a picture an edit is about: boxes, mask pictures, and the cells that they touch.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"

namespace tessera {

/// A rectangle of pixels.
struct PixelBox {
  int x = 0, y = 0, width = 0, height = 0;
  int right() const { return x + width; }    // one past the last column
  int bottom() const { return y + height; }  // one past the last row
  bool operator==(const PixelBox&) const = default;
};

/// In: "x,y,w,h", whole numbers below 2^24, w and h at least 1. Throws UsageError; `what` names the option.
PixelBox parse_pixel_box(std::string_view text, std::string_view what);
std::string to_string(const PixelBox& box);

/// What a mask picture's transparency says.
enum class MaskReading {
  strokes,  // opaque pixels were drawn and are meant: every door but one
  holes,    // transparent pixels are meant: OpenAI's edits, as documented there
};

/// A set of pixels of a picture.
class PixelMask {
 public:
  /// Empty, of this size in pixels.
  PixelMask(int width, int height);
  /// From a picture, by one rule at every door: where it has transparency (a pixel of alpha below 128) its opaque
  /// pixels are set, whatever their colour; else those of mean brightness 128 and more. A picture of another size but
  /// the same aspect is scaled (nearest pixel). Which rule it was and the share of the picture go to `notes`. Throws
  /// Error naming `name` for another aspect or where no pixel is set. In: image, read with ReadOptions::keep_alpha.
  static PixelMask from_image(const Image& image, std::string_view name, int width, int height,
                              std::vector<std::string>& notes, MaskReading reading = MaskReading::strokes);

  int width() const { return width_; }
  int height() const { return height_; }
  bool at(int x, int y) const { return set_[index(x, y)] != 0; }
  std::int64_t count() const;
  /// "14.1% of the picture".
  std::string share_text() const;
  /// Sets the pixels of a box. Throws Error where it leaves the picture; `what` names it.
  void add(const PixelBox& box, std::string_view what);
  void add(const PixelMask& other);
  PixelMask inverted() const;
  /// The part under a box, which may reach beyond the right and lower border: there nothing is set.
  PixelMask cut(const PixelBox& box) const;
  /// The smallest box around the set pixels; of width 0 where there are none.
  PixelBox bounds() const;

  /// The cells of factor x factor pixels that the mask touches, [ceil(height/factor), ceil(width/factor)] bool.
  /// threshold in [0, 1]: the share of a cell's pixels that must be set; 0: a single one is enough.
  torch::Tensor cells(std::int64_t factor, double threshold = 0) const;
  /// How much of the edit shows at each pixel, [height, width] float32 in 0..1: 1 on the mask, falling linearly to 0
  /// over `feather` pixels (Chebyshev distance) around it, exactly 0 beyond.
  torch::Tensor feathered(int feather) const;

 private:
  std::size_t index(int x, int y) const { return static_cast<std::size_t>(y) * width_ + x; }

  int width_, height_;
  std::vector<std::uint8_t> set_;  // [height, width], 0 or 1
};

}  // namespace tessera
