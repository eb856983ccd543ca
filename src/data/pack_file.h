/// `.tessera-pack`: a decoded data set in one file. A safetensors container with
///   images  U8 [n, 3, S, S]
///   labels  I64 [n]            index into class_names, -1: none
///   records U8 [bytes]         JSON lines, one an image: file_name, text (a list where there are several), further
///   fields
/// and, in its metadata, format, version, key, source (a hash), class_names, skipped, skipped_count, splits (yes: the
/// field 'split' names each image's part), account (of the source's files).
#pragma once

#include <filesystem>
#include <string>

#include "data/dataset.h"

namespace tessera {

inline constexpr int kPackVersion = 1;

/// Fills in `content.key`: SHA-256 over sizes, pixels, labels, records and class names.
void compute_key(DatasetContent& content);

/// In: source, the hash of what the pack was made from; empty: none. Written atomically.
void write_pack(const std::filesystem::path& path, const DatasetContent& content, const std::string& source);

/// Maps the images from the file (copy on write), reads the rest. Needs no libvips. Out: in `source`, what write_pack
/// got. Throws Error naming the file and the broken field.
DatasetContent read_pack(const std::filesystem::path& path, std::string* source = nullptr);

}  // namespace tessera
