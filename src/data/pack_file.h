/// `.tessera-pack`: a decoded data set in one file. A safetensors container with
///   images  U8 [n, 3, S, S]
///   labels  I64 [n]            index into class_names, -1: none
///   image_checks I64 [blocks]  a checksum for each MiB of images (data/block_checks.h); packs of earlier versions have
///                              none
///   records U8 [bytes]         JSON lines, one an image: file_name, text (a list where there are several), further
///   fields
/// and, in its metadata, format, version, key, source (a hash), class_names, skipped, skipped_count, splits (yes: the
/// field 'split' names each image's part), account (of the source's files), shard (of a part of a source: "I/N").
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/dataset.h"

namespace tessera {

inline constexpr int kPackVersion = 1;
inline constexpr const char* kPackEnding = ".tessera-pack";

/// Whether a path is a pack's, by its ending.
inline bool is_pack(const std::filesystem::path& path) {
  return path.extension() == kPackEnding;
}

/// Fills in `content.key`: SHA-256 over sizes, pixels, labels, records and class names.
void compute_key(DatasetContent& content);

/// In: source, the hash of what the pack was made from; empty: none. Written atomically.
void write_pack(const std::filesystem::path& path, const DatasetContent& content, const std::string& source);

/// Packs up to this size are compared with their checksum when they are opened, so that what is wrong is said at once.
inline constexpr std::uint64_t kReadThrough = std::uint64_t{64} << 20;

/// Maps the images from the file (copy on write), reads the rest. Needs no libvips. Out: in `source`, what write_pack
/// got. read_through: of a larger pack the images' blocks are compared with their checksums when they are used (all
/// else here); one of an earlier version, without checksums of blocks, is read through up to 4 GiB. Throws Error naming
/// the file and the broken field.
DatasetContent read_pack(const std::filesystem::path& path, std::string* source = nullptr,
                         std::uint64_t read_through = kReadThrough);

}  // namespace tessera
