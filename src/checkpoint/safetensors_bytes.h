/// Safetensors that lie in memory: weights inside the program.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/safetensors.h"

namespace tessera {

/// Every tensor, copied out of the bytes. Throws Error beginning with `where`, as load_safetensors does.
TensorMap safetensors_of(std::string_view bytes, const std::string& where, Metadata* metadata = nullptr);

/// Compares a file's bytes with the checksum in its header, where it has one. Throws Error beginning with `where`.
void verify_safetensors(std::string_view bytes, const std::string& where);

}  // namespace tessera
