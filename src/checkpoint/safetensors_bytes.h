/// Safetensors that lie in memory: weights inside the program.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "checkpoint/safetensors.h"

namespace tessera {

/// Every tensor, copied out of the bytes. Throws Error beginning with `where`, as load_safetensors does.
TensorMap safetensors_of(std::string_view bytes, const std::string& where, Metadata* metadata = nullptr);

/// save_safetensors for a tensor that has checks of its own: a second checksum is of all but its bytes, for readers
/// that use only parts of it (verify_safetensors_but).
void save_safetensors_apart(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata,
                            const std::string& apart);

/// Compares a file's bytes with the checksum in its header, where it has one. Throws Error beginning with `where`.
void verify_safetensors(std::string_view bytes, const std::string& where);

/// The same of all but the bytes [begin, end) of the file. false: it has no such checksum.
bool verify_safetensors_but(std::string_view bytes, std::uint64_t begin, std::uint64_t end, const std::string& where);

}  // namespace tessera
