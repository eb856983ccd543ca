/// Pictures and the parts of them that an edit regenerates, as flags.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "canvas/edit_plan.h"

namespace tessera::cli {

/// Pixels of a picture that is edited as it is: most of them are only kept.
inline constexpr std::int64_t kMostEditedPixels = std::int64_t{1} << 25;
/// The same where every tile of it goes through the networks.
inline constexpr std::int64_t kMostCodedPixels = std::int64_t{1} << 22;

/// How pictures are read.
struct PictureFlags {
  std::string background;       // under transparent pixels; empty: white for the model, transparency is kept
  int size = 0;                 // pixels: scaled to this shorter side, the centre cut out square; 0: as it is
  bool whole = true;            // all of it goes through the networks, not only where it is changed
  std::int64_t max_pixels = 0;  // of a picture that is not scaled, which is not decoded beyond; 0: by `whole`

  std::int64_t most_pixels() const {
    return max_pixels > 0 ? max_pixels : whole ? kMostCodedPixels : kMostEditedPixels;
  }

  /// The picture of a file. Throws UsageError where the size is out of range, Error where the picture is too large.
  Picture read(const std::string& path) const;
};
/// --background, --size and --max-pixels.
void add_reading_flags(CLI::App& verb, PictureFlags& flags);
/// --max-pixels.
void add_max_pixels_flag(CLI::App& verb, std::int64_t& pixels);

struct RegionFlags {
  std::vector<std::string> images, masks, boxes, keep_masks, keep_boxes;
  PictureFlags reading;

  /// true: at least one of --mask, --box, --keep-mask, --keep-box.
  bool any() const { return !(masks.empty() && boxes.empty() && keep_masks.empty() && keep_boxes.empty()); }
};

/// -i/--image, --mask, --box, --keep-mask, --keep-box and how pictures are read.
void add_picture_flags(CLI::App& verb, RegionFlags& flags);

/// A picture and the pixels to regenerate; none where no region was given.
struct RegionOfPicture {
  std::string name;
  Picture image;
  std::optional<PixelMask> mask;
  std::vector<std::string> notes;
};

/// One mask for all pictures, a mask for each, or several masks for one picture; boxes go for all. A kept region is all
/// that is not regenerated. Throws UsageError where the numbers do not fit or both kinds are given.
std::vector<RegionOfPicture> read_regions(const RegionFlags& flags);

/// The plan of plan_inpaint with notes; errors name the picture. Where a region is kept, at least one cell must be.
EditPlan plan_region(Codec codec, const RegionOfPicture& region, const RegionFlags& flags,
                     const RegionOptions& options);

}  // namespace tessera::cli
