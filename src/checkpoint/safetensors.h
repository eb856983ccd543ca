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

/// Reads every tensor of the file (memory-mapped, copied on write). Throws Error naming the file and the broken field.
TensorMap load_safetensors(const std::filesystem::path& path, Metadata* metadata = nullptr);

/// Writes atomically. Tensors are stored contiguous, on the CPU, in name order.
void save_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata = {});

}  // namespace tessera
