#include "canvas/edit_plan.h"

#include <algorithm>
#include <cmath>

#include "canvas/tiles.h"
#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera {
namespace {

int rounded_up(int value, int factor) {
  return (value + factor - 1) / factor * factor;
}

int feather_pixels(const RegionOptions& options, int factor) {
  if (options.sharp) return 0;
  return options.feather < 0 ? factor : options.feather;
}

/// Along one axis, the pixels that an edit of [low, high) sees: the codec's own size where the region leaves an eighth
/// of it on each side, else half of it more than the region; never more than there are. Out: first pixel and length.
std::pair<int, int> surroundings(int low, int high, int size, int own, int factor) {
  const int region = high - low;
  const int wanted = region + own / 4 <= own ? own : rounded_up(region + own / 2, factor);
  if (wanted >= size) return {0, size};
  const int start = std::clamp(low + region / 2 - wanted / 2, 0, size - wanted);
  // On a cell's corner of the whole picture where the region still fits, so that boxes along cells touch no others.
  const int aligned = start / factor * factor;
  return {aligned + wanted >= high ? aligned : start, wanted};
}

/// How much of an edit of `region` shows at each pixel; undefined: all of the decode.
torch::Tensor fading(const PixelMask& region, const RegionOptions& options, int factor) {
  if (options.sharp) return region.feathered(0);
  const int feather = feather_pixels(options, factor);
  return feather > 0 ? region.feathered(feather) : torch::Tensor();
}

void note_transparency(EditPlan& plan) {
  if (plan.base->has_transparency()) plan.notes.emplace_back(kTransparencyNote);
}

/// Lays a colour of opacity `share` over a pixel of an RGBA picture.
void lay_over(std::uint8_t* rgba, const std::uint8_t (&colour)[3], float share) {
  const float below = static_cast<float>(rgba[3]) / 255.F * (1 - share), alpha = share + below;
  for (int channel = 0; channel < 3; ++channel) {
    const float mixed = share * static_cast<float>(colour[channel]) + below * static_cast<float>(rgba[channel]);
    rgba[channel] = static_cast<std::uint8_t>(std::lround(mixed / alpha));
  }
  rgba[3] = static_cast<std::uint8_t>(std::lround(255 * alpha));
}

void require_grid_of(const torch::Tensor& codes, const Image& image, int factor) {
  const int height = rounded_up(image.height, factor) / factor, width = rounded_up(image.width, factor) / factor;
  require(codes.dim() == 2 && codes.size(0) == height && codes.size(1) == width,
          "tokens: a grid of {}x{} cells for a picture of {}x{} pixels, expected {}x{}", codes.size(-1), codes.size(0),
          image.width, image.height, width, height);
}

}  // namespace

void RegionOptions::validate() const {
  if (!(threshold >= 0 && threshold <= 1)) {
    throw UsageError(fmt::format("mask threshold is {}, expected 0 to 1", threshold));
  }
  if (feather < -1 || feather > 4096) {
    throw UsageError(fmt::format("feather is {}, expected 0 to 4096 pixels, or -1 for one cell", feather));
  }
  if (sharp && feather >= 0)
    throw UsageError(fmt::format("feather is {} beside sharp, which has none: expected one of them", feather));
}

void require_edit_size(std::int64_t width, std::int64_t height) {
  if (width >= 1 && height >= 1 && width <= kMaxEditSide && height <= kMaxEditSide &&
      width <= kMaxEditPixels / height) {
    return;
  }
  throw UsageError(fmt::format("a picture of {}x{} pixels: expected 1 to {} a side and at most {} in all", width,
                               height, kMaxEditSide, kMaxEditPixels));
}

TokenGrid grid_of(const std::vector<EditPlan>& plans) {
  require(!plans.empty(), "edit: no plans");
  std::vector<torch::Tensor> grids;
  for (const auto& plan : plans) {
    require(plan.extent() == plans.front().extent(), "edit: a grid of {}x{} cells among grids of {}x{}",
            plan.extent().w, plan.extent().h, plans.front().extent().w, plans.front().extent().h);
    grids.push_back(plan.codes);
  }
  return {torch::stack(grids), plans.front().codebook_size};
}

Image finish(const EditPlan& plan, const torch::Tensor& decoded) {
  const auto pixels = decoded.to(torch::kCPU).contiguous();
  require(pixels.dim() == 3 && pixels.size(0) == 3 && pixels.scalar_type() == torch::kUInt8 &&
              pixels.size(1) >= plan.offset_y + plan.area.height && pixels.size(2) >= plan.offset_x + plan.area.width,
          "edit: the decode does not cover the area of {}x{} pixels", plan.area.width, plan.area.height);
  Image result = *plan.base;
  const auto plane = pixels.size(1) * pixels.size(2);
  const auto* value = pixels.data_ptr<std::uint8_t>();
  const float* alpha = plan.alpha.defined() ? plan.alpha.data_ptr<float>() : nullptr;
  for (int y = 0; y < plan.area.height; ++y) {
    for (int x = 0; x < plan.area.width; ++x) {
      const float share = alpha ? alpha[std::int64_t{y} * plan.area.width + x] : 1;
      if (share <= 0) continue;
      auto* out = result.at(plan.area.x + x, plan.area.y + y);
      const auto* in = value + (y + plan.offset_y) * pixels.size(2) + x + plan.offset_x;
      for (int channel = 0; channel < 3; ++channel) {
        const float mixed = share * in[channel * plane] + (1 - share) * out[channel];
        out[channel] = share >= 1 ? in[channel * plane] : static_cast<std::uint8_t>(std::lround(mixed));
      }
      if (result.has_transparency()) {
        const std::uint8_t colour[3] = {in[0], in[plane], in[2 * plane]};
        lay_over(result.rgba_at(plan.area.x + x, plan.area.y + y), colour, share);
      }
    }
  }
  bool opaque = true;
  for (std::size_t i = 3; i < result.rgba.size() && opaque; i += 4) opaque = result.rgba[i] == 255;
  if (opaque) result.rgba.clear();
  return result;
}

Image mask_overlay(const EditPlan& plan, std::int64_t factor) {
  Image result = *plan.base;
  result.rgba.clear();  // the overlay is opaque
  const auto codes = plan.codes.contiguous();
  const auto* code = codes.data_ptr<std::int64_t>();
  constexpr std::uint8_t kTint[3] = {232, 32, 144};
  for (int y = 0; y < plan.area.height; ++y) {
    for (int x = 0; x < plan.area.width; ++x) {
      const auto row = (y + plan.offset_y) / factor, column = (x + plan.offset_x) / factor;
      const bool filled = code[row * codes.size(1) + column] == plan.codebook_size;
      const bool border = (y + plan.offset_y) % factor == 0 || (x + plan.offset_x) % factor == 0;
      auto* pixel = result.at(plan.area.x + x, plan.area.y + y);
      for (int channel = 0; channel < 3; ++channel) {
        int value = filled ? (pixel[channel] + 2 * kTint[channel]) / 3 : pixel[channel];
        if (border) value = value * 3 / 4;
        pixel[channel] = static_cast<std::uint8_t>(value);
      }
    }
  }
  return result;
}

Image extended(const Image& image, int left, int top, int width, int height) {
  Image result(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto* from = image.at(std::clamp(x - left, 0, image.width - 1), std::clamp(y - top, 0, image.height - 1));
      std::copy_n(from, 3, result.at(x, y));
    }
  }
  if (!image.has_transparency()) return result;
  result.rgba.resize(4 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto* from =
          image.rgba_at(std::clamp(x - left, 0, image.width - 1), std::clamp(y - top, 0, image.height - 1));
      std::copy_n(from, 4, result.rgba_at(x, y));
    }
  }
  return result;
}

torch::Tensor encode_picture(Codec codec, const Image& image) {
  const int factor = static_cast<int>(codec->options().factor());
  const int width = rounded_up(image.width, factor), height = rounded_up(image.height, factor);
  const bool whole = width == image.width && height == image.height;
  const auto pixels = to_tensor(whole ? image : extended(image, 0, 0, width, height));
  return encode_tiled(codec, pixels.unsqueeze(0)).codes()[0];
}

EditPlan plan_generate(Codec codec, int width, int height) {
  require_edit_size(width, height);
  const auto factor = codec->options().factor();
  EditPlan plan;
  plan.codebook_size = codec->options().codebook_size;
  plan.codes =
      torch::full({(height + factor - 1) / factor, (width + factor - 1) / factor}, plan.codebook_size, torch::kInt64);
  plan.base = std::make_shared<Image>(width, height, Colour{128, 128, 128});
  plan.area = {0, 0, width, height};
  return plan;
}

EditPlan plan_tokens(Codec codec, const torch::Tensor& codes, const Picture& base, const RegionOptions& options) {
  options.validate();
  require(codes.dim() == 2 && codes.numel() > 0, "tokens: expected a grid [h, w] of at least one cell");
  const int factor = static_cast<int>(codec->options().factor());
  require_edit_size(codes.size(1) * factor, codes.size(0) * factor);
  const auto width = static_cast<int>(codes.size(1)) * factor, height = static_cast<int>(codes.size(0)) * factor;
  EditPlan plan;
  plan.codebook_size = codec->options().codebook_size;
  plan.codes = TokenGrid(codes.unsqueeze(0), plan.codebook_size).codes()[0];  // checks the values
  plan.base = base ? base : std::make_shared<Image>(width, height, Colour{128, 128, 128});
  plan.area = {0, 0, plan.base->width, plan.base->height};
  if (!base) return plan;
  require_grid_of(codes, *base, factor);
  plan.original = encode_picture(codec, *base);
  note_transparency(plan);
  if (feather_pixels(options, factor) == 0 && !options.sharp) return plan;
  const auto differs = (plan.codes != plan.original).contiguous();
  PixelMask changed(base->width, base->height);
  for (int y = 0; y < base->height; ++y) {
    for (int x = 0; x < base->width; ++x) {
      if (differs.data_ptr<bool>()[y / factor * codes.size(1) + x / factor]) changed.add({x, y, 1, 1}, "cell");
    }
  }
  plan.alpha = fading(changed, options, factor);
  return plan;
}

EditPlan plan_reconstruct(Codec codec, const Picture& image) {
  require_edit_size(image->width, image->height);
  EditPlan plan;
  plan.codebook_size = codec->options().codebook_size;
  plan.original = encode_picture(codec, *image);
  plan.codes = plan.original.clone();
  plan.base = image;
  plan.area = {0, 0, image->width, image->height};
  return plan;
}

EditPlan plan_inpaint(Codec codec, const Picture& image, const PixelMask& mask, const RegionOptions& options,
                      const torch::Tensor& known) {
  options.validate();
  require(mask.width() == image->width && mask.height() == image->height, "mask: {}x{} pixels, expected {}x{}",
          mask.width(), mask.height(), image->width, image->height);
  const auto bounds = mask.bounds();
  require(bounds.width > 0, "mask: empty, expected at least one pixel to be regenerated");
  const auto& own = codec->options();
  const int factor = static_cast<int>(own.factor()), feather = feather_pixels(options, factor);
  const auto along = [&](int low, int length, int size) {
    return surroundings(std::max(0, low - feather), std::min(size, low + length + feather), size,
                        static_cast<int>(own.grid().h) * factor, factor);
  };
  const auto [x, width] = along(bounds.x, bounds.width, image->width);
  const auto [y, height] = along(bounds.y, bounds.height, image->height);
  EditPlan plan;
  plan.area = {x, y, width, height};
  plan.base = image;
  plan.codebook_size = own.codebook_size;
  const auto region = mask.cut(plan.area);
  const auto cells = region.cells(factor, options.threshold);
  require(cells.any().item<bool>(), "mask: no cell of {}x{} pixels reaches the threshold {}", factor, factor,
          options.threshold);
  if (known.defined()) {
    require_grid_of(known, *image, factor);
    require((known >= 0).all().item<bool>() && (known < own.codebook_size).all().item<bool>(),
            "tokens: codes from {} to {}, expected 0 to {}", known.min().item<std::int64_t>(),
            known.max().item<std::int64_t>(), own.codebook_size - 1);
  }
  // A part that does not begin on a cell's corner has cells of its own.
  if (known.defined() && x % factor == 0 && y % factor == 0) {
    plan.original = known.narrow(0, y / factor, cells.size(0)).narrow(1, x / factor, cells.size(1)).contiguous();
  } else {
    plan.original = encode_picture(codec, crop(*image, x, y, width, height));
  }
  plan.codes = plan.original.masked_fill(cells, own.codebook_size);
  plan.alpha = fading(region, options, factor);
  note_transparency(plan);
  if (width < image->width || height < image->height) {
    plan.notes.push_back(
        fmt::format("edits {}x{} pixels at {},{} of {}x{}", width, height, x, y, image->width, image->height));
  }
  return plan;
}

EditPlan plan_keep(Codec codec, const Picture& image, const PixelMask& kept, const RegionOptions& options,
                   std::string_view name, const torch::Tensor& known) {
  const auto changed = kept.inverted();
  require(changed.count() > 0, "{}: all of it is kept, nothing to regenerate", name);
  auto plan = plan_inpaint(codec, image, changed, options, known);
  const auto factor = codec->options().factor();
  require((plan.codes != plan.codebook_size).any().item<bool>(),
          "{}: the kept region holds no whole cell of {}x{} pixels", name, factor, factor);
  return plan;
}

EditPlan plan_outpaint(Codec codec, const Picture& image, const Borders& borders, const RegionOptions& options) {
  options.validate();
  const auto& [left, right, top, bottom] = borders;
  if (left < 0 || right < 0 || top < 0 || bottom < 0 || left + right + top + bottom == 0) {
    throw UsageError("outpaint: expected at least one of left, right, top, bottom above 0 pixels and none below");
  }
  const auto width = std::int64_t{image->width} + left + right, height = std::int64_t{image->height} + top + bottom;
  require_edit_size(width, height);
  const int factor = static_cast<int>(codec->options().factor());
  require(image->width >= factor && image->height >= factor,
          "outpaint: a picture of {}x{} pixels, expected at least {}x{}", image->width, image->height, factor, factor);
  EditPlan plan;
  plan.codebook_size = codec->options().codebook_size;
  plan.area = {0, 0, static_cast<int>(width), static_cast<int>(height)};
  plan.base = std::make_shared<Image>(extended(*image, left, top, plan.area.width, plan.area.height));
  // The old picture begins at a cell's corner: borders are rounded up to whole cells and what is too much is not shown.
  const int cells_left = (left + factor - 1) / factor, cells_top = (top + factor - 1) / factor;
  plan.offset_x = cells_left * factor - left;
  plan.offset_y = cells_top * factor - top;
  plan.codes =
      torch::full({(plan.offset_y + height + factor - 1) / factor, (plan.offset_x + width + factor - 1) / factor},
                  plan.codebook_size, torch::kInt64);
  // A cell that the picture covers in part is kept only where nothing is added on that side.
  const auto old = encode_picture(codec, *image);
  const auto rows = bottom > 0 ? image->height / factor : old.size(0);
  const auto columns = right > 0 ? image->width / factor : old.size(1);
  plan.codes.narrow(0, cells_top, rows)
      .narrow(1, cells_left, columns)
      .copy_(old.narrow(0, 0, rows).narrow(1, 0, columns));
  note_transparency(plan);
  if (feather_pixels(options, factor) == 0 && !options.sharp) return plan;
  PixelMask inside(plan.area.width, plan.area.height);
  inside.add({left, top, image->width, image->height}, "picture");
  plan.alpha = fading(inside.inverted(), options, factor);
  return plan;
}

}  // namespace tessera
