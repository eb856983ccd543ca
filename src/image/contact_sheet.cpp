#include "image/contact_sheet.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// Copies `image` to (left, top) of `sheet`, which must have room for it.
void paste(const Image& image, int left, int top, Image& sheet) {
  for (int y = 0; y < image.height; ++y) {
    std::memcpy(sheet.at(left, top + y), image.at(0, y), 3 * static_cast<std::size_t>(image.width));
  }
}

}  // namespace

bool is_contact_sheet(std::string_view bytes) {
  try {
    return read_png_text(bytes, "").contains(kContactSheetKey);
  } catch (const Error&) {
    return false;  // no PNG, or a broken one
  }
}

Image contact_sheet(const std::vector<Image>& images, const ContactSheetOptions& options) {
  require(!images.empty(), "contact sheet: no images");
  require(options.columns >= 0 && options.padding >= 0,
          "contact sheet: {} columns, padding {}, expected neither below 0", options.columns, options.padding);
  const int count = static_cast<int>(images.size());
  const int wanted = options.columns > 0 ? options.columns : static_cast<int>(std::ceil(std::sqrt(count)));
  const int columns = std::min(wanted, count);
  const int rows = (count + columns - 1) / columns;
  const int width = images.front().width;
  const int height = images.front().height;
  const std::int64_t sheet_width = std::int64_t{columns} * (width + options.padding) + options.padding;
  const std::int64_t sheet_height = std::int64_t{rows} * (height + options.padding) + options.padding;
  constexpr std::int64_t kMaxSide = 65535;  // beyond that viewers give up
  require(sheet_width <= kMaxSide && sheet_height <= kMaxSide,
          "contact sheet: {}x{} pixels, expected at most {} a side", sheet_width, sheet_height, kMaxSide);
  Image sheet(static_cast<int>(sheet_width), static_cast<int>(sheet_height), options.background);
  for (int i = 0; i < count; ++i) {
    require(images[i].width == width && images[i].height == height, "contact sheet: image {} is {}x{}, expected {}x{}",
            i, images[i].width, images[i].height, width, height);
    const int left = options.padding + i % columns * (width + options.padding);
    const int top = options.padding + i / columns * (height + options.padding);
    paste(images[i], left, top, sheet);
  }
  return sheet;
}

Image group_sheet(const std::vector<std::vector<Image>>& groups, int columns) {
  require(!groups.empty() && groups.front().size() >= 2, "group sheet: expected groups of two pictures or more");
  const auto& first = groups.front().front();
  const int gap = std::max(4, first.width / 4);
  std::vector<Image> strips;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    const auto& images = groups[group];
    require(images.size() == groups.front().size(), "group sheet: group {} has {} pictures, expected {}", group,
            images.size(), groups.front().size());
    const Image others =
        contact_sheet({images.begin() + 1, images.end()}, {static_cast<int>(images.size()) - 1, 2, {}});
    require(images.front().width == images[1].width && images.front().height == images[1].height,
            "group sheet: group {} mixes pictures of {}x{} and {}x{}", group, images.front().width,
            images.front().height, images[1].width, images[1].height);
    Image strip(images.front().width + gap + others.width, others.height);
    paste(images.front(), 0, 2, strip);
    paste(others, images.front().width + gap, 0, strip);
    strips.push_back(std::move(strip));
  }
  return contact_sheet(strips, {columns, std::max(8, first.width / 2), {}});
}

}  // namespace tessera
