#include "library/images.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "image/image_io.h"
#include "image/record_text.h"
#include "library/boundary.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "tokens/token_list.h"

std::int64_t tessera_images::count() const {
  return static_cast<std::int64_t>(std::max(images.size(), grids.size()));
}

namespace tessera::library {
namespace {

constexpr std::int64_t kMostCells = std::int64_t{1} << 24;

/// A pixel as Image holds it: composited on white, rounded as libvips rounds what it reads from a file.
void composite(const std::uint8_t* rgba, std::uint8_t* rgb) {
  for (int c = 0; c < 3; ++c) rgb[c] = static_cast<std::uint8_t>((rgba[c] * rgba[3] + 255 * (255 - rgba[3])) / 255);
}

}  // namespace

Image to_image(const tessera_image_view& view, const char* what) {
  const bool sized = view.width >= 1 && view.height >= 1 && view.width <= kMaxEditSide && view.height <= kMaxEditSide;
  if (!sized || (view.channels != 1 && view.channels != 3 && view.channels != 4)) {
    throw UsageError(fmt::format("{}: {}x{} pixels of {} channels, expected 1 to {} a side and 1, 3 or 4 channels",
                                 what, view.width, view.height, view.channels, kMaxEditSide));
  }
  require_given(view.pixels, what);
  const auto row_bytes = static_cast<std::size_t>(view.width) * static_cast<std::size_t>(view.channels);
  const auto stride = view.stride == 0 ? row_bytes : view.stride;
  if (stride < row_bytes) {
    throw UsageError(fmt::format("{}: a stride of {} bytes, expected {} or more", what, stride, row_bytes));
  }
  Image image(view.width, view.height);
  bool opaque = true;
  if (view.channels == 4) image.rgba.resize(row_bytes * static_cast<std::size_t>(view.height));
  for (int y = 0; y < view.height; ++y) {
    const auto* from = view.pixels + static_cast<std::size_t>(y) * stride;
    auto* to = image.at(0, y);
    if (view.channels == 3) {
      std::memcpy(to, from, row_bytes);
    } else if (view.channels == 1) {
      for (int x = 0; x < view.width; ++x) std::fill_n(to + 3 * x, 3, from[x]);
    } else {
      std::memcpy(image.rgba_at(0, y), from, row_bytes);
      for (int x = 0; x < view.width; ++x) {
        composite(from + 4 * x, to + 3 * x);
        opaque = opaque && from[4 * x + 3] == 255;
      }
    }
  }
  if (opaque) image.rgba.clear();
  return image;
}

Picture to_picture(const tessera_image_view* view, const char* what) {
  require_given(view, what);
  return std::make_shared<const Image>(to_image(*view, what));
}

tessera_image_view view_of(const Image& image) {
  const bool transparent = image.has_transparency();
  return {image.width, image.height, transparent ? 4 : 3, 0, transparent ? image.rgba.data() : image.pixels.data()};
}

torch::Tensor to_codes(const tessera_grid_view& grid, std::int64_t codebook_size) {
  if (grid.height < 1 || grid.width < 1 || grid.height > kMostCells / grid.width) {
    throw UsageError(fmt::format("grid: {}x{} cells, expected at least 1 a side, at most {} in all", grid.height,
                                 grid.width, kMostCells));
  }
  require_given(grid.tokens, "grid");
  const std::span<const std::int32_t> tokens(grid.tokens, static_cast<std::size_t>(grid.height * grid.width));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < -1 || tokens[i] >= codebook_size) {
      const auto cell = static_cast<std::int64_t>(i);
      throw UsageError(fmt::format("grid: token {} at cell ({}, {}), expected 0 to {}, or -1 for MASK", tokens[i],
                                   cell / grid.width, cell % grid.width, codebook_size - 1));
    }
  }
  return tessera::to_codes(tokens, grid.height, grid.width, codebook_size);
}

tessera_images::Grid to_grid(const torch::Tensor& codes, std::int64_t codebook_size) {
  return {codes.size(0), codes.size(1), from_codes(codes, codebook_size)};
}

}  // namespace tessera::library

using tessera::library::guarded;
using tessera::library::require_given;

extern "C" {

void tessera_images_free(tessera_images* images) {
  delete images;
}

int64_t tessera_images_count(const tessera_images* images) {
  return images == nullptr ? 0 : images->count();
}

tessera_image_view tessera_images_image(const tessera_images* images, int64_t i) {
  if (images == nullptr || i < 0 || i >= static_cast<std::int64_t>(images->images.size())) return {0, 0, 0, 0, nullptr};
  return tessera::library::view_of(images->images[static_cast<std::size_t>(i)]);
}

tessera_grid_view tessera_images_tokens(const tessera_images* images, int64_t i) {
  if (images == nullptr || i < 0 || i >= static_cast<std::int64_t>(images->grids.size())) return {0, 0, nullptr};
  const auto& grid = images->grids[static_cast<std::size_t>(i)];
  return {grid.height, grid.width, grid.tokens.data()};
}

const char* tessera_images_record(const tessera_images* images) {
  return images == nullptr ? "{}" : images->record.c_str();
}

tessera_status tessera_image_read(const char* path, tessera_images** out) {
  if (out != nullptr) *out = nullptr;
  return guarded([&] {
    require_given(path, "path");
    require_given(out, "out");
    tessera::ReadOptions options;
    options.keep_alpha = true;
    auto read = std::make_unique<tessera_images>();
    read->images.push_back(tessera::read_image(path, options));
    *out = read.release();
  });
}

tessera_status tessera_image_write(const char* path, const tessera_image_view* image, const char* record) {
  return guarded([&] {
    require_given(path, "path");
    require_given(image, "image");
    const std::filesystem::path file = path;
    auto ending = file.extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
    if (ending == ".jpg") ending = ".jpeg";
    if (ending.size() < 2)
      throw tessera::UsageError(fmt::format("{}: expected a name that ends in .png, .webp or .jpg", path));
    tessera::PngText text;
    if (record != nullptr && *record != '\0') {
      text = tessera::record_text(tessera::read_json_object(record, "record").dump());
    }
    tessera::write_file_atomically(
        file, tessera::encode_image(tessera::library::to_image(*image, "image"), ending.substr(1), text));
  });
}

}  // extern "C"
