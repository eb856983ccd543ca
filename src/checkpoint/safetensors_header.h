/// The JSON header of a safetensors file, read as a stream so that no header makes us build more than its own entries.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace tessera {

/// One tensor of a header: its bytes are [begin, end) of the data.
struct SafetensorsEntry {
  std::string name;
  torch::ScalarType type = torch::kFloat32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// The entries by where their bytes begin. Ensured: types are known, shapes and offsets agree, and the tensors cover
/// the data_bytes after the header without gap or overlap. Throws Error beginning with `where` and naming tensor and
/// field.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view header, std::uint64_t data_bytes,
                                                       const std::string& where, Metadata* metadata);

/// "F32" and the like; an Error for types that the format has no name for.
const char* safetensors_type_name(torch::ScalarType type, const std::string& where);

}  // namespace tessera
