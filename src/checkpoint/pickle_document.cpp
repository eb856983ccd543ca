#include "checkpoint/pickle_document.h"

#include <algorithm>
#include <cstring>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

// Bytes that the values of one archive may take: enough for some ten thousand tensors, and more where the file is
// large.
constexpr std::size_t kMemoryLimit = std::size_t{48} << 20;
constexpr std::size_t kMaxStoredDimensions = 16;
constexpr std::size_t kMaxKeyBytes = 1024;
constexpr std::size_t kEntryBytes = 96;  // an entry with its key and its value's name, beside their texts

}  // namespace

bool checked_bytes(std::int64_t count, torch::ScalarType type, std::uint64_t& bytes) {
  if (count < 0) return false;
  return !__builtin_mul_overflow(static_cast<std::uint64_t>(count), static_cast<std::uint64_t>(c10::elementSize(type)),
                                 &bytes);
}

void PickleDocument::charge(std::size_t bytes) {
  charged_ += bytes;
  const auto limit = kMemoryLimit + file_->size() / 8;
  require(charged_ <= limit, "{}: its pickle describes more than {} MiB of values", where(), limit >> 20);
}

void PickleDocument::charge_entry(const PickleNode& key) {
  if (key.kind != ValueKind::string) return charge(kEntryBytes);
  require(key.text.size() <= kMaxKeyBytes, "{}: its pickle has a key of {} bytes, expected at most {}", where(),
          key.text.size(), kMaxKeyBytes);
  charge(kEntryBytes + 2 * key.text.size());
}

PickleNode* PickleDocument::make(ValueKind kind) {
  charge(sizeof(PickleNode));
  nodes_.emplace_back().kind = kind;
  return &nodes_.back();
}

PickleNode* PickleDocument::make_text(ValueKind kind, std::string_view text) {
  auto* node = make(kind);
  node->text = text;
  return node;
}

PickleNode* PickleDocument::make_integer(ValueKind kind, std::int64_t value) {
  auto* node = make(kind);
  node->integer = value;
  return node;
}

PickleNode* PickleDocument::make_storage(PickledStorage storage) {
  charge(3 * sizeof(PickledStorage));
  storages_.push_back(storage);
  return make_integer(ValueKind::storage, static_cast<std::int64_t>(storages_.size() - 1));
}

PickleNode* PickleDocument::make_tensor(PickledTensor tensor) {
  charge(3 * sizeof(PickledTensor) + 2 * 8 * tensor.sizes.size() + 64);
  tensors_.push_back(std::move(tensor));
  return make_integer(ValueKind::tensor, static_cast<std::int64_t>(tensors_.size() - 1));
}

std::string_view PickleDocument::keep(std::string text) {
  charge(sizeof(std::string) + text.size());
  return texts_.emplace_back(std::move(text));
}

void PickleDocument::place_storage(std::string_view key, std::string_view bytes) {
  charge(96);
  require(placed_.emplace(key, bytes).second, "{}: storage '{}' occurs twice", where(), printable(key));
}

torch::Tensor PickleDocument::tensor(const PickleNode& node, const std::string& name) {
  const auto at = [&] { return fmt::format("{}: tensor '{}'", where(), printable(name)); };
  const auto& recipe = pickled_tensor(node);
  const auto& storage = storages_[recipe.storage];
  const auto found = placed_.find(storage.key);
  require(found != placed_.end(), "{}: its storage '{}' is not in the file", at(), printable(storage.key));
  const std::string_view bytes = found->second;
  std::uint64_t expected = 0;
  require(checked_bytes(storage.count, storage.type, expected) && expected == bytes.size(),
          "{}: storage '{}' has {} bytes, expected {} elements of {}", at(), printable(storage.key), bytes.size(),
          storage.count, c10::toString(storage.type));

  require(recipe.sizes.size() == recipe.strides.size() && recipe.sizes.size() <= kMaxStoredDimensions,
          "{}: {} sizes and {} strides", at(), recipe.sizes.size(), recipe.strides.size());
  std::int64_t elements = 1;
  std::int64_t extent = 1;
  std::int64_t last = 0;
  require(!__builtin_add_overflow(storage.first, recipe.offset, &last) && storage.first >= 0 && recipe.offset >= 0,
          "{}: starts at element {}", at(), recipe.offset);
  const std::int64_t first = last;
  bool overflow = false;
  for (std::size_t i = 0; i < recipe.sizes.size(); ++i) {
    const auto size = recipe.sizes[i];
    const auto stride = recipe.strides[i];
    require(size >= 0 && stride >= 0, "{}: size {} with stride {}", at(), size, stride);
    std::int64_t reach = 0;
    overflow |= __builtin_mul_overflow(elements, size, &elements);
    // LibTorch computes strides also where another size is 0.
    overflow |= __builtin_mul_overflow(extent, std::max<std::int64_t>(size, 1), &extent);
    overflow |= __builtin_mul_overflow(std::max<std::int64_t>(size - 1, 0), stride, &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
    require(!overflow, "{}: its shape overflows", at());
  }
  const auto options = torch::TensorOptions().dtype(storage.type);
  if (elements == 0) return torch::empty(recipe.sizes, options);
  require(last < storage.count, "{}: reaches element {} of a storage of {}", at(), last, storage.count);

  const auto element = c10::elementSize(storage.type);
  char* data = const_cast<char*>(bytes.data());  // NOLINT: the map is private and writable
  std::shared_ptr<void> owner = file_;
  if (reinterpret_cast<std::uintptr_t>(data) % element != 0) {
    auto& copy = aligned_[storage.key];
    if (!copy) {
      copy = std::make_shared<std::vector<std::uint64_t>>((bytes.size() + 7) / 8);
      std::memcpy(copy->data(), bytes.data(), bytes.size());
    }
    data = reinterpret_cast<char*>(copy->data());
    owner = copy;
  }
  if (storage.type == torch::kBool) {
    const auto odd = std::any_of(bytes.begin(), bytes.end(), [](char c) { return c != 0 && c != 1; });
    require(!odd, "{}: holds bytes that are neither true nor false", at());
  }
  return torch::from_blob(
      data + static_cast<std::size_t>(first) * element, recipe.sizes, recipe.strides, [owner](void*) {}, options);
}

}  // namespace tessera
