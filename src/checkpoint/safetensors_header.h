/// The JSON header of a safetensors file, read as a stream so that no header makes us build more than its own entries.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace tessera {

/// Numbers of 8 bits: 4 of exponent and 3 of mantissa without infinities (OCP 8-bit floating point, E4M3), or 5 and 2
/// (E5M2, a half cut short). They are read as float16, which holds all of them exactly.
enum class Float8 { none, e4m3, e5m2 };
float float8_value(unsigned char bits, Float8 format);

/// One tensor of a header: its bytes are [begin, end) of the data.
struct SafetensorsEntry {
  std::string name;
  torch::ScalarType type = torch::kFloat32;
  Float8 float8 = Float8::none;  // what is stored, where `type` is what it is read as
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// The entries by where their bytes begin. Ensured: types are known, shapes and offsets agree, and the tensors cover
/// the data_bytes after the header without gap or overlap. Throws Error beginning with `where` and naming tensor and
/// field.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view header, std::uint64_t data_bytes,
                                                       const std::string& where, Metadata* metadata);

/// The same of a file, with the checks of load_safetensors, but no tensor is made.
std::vector<SafetensorsEntry> read_safetensors_entries(const std::filesystem::path& path, Metadata* metadata = nullptr);

/// "F32" and the like; an Error for types that the format has no name for.
const char* safetensors_type_name(torch::ScalarType type, const std::string& where);

}  // namespace tessera
