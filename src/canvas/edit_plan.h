/// What one edit is: a token grid in which the cells to be filled are MASK, and how the decoded result goes back over
/// the picture. Every edit makes such plans; one fill serves them all.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "canvas/pixel_region.h"
#include "codec/codec.h"
#include "image/image.h"
#include "tokens/token_grid.h"

namespace tessera {

using Picture = std::shared_ptr<const Image>;

struct EditPlan {
  torch::Tensor codes;             // [h, w] int64, K where to be filled
  torch::Tensor original;          // [h, w] int64, the picture's own tokens; undefined where cells have none
  std::int64_t codebook_size = 0;  // K
  Picture base;                    // what the result is laid over; of the result's size
  PixelBox area;                   // the part of base that the grid stands for
  int offset_x = 0, offset_y = 0;  // pixel of the decoded grid that falls on the area's first
  torch::Tensor alpha;             // [area.height, area.width] float32: share of the decode; undefined: 1 all over
  std::vector<std::string> notes;  // what was snapped, scaled or cropped, one line each

  Extent extent() const { return {codes.size(0), codes.size(1)}; }
};

struct RegionOptions {
  double threshold = 0;  // share of a cell's pixels that the mask must hold, in [0, 1]; 0: one pixel is enough
  int feather = -1;      // pixels over which the edit fades into the picture; 0: the decode as it is; -1: one cell
  bool sharp = false;    // the edit shows on the mask's own pixels alone, without a feather

  /// Throws UsageError naming the option.
  void validate() const;
};

/// The grids of plans of one extent, [N, h, w]. Throws Error where they differ.
TokenGrid grid_of(const std::vector<EditPlan>& plans);

/// The picture: base with the decode over its area. ensures: pixels of alpha 0 and outside the area are base's, bit by
/// bit, its transparency as well. Where base is transparent the decode lies over it with its share as opacity (Porter
/// and Duff's "over"): what the edit covers wholly is opaque. In: decoded [3, h * factor, w * factor] uint8.
Image finish(const EditPlan& plan, const torch::Tensor& decoded);

/// The picture with the regenerated cells tinted and the cells' borders drawn.
Image mask_overlay(const EditPlan& plan, std::int64_t factor);

/// The tokens of a picture of any size: the right and lower border are continued to whole cells. Out: [h, w] int64.
torch::Tensor encode_picture(Codec codec, const Image& image);

/// What is said of a plan whose picture has transparency.
inline constexpr std::string_view kTransparencyNote =
    "the picture's transparency is kept outside the edit; what the edit covers is opaque";

/// The picture at (left, top) of a larger one of this size, its border pixels continued outwards.
Image extended(const Image& image, int left, int top, int width, int height);

/// Every cell MASK, for a picture of this size; the grid is rounded up to whole cells and the decode cropped.
EditPlan plan_generate(Codec codec, int width, int height);

/// A grid as it is, codes [h, w] int64 with K where it is to be filled. base: the picture that the result is laid over
/// where its cells differ from the picture's own; none: the result is the decode alone. Throws Error where the picture
/// has another grid.
EditPlan plan_tokens(Codec codec, const torch::Tensor& codes, const Picture& base = {},
                     const RegionOptions& options = {});

/// A picture's own tokens, nothing to be filled: what the codec makes of it.
EditPlan plan_reconstruct(Codec codec, const Picture& image);

/// The set pixels of the mask are regenerated, with all cells they touch; the others' tokens stay. A small region of a
/// large picture is cut out with its surroundings at the codec's own size, so that its cost does not depend on the
/// picture's. Throws Error where the mask is empty, of another size, or reaches the threshold in no cell.
/// known: the picture's codes [h, w] int64 where they are known (a decode, encoded anew, can get other ones);
/// undefined: it is encoded.
EditPlan plan_inpaint(Codec codec, const Picture& image, const PixelMask& mask, const RegionOptions& options = {},
                      const torch::Tensor& known = {});

/// All that `kept` does not cover is regenerated. Throws Error where nothing is left to regenerate, or where the kept
/// pixels hold no whole cell; `name` begins the message.
EditPlan plan_keep(Codec codec, const Picture& image, const PixelMask& kept, const RegionOptions& options = {},
                   std::string_view name = "image", const torch::Tensor& known = {});

struct Borders {
  int left = 0, right = 0, top = 0, bottom = 0;  // pixels beyond the picture
};
/// The picture with new surroundings. The feather reaches inwards from the old border.
EditPlan plan_outpaint(Codec codec, const Picture& image, const Borders& borders, const RegionOptions& options = {});

/// Largest picture that an edit makes.
inline constexpr std::int64_t kMaxEditSide = 65535;  // pixels
inline constexpr std::int64_t kMaxEditPixels = std::int64_t{1} << 28;
/// Throws UsageError unless a picture of this size can be made.
void require_edit_size(std::int64_t width, std::int64_t height);

}  // namespace tessera
