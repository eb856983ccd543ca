#include "checkpoint/torch_objects.h"

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

struct StorageType {
  std::string_view name;
  torch::ScalarType type;
};

constexpr StorageType kStorageTypes[] = {{"FloatStorage", torch::kFloat32}, {"DoubleStorage", torch::kFloat64},
                                         {"HalfStorage", torch::kFloat16},  {"BFloat16Storage", torch::kBFloat16},
                                         {"LongStorage", torch::kInt64},    {"IntStorage", torch::kInt32},
                                         {"ShortStorage", torch::kInt16},   {"CharStorage", torch::kInt8},
                                         {"ByteStorage", torch::kUInt8},    {"BoolStorage", torch::kBool}};

const StorageType* storage_type(std::string_view class_name) {
  for (const std::string_view module : {"torch.cuda.", "torch."}) {
    if (!class_name.starts_with(module)) continue;
    for (const auto& entry : kStorageTypes) {
      if (class_name.substr(module.size()) == entry.name) return &entry;
    }
  }
  return nullptr;
}

/// Stands for a tensor that cannot be built, because it depends on something of this class.
PickleNode* lost_tensor(PickleDocument& document, std::string_view class_name) {
  auto* node = document.make_opaque(class_name);
  node->integer = 1;
  return node;
}

/// torch's functions that build tensors of kinds we do not read, and the classes of storages.
bool builds_tensors(std::string_view name) {
  return name.starts_with("torch._utils._rebuild") || name.starts_with("torch._tensor._rebuild") ||
         name.starts_with("torch.storage.") || name.starts_with("torch.nn.parameter.");
}

bool integers_of(const PickleNode& node, std::vector<std::int64_t>& values) {
  if (node.kind != ValueKind::tuple && node.kind != ValueKind::list) return false;
  if (node.items.size() > 64) return false;
  for (const auto* item : node.items) {
    if (item->kind != ValueKind::integer) return false;
    values.push_back(item->integer);
  }
  return true;
}

/// torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)
PickleNode* rebuild_tensor(PickleDocument& document, const PickleNode& arguments) {
  const auto& items = arguments.items;
  if (arguments.kind != ValueKind::tuple || items.size() < 4) {
    fail("{}: _rebuild_tensor with {} arguments, expected storage, offset, size and stride", document.where(),
         items.size());
  }
  if (items[0]->kind == ValueKind::opaque) return lost_tensor(document, items[0]->text);
  PickledTensor tensor;
  require(items[0]->kind == ValueKind::storage && items[1]->kind == ValueKind::integer,
          "{}: a tensor without storage or offset", document.where());
  tensor.storage = static_cast<std::size_t>(items[0]->integer);
  tensor.offset = items[1]->integer;
  require(integers_of(*items[2], tensor.sizes) && integers_of(*items[3], tensor.strides),
          "{}: a tensor whose size or stride is no list of integers", document.where());
  return document.make_tensor(std::move(tensor));
}

/// dict() or dict([(key, value), ...])
PickleNode* build_dict(PickleDocument& document, const PickleNode& arguments) {
  auto* dict = document.make(ValueKind::dict);
  if (arguments.items.empty()) return dict;
  const auto& pairs = *arguments.items[0];
  if (pairs.kind == ValueKind::dict) {
    for (std::size_t i = 0; i + 1 < pairs.items.size(); i += 2) document.charge_entry(*pairs.items[i]);
    document.charge(8 * pairs.items.size());
    dict->items = pairs.items;
    return dict;
  }
  if (pairs.kind != ValueKind::list && pairs.kind != ValueKind::tuple)
    return document.make_opaque("collections.OrderedDict");
  document.charge(24 * 2 * pairs.items.size());
  for (const auto* pair : pairs.items) {
    const bool two = (pair->kind == ValueKind::list || pair->kind == ValueKind::tuple) && pair->items.size() == 2;
    require(two, "{}: a dict built from what is no pair", document.where());
    document.charge_entry(*pair->items[0]);
    dict->items.push_back(pair->items[0]);
    dict->items.push_back(pair->items[1]);
  }
  return dict;
}

/// list(items), set(items), torch.Size(items)
PickleNode* build_list(PickleDocument& document, const PickleNode& arguments, ValueKind kind) {
  auto* list = document.make(kind);
  if (arguments.items.empty()) return list;
  const auto& items = *arguments.items[0];
  if (items.kind != ValueKind::list && items.kind != ValueKind::tuple) return document.make_opaque("builtins.list");
  document.charge(8 * items.items.size());
  list->items = items.items;
  return list;
}

}  // namespace

PickleNode* call_known(PickleDocument& document, const PickleNode& callable, const PickleNode& arguments) {
  if (callable.kind == ValueKind::opaque) return document.make_opaque(callable.text);
  require(callable.kind == ValueKind::type, "{}: malformed pickle: it calls what is no class", document.where());
  const auto name = callable.text;
  if (arguments.kind != ValueKind::tuple) return document.make_opaque(name);
  const auto& items = arguments.items;
  if (name == "torch._utils._rebuild_tensor_v2" || name == "torch._utils._rebuild_tensor")
    return rebuild_tensor(document, arguments);
  if (name == "torch._utils._rebuild_parameter" || name == "torch._utils._rebuild_parameter_with_state") {
    require(!items.empty(), "{}: a parameter without data", document.where());
    auto* data = items[0];
    if (data->kind == ValueKind::tensor) return data;
    if (data->kind == ValueKind::opaque) return lost_tensor(document, data->text);
    fail("{}: a parameter whose data is no tensor", document.where());
  }
  if (name == "torch._tensor._rebuild_from_type_v2" && items.size() >= 3 && items[0]->kind == ValueKind::type &&
      items[0]->text == "torch._utils._rebuild_tensor_v2") {
    return rebuild_tensor(document, *items[2]);
  }
  if (name == "collections.OrderedDict" || name == "builtins.dict" || name == "__builtin__.dict")
    return build_dict(document, arguments);
  if (name == "collections.defaultdict") return document.make(ValueKind::dict);  // the argument is its factory
  if (name == "builtins.list" || name == "__builtin__.list" || name == "builtins.set" || name == "__builtin__.set" ||
      name == "builtins.frozenset") {
    return build_list(document, arguments, ValueKind::list);
  }
  if (name == "torch.Size") return build_list(document, arguments, ValueKind::tuple);
  return builds_tensors(name) ? lost_tensor(document, name) : document.make_opaque(name);
}

PickleNode* resolve_persistent(PickleDocument& document, const PickleNode& id) {
  const auto& items = id.items;
  const bool tuple = id.kind == ValueKind::tuple && !items.empty() && items[0]->kind == ValueKind::string;
  require(tuple, "{}: malformed pickle: a persistent id that is no tuple", document.where());
  if (items[0]->text == "module" && items.size() >= 2) return items[1];  // a class with its source text (stream format)
  require(items[0]->text == "storage" && items.size() >= 5 && items[2]->kind == ValueKind::string &&
              items[4]->kind == ValueKind::integer,
          "{}: malformed pickle: persistent id '{}'", document.where(), printable(items[0]->text));
  if (items[1]->kind != ValueKind::type) return document.make_opaque("torch.storage");
  const auto* type = storage_type(items[1]->text);
  if (!type) return document.make_opaque(items[1]->text);
  PickledStorage storage{items[2]->text, type->type, items[4]->integer, 0};
  require(storage.count >= 0, "{}: storage '{}' of {} elements", document.where(), printable(storage.key),
          storage.count);
  if (items.size() >= 6 && items[5]->kind == ValueKind::tuple) {
    // (key of the view, first element, elements): a storage that is a piece of another one.
    const auto& fields = items[5]->items;
    require(fields.size() == 3 && fields[1]->kind == ValueKind::integer && fields[2]->kind == ValueKind::integer,
            "{}: storage '{}' has a malformed view", document.where(), printable(storage.key));
    storage.first = fields[1]->integer;
  }
  return document.make_storage(storage);
}

}  // namespace tessera
