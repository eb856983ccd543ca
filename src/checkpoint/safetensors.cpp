#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_header.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/foreign_bytes.h"
#include "runtime/mapped_file.h"

namespace tessera {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 16 << 20;

/// Numbers of 8 bits as float32, which holds them exactly.
torch::Tensor widened(const SafetensorsEntry& entry, const char* data) {
  auto tensor = torch::empty(entry.shape, torch::kFloat32);
  auto* out = tensor.data_ptr<float>();
  for (std::uint64_t i = 0; i < entry.end - entry.begin; ++i)
    out[i] = float8_value(static_cast<unsigned char>(data[i]), entry.float8);
  return tensor;
}

/// The entry's tensor: over the file where its address suits the type, else a copy.
torch::Tensor tensor_of(const SafetensorsEntry& entry, const std::shared_ptr<MappedFile>& file,
                        std::uint64_t data_start, const std::string& where) {
  if (entry.begin == entry.end) return torch::empty(entry.shape, entry.type);
  char* data = file->data() + data_start + entry.begin;
  if (entry.float8 != Float8::none) return widened(entry, data);
  if (entry.type == torch::kBool) {
    const auto odd = std::any_of(data, data + (entry.end - entry.begin), [](char c) { return c != 0 && c != 1; });
    require(!odd, "{}: tensor '{}' holds bytes that are neither true nor false", where, entry.name);
  }
  if (reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(entry.type) == 0) {
    return torch::from_blob(
        data, entry.shape, [file](void*) {}, torch::TensorOptions().dtype(entry.type));
  }
  auto copy = torch::empty(entry.shape, entry.type);
  std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
  return copy;
}

}  // namespace

TensorMap load_safetensors(const std::filesystem::path& path, Metadata* metadata) {
  const auto file = MappedFile::open(path);
  const auto where = path.string();
  require(file->size() >= kLengthBytes, "{}: {} bytes, expected a safetensors header", where, file->size());
  const auto other = foreign_bytes(file->bytes().substr(0, 512));
  require(other.empty(), "{}: {}", where, other);
  std::uint64_t length = 0;
  std::memcpy(&length, file->data(), kLengthBytes);
  require(length > kMaxHeaderBytes || length <= file->size() - kLengthBytes,
          "{}: cut off: a header of {} bytes in a file of {}", where, length, file->size());
  require(length <= file->size() - kLengthBytes, "{}: a header of {} bytes in a file of {}", where, length,
          file->size());
  require(length <= kMaxHeaderBytes, "{}: a header of {} bytes, expected at most {}", where, length, kMaxHeaderBytes);
  const auto data_start = kLengthBytes + length;
  if (metadata) metadata->clear();
  TensorMap tensors;
  for (const auto& entry : parse_safetensors_header(file->bytes().substr(kLengthBytes, length),
                                                    file->size() - data_start, where, metadata)) {
    tensors.emplace(entry.name, tensor_of(entry, file, data_start, where));
  }
  return tensors;
}

void save_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata) {
  // The widest types first: then every tensor's bytes begin at a multiple of its element's size, and can be mapped.
  std::vector<TensorMap::const_iterator> order;
  for (auto entry = tensors.begin(); entry != tensors.end(); ++entry) order.push_back(entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a->second.element_size() > b->second.element_size(); });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const auto& entry : order) {
    const auto& [name, tensor] = *entry;
    require(name != "__metadata__", "{}: no tensor may be called __metadata__", path.string());
    const auto bytes = static_cast<std::uint64_t>(tensor.numel()) * tensor.element_size();
    header[name] = {{"dtype", safetensors_type_name(tensor.scalar_type(), path.string())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    fail("{}: cannot be written: a name in it is no UTF-8", path.string());
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  require(length <= kMaxHeaderBytes, "{}: a header of {} bytes, expected at most {}", path.string(), length,
          kMaxHeaderBytes);
  AtomicFile file(path);
  file.write(&length, kLengthBytes);
  file.write(text);
  for (const auto& entry : order) {
    const auto stored = entry->second.detach().to(torch::kCPU).contiguous();
    if (stored.numel() > 0) file.write(stored.data_ptr(), stored.nbytes());
  }
  file.commit();
}

}  // namespace tessera
