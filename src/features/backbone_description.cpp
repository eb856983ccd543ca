#include "features/backbone_description.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using Kind = BackboneLayer::Kind;

constexpr std::size_t kMaxJsonBytes = 1 << 20;
constexpr std::size_t kMaxLayers = 1024;
constexpr std::int64_t kMaxSide = 4096;  // smallest_side() looks no further

struct LayerKind {
  Kind kind;
  std::set<std::string> keys;  // beside "op", "note"
};

const std::map<std::string, LayerKind>& layer_kinds() {
  static const std::map<std::string, LayerKind> kinds = {
      {"conv", {Kind::conv, {"name", "kernel", "stride", "padding", "relu", "relu6", "tap"}}},
      {"maxpool", {Kind::max_pool, {"kernel", "stride", "ceil_mode"}}},
      {"fire", {Kind::fire, {"name", "tap"}}},
      {"inverted residual",
       {Kind::inverted_residual, {"name", "expand", "channels", "stride", "residual", "tap_after_expand"}}},
      {"global average pool", {Kind::global_average_pool, {"output"}}},
  };
  return kinds;
}

/// Values of one JSON object; every error begins with `where`.
class Object {
 public:
  Object(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {
    require(object.is_object(), "{}: found {}, expected an object", where_, object.type_name());
  }

  std::string text(const char* key) const {
    const auto& value = at(key);
    require(value.is_string(), "{}: {} is {}, expected a string", where_, key, shown(value));
    return value.get<std::string>();
  }
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const {
    const auto& value = at(key);
    const bool fits = value.is_number_integer() && value >= low && value <= high;
    require(fits, "{}: {} is {}, expected a whole number from {} to {}", where_, key, shown(value), low, high);
    return value.get<std::int64_t>();
  }
  std::int64_t integer_or(const char* key, std::int64_t otherwise, std::int64_t low, std::int64_t high) const {
    return holds(key) ? integer(key, low, high) : otherwise;
  }
  bool truth_or(const char* key, bool otherwise) const {
    if (!holds(key)) return otherwise;
    const auto& value = object_.at(key);
    require(value.is_boolean(), "{}: {} is {}, expected true or false", where_, key, shown(value));
    return value.get<bool>();
  }
  std::array<double, 3> triple(const char* key) const {
    const auto& value = at(key);
    const bool fits =
        value.is_array() && value.size() == 3 && std::all_of(value.begin(), value.end(), [](const auto& number) {
          return number.is_number() && std::isfinite(number.template get<double>());
        });
    require(fits, "{}: {} is {}, expected three numbers", where_, key, shown(value));
    return value.get<std::array<double, 3>>();
  }
  /// null counts as absent.
  bool holds(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }
  const nlohmann::json& at(const char* key) const {
    require(object_.contains(key), "{}: {} is missing", where_, key);
    return object_.at(key);
  }
  const std::string& where() const { return where_; }

  /// Nested values are not written out: how deep they are is a stranger's choice.
  static std::string shown(const nlohmann::json& value) {
    if (value.is_array()) return fmt::format("an array of {}", value.size());
    if (value.is_object()) return "an object";
    return printable(value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace), 60);
  }

 private:
  const nlohmann::json& object_;
  std::string where_;
};

BackboneLayer parse_layer(const nlohmann::json& entry, const std::string& where) {
  Object object(entry, where);
  const auto op = object.text("op");
  const auto found = layer_kinds().find(op);
  if (found == layer_kinds().end()) {
    std::vector<std::string> names;
    for (const auto& [name, kind] : layer_kinds()) names.push_back("'" + name + "'");
    fail("{}: op '{}': expected one of {}", where, printable(op), fmt::join(names, ", "));
  }
  const auto& [kind, keys] = found->second;
  for (const auto& [key, value] : entry.items()) {
    const bool known = key == "op" || key == "note" || keys.count(key) > 0;
    require(known, "{}: unknown key '{}' of a {}, expected some of {}", where, printable(key), op,
            fmt::join(keys, ", "));
  }
  BackboneLayer layer;
  layer.kind = kind;
  if (keys.count("name")) {
    layer.name = object.text("name");
    require(!layer.name.empty() && layer.name.size() <= 200, "{}: name '{}': expected 1 to 200 characters", where,
            printable(layer.name));
  }
  if (kind == Kind::conv || kind == Kind::max_pool) {
    layer.kernel = object.integer("kernel", 1, 31);
    layer.padding = object.integer_or("padding", 0, 0, 31);
  }
  layer.stride = object.integer_or("stride", 1, 1, 31);
  layer.ceil_mode = object.truth_or("ceil_mode", false);
  const bool relu = object.truth_or("relu", false), relu6 = object.truth_or("relu6", false);
  require(!(relu && relu6), "{}: relu and relu6, expected one of them", where);
  layer.activation = relu    ? BackboneLayer::Activation::relu
                     : relu6 ? BackboneLayer::Activation::relu6
                             : BackboneLayer::Activation::none;
  if (kind == Kind::inverted_residual) {
    layer.expand = object.integer("expand", 1, 64);
    layer.channels = object.integer("channels", 1, 1 << 16);
    layer.residual = object.truth_or("residual", false);
    require(!layer.residual || layer.stride == 1, "{}: residual with stride {}, expected stride 1", where,
            layer.stride);
  }
  const auto most = static_cast<std::int64_t>(kMaxLayers);
  layer.tap = object.integer_or("tap", -1, 0, most);
  layer.tap_after_expand = object.integer_or("tap_after_expand", -1, 0, most);
  require(layer.tap_after_expand < 0 || layer.expand > 1, "{}: tap_after_expand of a block that does not expand",
          where);
  return layer;
}

/// Taps are numbered 0, 1, 2 ... in the order of the layers.
void check_taps(const BackboneDescription& description, const std::string& where) {
  std::int64_t next = 0;
  for (const auto& layer : description.layers) {
    for (const auto tap : {layer.tap_after_expand, layer.tap}) {
      if (tap < 0) continue;
      require(tap == next, "{}: layer '{}' has tap {}, expected {} (taps are numbered in the order of the layers)",
              where, printable(layer.name), tap, next);
      ++next;
    }
  }
}

void parse_preprocessing(const Object& object, BackboneDescription& description) {
  constexpr const char* kInput = "RGB in [0,1], NCHW";
  const auto input = object.text("input");
  require(input == kInput, "{}: input '{}': expected '{}'", object.where(), printable(input), kInput);
  description.mean = object.triple("mean");
  description.deviation = object.triple("std");
  for (const double value : description.deviation)
    require(value > 0, "{}: std {}, expected positive numbers", object.where(), value);
  description.judge_size = object.integer_or("judge_size", 0, 1, 2048);
}

}  // namespace

std::int64_t BackboneLayer::side_after(std::int64_t side) const {
  switch (kind) {
    case Kind::conv:
      return side + 2 * padding < kernel ? 0 : (side + 2 * padding - kernel) / stride + 1;
    case Kind::max_pool: {
      const auto over = side - kernel + (ceil_mode ? stride - 1 : 0);
      if (over < 0) return 0;
      const auto windows = over / stride + 1;
      return (windows - 1) * stride >= side ? windows - 1 : windows;  // LibTorch's rule: a window begins in the map
    }
    case Kind::inverted_residual:
      return (side - 1) / stride + 1;  // 3x3, padding 1
    case Kind::fire:
      return side;
    case Kind::global_average_pool:
      return 1;
  }
  return 0;
}

std::int64_t BackboneDescription::taps() const {
  std::int64_t count = 0;
  for (const auto& layer : layers) count += (layer.tap >= 0) + (layer.tap_after_expand >= 0);
  return count;
}

std::int64_t BackboneDescription::smallest_side() const {
  for (std::int64_t side = 1; side <= kMaxSide; ++side) {
    auto at = side;
    for (const auto& layer : layers) at = at > 0 ? layer.side_after(at) : 0;
    if (at > 0) return side;
  }
  return kMaxSide + 1;
}

std::string BackboneDescription::short_name() const {
  return name.substr(0, name.find(','));
}

BackboneDescription parse_backbone_description(std::string_view json, const std::string& where) {
  require(json.size() <= kMaxJsonBytes, "{}: {} bytes, expected at most {}", where, json.size(), kMaxJsonBytes);
  const auto document = read_json(json, where + ": not the description of a feature network");
  const Object object(document, where);
  BackboneDescription description;
  description.name = printable(object.text("name"));
  require(!description.name.empty() && description.name.size() <= 200, "{}: name: expected 1 to 200 characters", where);
  description.file = object.text("file");
  const bool plain = !description.file.empty() && description.file.find('/') == std::string::npos;
  require(plain, "{}: file '{}': expected the name of a file beside it", where, printable(description.file));
  if (object.holds("sha256")) description.sha256 = object.text("sha256");
  parse_preprocessing(Object(object.at("preprocessing"), where + ": preprocessing"), description);
  const auto& layers = object.at("layers");
  require(layers.is_array() && !layers.empty() && layers.size() <= kMaxLayers,
          "{}: layers: found {} of them, expected an array of 1 to {}", where, layers.is_array() ? layers.size() : 0,
          kMaxLayers);
  std::set<std::string> names;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto layer = parse_layer(layers[i], fmt::format("{}: layer {}", where, i));
    require(layer.name.empty() || names.insert(layer.name).second, "{}: layer {}: a second layer named '{}'", where, i,
            printable(layer.name));
    require(layer.kind != Kind::global_average_pool || i + 1 == layers.size(),
            "{}: layer {}: layers after the global average pool", where, i);
    description.layers.push_back(layer);
  }
  check_taps(description, where);
  const auto smallest = description.smallest_side();
  require(smallest <= kMaxSide, "{}: the layers fit in no picture of up to {} pixels a side", where, kMaxSide);
  return description;
}

}  // namespace tessera
