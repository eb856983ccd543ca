/// The values of a pickle as plain data, and the tensors among them. Nothing of the pickle is ever executed; what it
/// may make us remember is bounded. Used by the pickle machine and the torch archive; the public face is
/// torch_archive.h.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/mapped_file.h"

namespace tessera {

/// What a value of a pickle is.
enum class ValueKind : std::uint8_t {
  none,
  boolean,
  integer,
  real,
  string,
  bytes,
  list,
  tuple,
  dict,
  type,
  storage,
  tensor,
  opaque
};

/// One value. Strings are views into the file or into the document; nodes live as long as the document.
struct PickleNode {
  ValueKind kind = ValueKind::none;
  std::string_view text;  // string, bytes: the contents; type, opaque: "module.Class"
  // boolean, integer: the value; storage, tensor: index into the document's list; opaque: 1 where it stands for a
  // tensor
  std::int64_t integer = 0;
  double real = 0;                 // real
  std::vector<PickleNode*> items;  // list, tuple: the items; dict: key, value, key, value ...
};

/// A storage as the pickle names it.
struct PickledStorage {
  std::string_view key;
  torch::ScalarType type = torch::kFloat32;
  std::int64_t count = 0;  // elements of the whole storage
  std::int64_t first = 0;  // elements before the view that is meant
};

/// A tensor as the pickle describes it: not yet checked against the storage's bytes.
struct PickledTensor {
  std::size_t storage = 0;            // index into the document's storages
  std::int64_t offset = 0;            // elements
  std::vector<std::int64_t> sizes;    // elements
  std::vector<std::int64_t> strides;  // elements
};

/// Everything that was read from one torch archive.
class PickleDocument {
 public:
  explicit PickleDocument(std::shared_ptr<MappedFile> file) : file_(std::move(file)) {}

  /// A new value. Throws Error when the pickle's values exceed the memory limit.
  PickleNode* make(ValueKind kind);
  PickleNode* make_text(ValueKind kind, std::string_view text);
  PickleNode* make_integer(ValueKind kind, std::int64_t value);
  /// An opaque value of the named class (the text must outlive the document or come from it).
  PickleNode* make_opaque(std::string_view class_name) { return make_text(ValueKind::opaque, class_name); }
  PickleNode* make_storage(PickledStorage storage);
  PickleNode* make_tensor(PickledTensor tensor);
  /// Keeps a copy of the text for as long as the document lives.
  std::string_view keep(std::string text);
  /// Counts memory that the pickle made us take; throws Error above the limit.
  void charge(std::size_t bytes);
  /// Counts a dict's entry: who reads the dict gets a copy of the key with each of its entries, and a pickle can name
  /// one long key thousands of times. Throws Error for a key longer than any name.
  void charge_entry(const PickleNode& key);

  /// Says where a storage's bytes are: a piece of the file.
  void place_storage(std::string_view key, std::string_view bytes);
  const std::vector<PickledStorage>& storages() const { return storages_; }
  const PickledTensor& pickled_tensor(const PickleNode& node) const {
    return tensors_.at(static_cast<std::size_t>(node.integer));
  }
  torch::ScalarType tensor_type(const PickleNode& node) const { return storages_[pickled_tensor(node).storage].type; }
  /// The tensor, over the file's bytes where their alignment allows it (then writable, copied on write). Every bound is
  /// checked; errors begin with the file and `name`.
  torch::Tensor tensor(const PickleNode& node, const std::string& name);

  const std::shared_ptr<MappedFile>& file() const { return file_; }
  std::string where() const { return file_->path().string(); }

 private:
  std::shared_ptr<MappedFile> file_;
  std::deque<PickleNode> nodes_;
  std::deque<std::string> texts_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
  std::map<std::string_view, std::string_view> placed_;  // key -> bytes
  std::map<std::string_view, std::shared_ptr<std::vector<std::uint64_t>>>
      aligned_;  // copies of storages at odd addresses
  std::size_t charged_ = 0;
};

/// The size of `count` elements of a type in bytes; false when it does not fit.
bool checked_bytes(std::int64_t count, torch::ScalarType type, std::uint64_t& bytes);

}  // namespace tessera
