/// Image files through libvips: PNG, JPEG, WebP, TIFF, the first frame of a GIF and, where there is a loader, HEIC and
/// AVIF in, PNG out.
/// Files are untrusted: the format is told by its first bytes, sizes are checked before pixels are decoded.
/// Without TESSERA_WITH_VIPS reading, resizing and writing throw one Error that says so; text chunks still work.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "image/image.h"

namespace tessera {

struct ReadOptions {
  Colour background;                                        // transparent pixels are composited on this
  std::int64_t max_pixels = std::int64_t{1} << 26;          // width * height; larger pictures are an Error
  std::uint64_t max_file_bytes = std::uint64_t{256} << 20;  // of the compressed file
  bool keep_alpha = false;                                  // fill in Image::rgba where a pixel is not opaque
};

/// true if this build can decode and encode images.
bool image_files_supported();
/// Whether files of this ending (lower case, no dot) are pictures: "png", "bmp" ...
bool is_picture_ending(std::string_view ending);
/// Whether this build reads them. PNG, JPEG, WebP, TIFF and GIF always; HEIC and AVIF where libvips has a loader for
/// them that is safe with files of strangers.
bool reads_picture_ending(std::string_view ending);

/// The picture in a file's bytes as 8-bit sRGB: turned upright (EXIF), colour-managed, transparency composited.
/// In: name, for messages. Throws Error on an unknown format, a truncated or broken file, or too many pixels.
Image read_image(std::span<const std::uint8_t> bytes, std::string_view name, const ReadOptions& options = {});
Image read_image(const std::filesystem::path& path, const ReadOptions& options = {});

/// Width and height in pixels as the file's header says, before it is turned upright; no pixel is decoded. Errors as
/// read_image's.
std::pair<int, int> read_image_size(std::span<const std::uint8_t> bytes, std::string_view name);

/// Lanczos-3, anti-aliased, aspect ratio not kept; transparency is resized along. In: sizes in pixels, at least 1.
Image resize_exact(const Image& image, int width, int height);
/// The shorter side becomes `size` pixels, then the centre [size, size] is cut out.
Image resize_and_crop(const Image& image, int size);
/// The part of the picture from (left, top). Throws Error where it leaves the picture.
Image crop(const Image& image, int left, int top, int width, int height);

/// Text stored in a PNG, by keyword (1 to 79 printable ASCII characters). Values are UTF-8.
using PngText = std::map<std::string, std::string>;

/// A PNG file's bytes: zlib level 6, adaptive filters, text as tEXt (ASCII) or iTXt (other UTF-8) chunks. With
/// Image::rgba the file has transparency; so has a WebP, a JPEG has the composited pixels.
std::string encode_png(const Image& image, const PngText& text = {});
/// A picture's bytes as "png", "webp" (lossless) or "jpeg" (quality 92). Another name throws Error and lists these.
std::string encode_image(const Image& image, std::string_view format, const PngText& text = {});
/// Writes atomically.
void write_png(const std::filesystem::path& path, const Image& image, const PngText& text = {});

/// The uncompressed tEXt and iTXt chunks of a PNG. Reads no pixels and needs no libvips.
/// Throws Error where the file is not a PNG or a chunk is broken (length, checksum).
PngText read_png_text(std::string_view bytes, std::string_view name);
PngText read_png_text(const std::filesystem::path& path);
/// The same PNG with text chunks put behind its header.
std::string with_png_text(std::string_view png, const PngText& text);

}  // namespace tessera
