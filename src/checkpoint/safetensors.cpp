#include "checkpoint/safetensors.h"

#include <nlohmann/json.hpp>

#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

struct TypeName {
  const char* name;
  torch::ScalarType type;
};

constexpr TypeName kTypes[] = {{"F64", torch::kFloat64},   {"F32", torch::kFloat32}, {"F16", torch::kFloat16},
                               {"BF16", torch::kBFloat16}, {"I64", torch::kInt64},   {"I32", torch::kInt32},
                               {"I16", torch::kInt16},     {"I8", torch::kInt8},     {"U8", torch::kUInt8},
                               {"BOOL", torch::kBool}};

torch::ScalarType type_of(const std::string& name, const std::string& where) {
  for (const auto& entry : kTypes) {
    if (name == entry.name) return entry.type;
  }
  fail("{}: type '{}', expected one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL", where, name);
}

const char* name_of(torch::ScalarType type, const std::string& where) {
  for (const auto& entry : kTypes) {
    if (type == entry.type) return entry.name;
  }
  fail("{}: tensors of type {} cannot be stored", where, c10::toString(type));
}

}  // namespace

TensorMap load_safetensors(const std::filesystem::path& path, Metadata* metadata) {
  const std::string bytes = read_file(path, std::uint64_t{1} << 36);
  require(bytes.size() >= 8, "{}: {} bytes, expected a safetensors header", path.string(), bytes.size());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  require(length <= bytes.size() - 8, "{}: header of {} bytes in a file of {}", path.string(), length, bytes.size());
  const auto header =
      nlohmann::json::parse(bytes.begin() + 8, bytes.begin() + 8 + static_cast<std::ptrdiff_t>(length), nullptr, false);
  require(header.is_object(), "{}: the header is not a JSON object", path.string());
  const std::uint64_t data_bytes = bytes.size() - 8 - length;
  TensorMap tensors;
  for (const auto& [name, entry] : header.items()) {
    const auto where = fmt::format("{}: tensor '{}'", path.string(), name);
    try {
      if (name == "__metadata__") {
        if (metadata) *metadata = entry.get<Metadata>();
        continue;
      }
      const auto type = type_of(entry.at("dtype").get<std::string>(), where);
      const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
      const auto offsets = entry.at("data_offsets").get<std::vector<std::uint64_t>>();
      require(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes,
              "{}: data offsets outside the file", where);
      std::uint64_t expected = c10::elementSize(type);
      for (const auto size : shape) {
        require(size >= 0, "{}: negative size {}", where, size);
        require(!__builtin_mul_overflow(expected, static_cast<std::uint64_t>(size), &expected), "{}: shape overflows",
                where);
      }
      require(expected == offsets[1] - offsets[0], "{}: {} bytes, expected {}", where, offsets[1] - offsets[0],
              expected);
      auto tensor = torch::empty(shape, type);
      if (expected > 0) std::memcpy(tensor.data_ptr(), bytes.data() + 8 + length + offsets[0], expected);
      tensors.emplace(name, std::move(tensor));
    } catch (const nlohmann::json::exception& error) {
      fail("{}: malformed header entry: {}", where, error.what());
    }
  }
  return tensors;
}

void save_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  std::vector<torch::Tensor> stored;
  for (const auto& [name, tensor] : tensors) {
    stored.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const std::uint64_t bytes = stored.back().nbytes();
    header[name] = {{"dtype", name_of(tensor.scalar_type(), path.string())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.is_null() ? "{}" : header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  AtomicFile file(path);
  file.write(&length, 8);
  file.write(text);
  for (const auto& tensor : stored) file.write(tensor.data_ptr(), tensor.nbytes());
  file.commit();
}

}  // namespace tessera
