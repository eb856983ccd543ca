/// Files of torch.save: the zip format (`<stem>/data.pkl`, one stored member a storage) and the older stream of pickles
/// and raw storages. Nothing in them is executed: classes that are not known become opaque values.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/pickle_document.h"
#include "checkpoint/safetensors.h"

namespace tessera {

/// One value of an archive; keeps the archive alive. Cheap to copy. Not for use by several threads at once.
class TorchValue {
 public:
  TorchValue(std::shared_ptr<PickleDocument> document, const PickleNode* node, std::string name)
      : document_(std::move(document)), node_(node), name_(std::move(name)) {}

  ValueKind kind() const { return node_->kind; }
  /// Where the value is: the keys and indices from the root, joined by '/'.
  const std::string& name() const { return name_; }

  // The value as what it is; Error naming it when it is something else.
  bool boolean() const;
  std::int64_t integer() const;
  double real() const;  // integers too
  std::string string() const;
  /// The tensor, over the file's bytes where possible (writable, the file stays as it is). For an opaque value: an
  /// Error that names the class.
  torch::Tensor tensor() const;
  /// Type and shape of a tensor, without touching its data.
  torch::ScalarType tensor_type() const;
  const std::vector<std::int64_t>& tensor_shape() const;
  /// Of an opaque value or a type: "module.Class".
  std::string class_name() const;
  /// Whether this opaque value is what torch would have made a tensor of.
  bool stands_for_tensor() const { return node_->kind == ValueKind::opaque && node_->integer == 1; }

  /// Items of a list or tuple, entries of a dict; 0 for everything else.
  std::size_t size() const;
  TorchValue at(std::size_t index) const;
  /// The dict's entries in the order of the file; keys that are no strings or integers are left out.
  std::vector<std::pair<std::string, TorchValue>> entries() const;
  /// The dict's value under a key; the last one where the key occurs twice.
  std::optional<TorchValue> find(std::string_view key) const;

 private:
  TorchValue child(const PickleNode* node, std::string_view key) const;
  const PickleNode& expect(ValueKind kind) const;

  std::shared_ptr<PickleDocument> document_;
  const PickleNode* node_;
  std::string name_;
};

/// The name of a kind, for messages: "dict", "tensor" ...
const char* kind_name(ValueKind kind);

class TorchArchive {
 public:
  TorchArchive(std::shared_ptr<PickleDocument> document, const PickleNode* root, bool zip)
      : document_(std::move(document)), root_(root), zip_(zip) {}

  TorchValue root() const { return {document_, root_, ""}; }
  /// The value under keys and indices joined by '/' ("state_dict", "optimizer_states/0"); nothing when there is none.
  std::optional<TorchValue> find(const std::string& path) const;
  /// Same; an Error that names the file and the path when there is none.
  TorchValue at(const std::string& path) const;
  /// The tensors of the dict at `path` (empty: the root), by key. Values that are no tensors are left out; but an
  /// opaque value that stands for a tensor, or has a dotted name as parameters do, is an Error that names its class.
  /// Throws Error also when the tensors together claim far more memory than the file has.
  TensorMap tensors(const std::string& path = "") const;
  /// "torch zip archive" or "torch stream".
  const char* format() const { return zip_ ? "torch zip archive" : "torch stream"; }
  std::filesystem::path path() const { return document_->file()->path(); }

 private:
  std::shared_ptr<PickleDocument> document_;
  const PickleNode* root_;
  bool zip_;
};

/// True when the file starts like one of the two formats.
bool looks_like_torch_archive(const std::filesystem::path& path);

/// Reads the values; tensors stay in the file until they are asked for. Throws Error naming the file and what is wrong
/// with it.
TorchArchive load_torch_archive(const std::filesystem::path& path);

}  // namespace tessera
