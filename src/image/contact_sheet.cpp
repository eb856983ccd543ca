#include "image/contact_sheet.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/error.h"

namespace tessera {

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
    for (int y = 0; y < height; ++y) {
      std::memcpy(sheet.at(left, top + y), images[i].at(0, y), 3 * static_cast<std::size_t>(width));
    }
  }
  return sheet;
}

}  // namespace tessera
