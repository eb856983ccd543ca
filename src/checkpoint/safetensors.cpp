#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_bytes.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/sha256.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/foreign_bytes.h"
#include "runtime/mapped_file.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 16 << 20;
constexpr const char* kChecksum = "tessera.sha256";
constexpr const char* kChecksumBut = "tessera.sha256_but";  // of all but the bytes of one tensor
constexpr std::size_t kDigits = 64;

/// Where a checksum's digits lie in a header's text; npos: it has none.
std::size_t checksum_at(std::string_view header, const char* name = kChecksum) {
  const auto field = fmt::format("\"{}\":\"", name);
  const auto at = header.find(field);
  if (at == std::string_view::npos || header.size() - at < field.size() + kDigits + 1) return std::string_view::npos;
  return header[at + field.size() + kDigits] == '"' ? at + field.size() : std::string_view::npos;
}

constexpr std::uint64_t kMostWidened = std::uint64_t{512} << 20;  // bytes
constexpr std::size_t kPiece = std::size_t{16} << 20;             // bytes of a file that are looked at before they go

/// What widened numbers take in the whole program: a part of this is held as long as they are.
class WidenedBytes {
 public:
  WidenedBytes(std::uint64_t bytes, const SafetensorsEntry& entry, const std::string& where) : bytes_(bytes) {
    if (held().fetch_add(bytes_) + bytes_ <= kMostWidened) return;
    held() -= bytes_;
    fail(
        "{}: tensor '{}' holds {} numbers of 8 bits: with others they take more than {} MiB once they are widened; "
        "expected fewer, or F16 in the file",
        where, printable(entry.name), entry.end - entry.begin, kMostWidened >> 20);
  }
  ~WidenedBytes() { held() -= bytes_; }
  WidenedBytes(const WidenedBytes&) = delete;
  WidenedBytes& operator=(const WidenedBytes&) = delete;

 private:
  static std::atomic<std::uint64_t>& held() {
    static std::atomic<std::uint64_t> all{0};
    return all;
  }
  const std::uint64_t bytes_;
};

/// Numbers of 8 bits as float16, which holds them exactly.
torch::Tensor widened(const SafetensorsEntry& entry, const char* data, const std::string& where) {
  const auto count = entry.end - entry.begin;
  const auto held = std::make_shared<WidenedBytes>(count * sizeof(c10::Half), entry, where);
  std::array<c10::Half, 256> values;
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<c10::Half>(float8_value(static_cast<unsigned char>(i), entry.float8));
  const std::shared_ptr<c10::Half[]> numbers(new c10::Half[count]);
  for (std::uint64_t begin = 0; begin < count; begin += kPiece) {
    const auto size = std::min<std::uint64_t>(kPiece, count - begin);
    std::transform(data + begin, data + begin + size, numbers.get() + begin,
                   [&](char byte) { return values[static_cast<unsigned char>(byte)]; });
    MappedFile::give_back(data + begin, size);
  }
  return torch::from_blob(
      numbers.get(), entry.shape, [held, numbers](void*) {}, torch::TensorOptions().dtype(torch::kHalf));
}

void check_truths(const SafetensorsEntry& entry, const char* data, const std::string& where) {
  if (entry.type != torch::kBool) return;
  const auto odd = std::any_of(data, data + (entry.end - entry.begin), [](char c) { return c != 0 && c != 1; });
  require(!odd, "{}: tensor '{}' holds bytes that are neither true nor false", where, entry.name);
}

torch::Tensor copy_of(const SafetensorsEntry& entry, const char* data, const std::string& where) {
  if (entry.float8 != Float8::none) return widened(entry, data, where);
  auto copy = torch::empty(entry.shape, entry.type);
  if (entry.begin < entry.end) std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
  return copy;
}

/// The entry's tensor: over the file where its address suits the type, else a copy.
torch::Tensor tensor_of(const SafetensorsEntry& entry, const std::shared_ptr<MappedFile>& file,
                        std::uint64_t data_start, const std::string& where) {
  if (entry.begin == entry.end) return torch::empty(entry.shape, entry.type);
  char* data = file->data() + data_start + entry.begin;
  if (entry.float8 != Float8::none) return widened(entry, data, where);
  check_truths(entry, data, where);
  if (reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(entry.type) == 0) {
    return torch::from_blob(
        data, entry.shape, [file](void*) {}, torch::TensorOptions().dtype(entry.type));
  }
  return copy_of(entry, data, where);
}

/// Where the tensors' bytes begin, and the header's entries.
std::pair<std::uint64_t, std::vector<SafetensorsEntry>> entries_of(std::string_view bytes, const std::string& where,
                                                                   Metadata* metadata) {
  require(bytes.size() >= kLengthBytes, "{}: {} bytes, expected a safetensors header", where, bytes.size());
  const auto other = foreign_bytes(bytes.substr(0, 512));
  require(other.empty(), "{}: {}", where, other);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  require(length > kMaxHeaderBytes || length <= bytes.size() - kLengthBytes,
          "{}: cut off: a header of {} bytes in a file of {}", where, length, bytes.size());
  require(length <= bytes.size() - kLengthBytes, "{}: a header of {} bytes in a file of {}", where, length,
          bytes.size());
  require(length <= kMaxHeaderBytes, "{}: a header of {} bytes, expected at most {}", where, length, kMaxHeaderBytes);
  if (metadata) metadata->clear();
  const auto start = kLengthBytes + length;
  auto entries = parse_safetensors_header(bytes.substr(kLengthBytes, length), bytes.size() - start, where, metadata);
  if (metadata) {
    metadata->erase(kChecksum);
    metadata->erase(kChecksumBut);
  }
  verify_safetensors(bytes, where);
  return {start, std::move(entries)};
}

/// A file's header as it lies behind its length; empty: it has none.
std::string_view header_of(std::string_view bytes) {
  std::uint64_t length = 0;
  if (bytes.size() < kLengthBytes) return {};
  std::memcpy(&length, bytes.data(), kLengthBytes);
  return length > std::min(kMaxHeaderBytes, bytes.size() - kLengthBytes) ? std::string_view()
                                                                         : bytes.substr(kLengthBytes, length);
}

[[noreturn]] void fail_damaged(const std::string& where) {
  fail("{}: its bytes do not have the checksum that it was written with: the file is damaged", where);
}

/// A header without a checksum but with a name that differs from its name in one byte was damaged there.
void refuse_damaged_name(std::string_view header, const std::string& where) {
  for (const std::string_view name : {kChecksum, kChecksumBut}) {
    const auto behind = name.size() + 1;
    for (auto quote = header.find('"'); quote != std::string_view::npos; quote = header.find('"', quote + 1)) {
      if (header.substr(quote).size() < behind + 3 || header.substr(quote + behind, 3) != "\":\"") continue;
      int differ = 0;
      for (std::size_t i = 0; i < name.size(); ++i) differ += header[quote + 1 + i] != name[i];
      if (differ == 1) fail_damaged(where);
    }
  }
}

}  // namespace

bool verify_safetensors_but(std::string_view bytes, std::uint64_t begin, std::uint64_t end, const std::string& where) {
  const auto header = header_of(bytes);
  const auto whole = checksum_at(header), but = checksum_at(header, kChecksumBut);
  if (but == std::string_view::npos || whole == std::string_view::npos) {
    refuse_damaged_name(header, where);
    return false;
  }
  const auto start = kLengthBytes + header.size();
  require(start <= begin && begin <= end && end <= bytes.size(), "{}: data outside the file", where);
  std::string text(header);
  text.replace(but, kDigits, kDigits, '0');
  Sha256 hash;
  hash.update(bytes.substr(0, kLengthBytes));
  hash.update(text);
  hash.update(bytes.substr(start, begin - start));
  hash.update_and_give_back(bytes.substr(end));
  if (hash.finish() != header.substr(but, kDigits)) fail_damaged(where);
  return true;
}

void verify_safetensors(std::string_view bytes, const std::string& where) {
  const auto header = header_of(bytes);
  const auto at = checksum_at(header), but = checksum_at(header, kChecksumBut);
  if (at == std::string_view::npos) return refuse_damaged_name(header, where);
  std::string text(header);
  text.replace(at, kDigits, kDigits, '0');
  if (but != std::string_view::npos) text.replace(but, kDigits, kDigits, '0');
  Sha256 hash;
  hash.update(bytes.substr(0, kLengthBytes));
  hash.update(text);
  hash.update_and_give_back(bytes.substr(kLengthBytes + header.size()));
  if (hash.finish() != header.substr(at, kDigits)) fail_damaged(where);
}

TensorMap load_safetensors(const std::filesystem::path& path, Metadata* metadata) {
  const auto file = MappedFile::open(path);
  const auto where = path.string();
  const auto [start, entries] = entries_of(file->bytes(), where, metadata);
  MappedFile::give_back(file->data(), file->size());  // what the checksum read need not stay in memory
  TensorMap tensors;
  for (const auto& entry : entries) tensors.emplace(entry.name, tensor_of(entry, file, start, where));
  return tensors;
}

std::vector<SafetensorsEntry> read_safetensors_entries(const std::filesystem::path& path, Metadata* metadata) {
  const auto file = MappedFile::open(path);
  const auto where = path.string();
  auto [start, entries] = entries_of(file->bytes(), where, metadata);
  for (const auto& entry : entries) check_truths(entry, file->data() + start + entry.begin, where);
  return entries;
}

TensorMap safetensors_of(std::string_view bytes, const std::string& where, Metadata* metadata) {
  const auto [start, entries] = entries_of(bytes, where, metadata);
  TensorMap tensors;
  for (const auto& entry : entries) {
    const char* data = bytes.data() + start + entry.begin;
    check_truths(entry, data, where);
    tensors.emplace(entry.name, copy_of(entry, data, where));
  }
  return tensors;
}

void save_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata) {
  save_safetensors_apart(path, tensors, metadata, {});
}

void save_safetensors_apart(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata,
                            const std::string& apart) {
  // The widest types first: then every tensor's bytes begin at a multiple of its element's size, and can be mapped.
  std::vector<TensorMap::const_iterator> order;
  for (auto entry = tensors.begin(); entry != tensors.end(); ++entry) order.push_back(entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a->second.element_size() > b->second.element_size(); });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  header["__metadata__"] = metadata;
  header["__metadata__"][kChecksum] = std::string(kDigits, '0');
  if (!apart.empty()) header["__metadata__"][kChecksumBut] = std::string(kDigits, '0');
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
  const auto each = [&](const auto& take, const std::string& but = {}) {
    for (const auto& entry : order) {
      if (!but.empty() && entry->first == but) continue;
      const auto stored = entry->second.detach().to(torch::kCPU).contiguous();
      if (stored.numel() > 0) take(static_cast<const char*>(stored.data_ptr()), stored.nbytes());
    }
  };
  const auto checksum = [&](const std::string& but) {
    Sha256 hash;
    hash.update({reinterpret_cast<const char*>(&length), kLengthBytes});
    hash.update(text);
    each([&](const char* data, std::size_t bytes) { hash.update({data, bytes}); }, but);
    return hash.finish();
  };
  // The other one last: it covers the whole file's digits, which leave its own out.
  text.replace(checksum_at(text), kDigits, checksum({}));
  if (!apart.empty()) text.replace(checksum_at(text, kChecksumBut), kDigits, checksum(apart));
  AtomicFile file(path);
  file.write(&length, kLengthBytes);
  file.write(text);
  each([&](const char* data, std::size_t bytes) { file.write(data, bytes); });
  file.commit();
}

}  // namespace tessera
