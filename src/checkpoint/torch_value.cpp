#include <algorithm>
#include <charconv>

#include "checkpoint/torch_archive.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

/// A dict's key as text; empty optional for keys that are neither string nor integer.
std::optional<std::string> key_text(const PickleNode& key) {
  if (key.kind == ValueKind::string) return std::string(key.text);
  if (key.kind == ValueKind::integer) return std::to_string(key.integer);
  return std::nullopt;
}

/// Whether an opaque value stands where a tensor belongs: torch built it as one, or it has a parameter's dotted name.
bool is_lost_tensor(const std::string& key, const TorchValue& value) {
  if (value.kind() != ValueKind::opaque) return false;
  return value.stands_for_tensor() || (key.find('.') != std::string::npos && !key.ends_with("_extra_state"));
}

}  // namespace

const char* kind_name(ValueKind kind) {
  switch (kind) {
    case ValueKind::none:
      return "none";
    case ValueKind::boolean:
      return "bool";
    case ValueKind::integer:
      return "integer";
    case ValueKind::real:
      return "number";
    case ValueKind::string:
      return "string";
    case ValueKind::bytes:
      return "bytes";
    case ValueKind::list:
      return "list";
    case ValueKind::tuple:
      return "tuple";
    case ValueKind::dict:
      return "dict";
    case ValueKind::type:
      return "class";
    case ValueKind::storage:
      return "storage";
    case ValueKind::tensor:
      return "tensor";
    case ValueKind::opaque:
      return "opaque object";
  }
  return "value";
}

const PickleNode& TorchValue::expect(ValueKind kind) const {
  if (node_->kind == kind) return *node_;
  const auto where = fmt::format("{}: '{}'", document_->where(), printable(name_));
  if (node_->kind == ValueKind::opaque || node_->kind == ValueKind::type) {
    fail("{}: depends on class {}, which is not read; expected a {}", where, printable(node_->text), kind_name(kind));
  }
  fail("{}: a {}, expected a {}", where, kind_name(node_->kind), kind_name(kind));
}

bool TorchValue::boolean() const {
  return expect(ValueKind::boolean).integer != 0;
}
std::int64_t TorchValue::integer() const {
  return expect(ValueKind::integer).integer;
}
std::string TorchValue::string() const {
  return std::string(expect(ValueKind::string).text);
}
torch::Tensor TorchValue::tensor() const {
  return document_->tensor(expect(ValueKind::tensor), name_);
}
torch::ScalarType TorchValue::tensor_type() const {
  return document_->tensor_type(expect(ValueKind::tensor));
}

double TorchValue::real() const {
  if (node_->kind == ValueKind::integer) return static_cast<double>(node_->integer);
  return expect(ValueKind::real).real;
}

const std::vector<std::int64_t>& TorchValue::tensor_shape() const {
  return document_->pickled_tensor(expect(ValueKind::tensor)).sizes;
}

std::string TorchValue::class_name() const {
  if (node_->kind == ValueKind::type) return std::string(node_->text);
  return std::string(expect(ValueKind::opaque).text);
}

std::size_t TorchValue::size() const {
  if (node_->kind == ValueKind::dict) return node_->items.size() / 2;
  return node_->items.size();
}

TorchValue TorchValue::child(const PickleNode* node, std::string_view key) const {
  constexpr std::size_t kLongestName = 512;  // it only says where a value is
  auto name = name_.empty() ? std::string(key) : fmt::format("{}/{}", name_, key);
  if (name.size() > kLongestName) name.resize(kLongestName);
  return {document_, node, std::move(name)};
}

TorchValue TorchValue::at(std::size_t index) const {
  const auto& node = node_->kind == ValueKind::tuple ? *node_ : expect(ValueKind::list);
  require(index < node.items.size(), "{}: '{}': index {} of a list of {}", document_->where(), printable(name_), index,
          node.items.size());
  return child(node.items[index], std::to_string(index));
}

std::vector<std::pair<std::string, TorchValue>> TorchValue::entries() const {
  const auto& items = expect(ValueKind::dict).items;
  std::vector<std::pair<std::string, TorchValue>> entries;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (auto key = key_text(*items[i])) entries.emplace_back(*key, child(items[i + 1], *key));
  }
  return entries;
}

std::optional<TorchValue> TorchValue::find(std::string_view key) const {
  if (node_->kind != ValueKind::dict) return std::nullopt;
  const auto& items = node_->items;
  for (std::size_t i = items.size(); i >= 2; i -= 2) {
    if (const auto text = key_text(*items[i - 2]); text && *text == key) return child(items[i - 1], key);
  }
  return std::nullopt;
}

std::optional<TorchValue> TorchArchive::find(const std::string& path) const {
  auto value = root();
  std::string_view rest = path;
  while (!rest.empty()) {
    const auto key = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(rest.size(), key.size() + 1));
    if (value.kind() == ValueKind::list || value.kind() == ValueKind::tuple) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error != std::errc{} || end != key.data() + key.size() || index >= value.size()) return std::nullopt;
      value = value.at(index);
    } else {
      auto next = value.find(key);
      if (!next) return std::nullopt;
      value = std::move(*next);
    }
  }
  return value;
}

TorchValue TorchArchive::at(const std::string& path) const {
  auto value = find(path);
  require(value.has_value(), "{}: holds no '{}'", document_->where(), path);
  return *value;
}

TensorMap TorchArchive::tensors(const std::string& path) const {
  const auto entries = at(path).entries();
  // Expanded and shared tensors may claim more than the file holds, but not without limit.
  const std::uint64_t budget = 4 * std::uint64_t{document_->file()->size()} + (std::uint64_t{16} << 20);
  std::uint64_t claimed = 0;
  TensorMap tensors;
  for (const auto& [key, value] : entries) {
    if (value.kind() != ValueKind::tensor && !is_lost_tensor(key, value)) continue;
    auto tensor = value.tensor();
    std::uint64_t bytes = 0;
    const bool fits =
        checked_bytes(tensor.numel(), tensor.scalar_type(), bytes) && !__builtin_add_overflow(claimed, bytes, &claimed);
    require(fits && claimed <= budget, "{}: its tensors claim far more memory than the file's {} bytes",
            document_->where(), document_->file()->size());
    tensors.insert_or_assign(key, std::move(tensor));
  }
  return tensors;
}

}  // namespace tessera
