#include "cli/region_flags.h"

#include "cli/picture_files.h"
#include "runtime/error.h"

namespace tessera::cli {

void add_picture_flags(CLI::App& verb, RegionFlags& flags) {
  verb.add_option("-i,--image", flags.images, "picture (-: standard input); repeatable")->required();
  verb.add_option("--mask", flags.masks,
                  "picture whose white pixels are regenerated (where it has transparency: its opaque ones); one for "
                  "all, or one for "
                  "each --image; repeatable");
  verb.add_option("--box", flags.boxes, "x,y,w,h in pixels to regenerate; repeatable");
  verb.add_option("--keep-mask", flags.keep_masks,
                  "picture whose white (or opaque) pixels are kept, all else is regenerated; repeatable");
  verb.add_option("--keep-box", flags.keep_boxes, "x,y,w,h in pixels to keep; repeatable");
  add_reading_flags(verb, flags.reading);
}

void add_reading_flags(CLI::App& verb, PictureFlags& flags) {
  verb.add_option("--background", flags.background,
                  "colour under transparent pixels, in the result too; without it the transparency is kept, and the "
                  "model sees white there");
  verb.add_option("--size", flags.size,
                  "scale pictures to this shorter side and cut out the centre first; 0: as they are")
      ->capture_default_str();
  add_max_pixels_flag(verb, flags.max_pixels);
}

void add_max_pixels_flag(CLI::App& verb, std::int64_t& pixels) {
  verb.add_option(
          "--max-pixels", pixels,
          "of a picture that is taken as it is, more is refused undecoded; 0: 4194304 where all of it goes through "
          "the networks, else 33554432")
      ->check(CLI::Range(std::int64_t{0}, ReadOptions{}.max_pixels))
      ->capture_default_str();
}

Picture PictureFlags::read(const std::string& path) const {
  if (size < 0 || size > kMaxEditSide)
    throw UsageError(fmt::format("--size {}: expected 1 to {} pixels, or 0", size, kMaxEditSide));
  ReadOptions options;
  options.background = parse_colour(background.empty() ? "#ffffff" : background);
  options.keep_alpha = background.empty();
  if (size == 0) options.max_pixels = most_pixels();
  auto image = read_picture(path, options);
  return std::make_shared<Image>(size > 0 ? resize_and_crop(image, size) : std::move(image));
}

std::vector<RegionOfPicture> read_regions(const RegionFlags& flags) {
  const bool keep = !flags.keep_masks.empty() || !flags.keep_boxes.empty();
  if (keep && !(flags.masks.empty() && flags.boxes.empty())) {
    throw UsageError("--keep-mask and --keep-box say what stays, --mask and --box what goes: expected one kind");
  }
  const auto& masks = keep ? flags.keep_masks : flags.masks;
  const auto& boxes = keep ? flags.keep_boxes : flags.boxes;
  const char* box_flag = keep ? "--keep-box" : "--box";
  const auto images = flags.images.size(), count = std::max(images, masks.size());
  if (images != count && images != 1) {
    throw UsageError(fmt::format("{} masks for {} pictures: expected one for all, one for each, or one picture",
                                 masks.size(), images));
  }
  if (masks.size() > 1 && masks.size() != count) {
    throw UsageError(
        fmt::format("{} masks for {} pictures: expected one for all or one for each", masks.size(), images));
  }
  std::vector<PixelBox> parsed;
  for (const auto& box : boxes) parsed.push_back(parse_pixel_box(box, box_flag));
  auto reading = flags.reading;
  reading.whole = keep || !flags.any();
  PictureFlags masks_as;  // they are fitted to the picture, however large both are in their files
  masks_as.max_pixels = flags.reading.size > 0 ? ReadOptions{}.max_pixels : reading.most_pixels();
  std::vector<RegionOfPicture> result;
  for (std::size_t i = 0; i < count; ++i) {
    RegionOfPicture region;
    region.name = flags.images[images == 1 ? 0 : i];
    region.image = images == 1 && i > 0 ? result[0].image : reading.read(region.name);
    if (flags.any()) {
      const int width = region.image->width, height = region.image->height;
      PixelMask mask(width, height);
      if (!masks.empty()) {
        const auto& file = masks[masks.size() == 1 ? 0 : i];
        mask.add(PixelMask::from_image(*masks_as.read(file), file, width, height, region.notes));
      }
      for (const auto& box : parsed) mask.add(box, box_flag);
      region.mask = keep ? mask.inverted() : mask;
    }
    result.push_back(std::move(region));
  }
  return result;
}

EditPlan plan_region(Codec codec, const RegionOfPicture& region, const RegionFlags& flags,
                     const RegionOptions& options) {
  const bool keep = !flags.keep_masks.empty() || !flags.keep_boxes.empty();
  auto plan = keep ? plan_keep(codec, region.image, region.mask->inverted(), options, region.name)
                   : plan_inpaint(codec, region.image, *region.mask, options);
  plan.notes.insert(plan.notes.begin(), region.notes.begin(), region.notes.end());
  return plan;
}

}  // namespace tessera::cli
