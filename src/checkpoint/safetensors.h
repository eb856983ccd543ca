/// Safetensors files: 8-byte little-endian header length, JSON header, raw row-major tensors.
/// Format: github.com/huggingface/safetensors. Types: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>

namespace tessera {

using TensorMap = std::map<std::string, torch::Tensor>;
using Metadata = std::map<std::string, std::string>;

/// Reads every tensor: over the mapped file, writable (copied on write, the file stays as it is), kept alive by the
/// tensors; copied only where the file's alignment does not suit the type. Throws Error naming the file, the tensor and
/// the broken field. Tensors must cover the data without gap or overlap, and no name may occur twice. A file that has a
/// checksum is read through and compared with it.
TensorMap load_safetensors(const std::filesystem::path& path, Metadata* metadata = nullptr);

/// Writes atomically. Tensors are stored contiguous, from the CPU, the widest types first and then by name. The
/// header's metadata get a field `tessera.sha256`, of all other bytes of the file, which load_safetensors checks and
/// leaves out.
void save_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata = {});

}  // namespace tessera
