// The hub's VQModel. Field and key names: huggingface.co/docs/diffusers, VQModel; attention layers were renamed in
// 2023.
#include "checkpoint/hub_codec.h"

#include "checkpoint/codec_plan.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

/// Fields that would make another network of the same class.
void check_plain(const json& config, const std::string& where) {
  const auto expect = [&](const char* field, std::initializer_list<json> allowed, const char* expected) {
    const auto found = config.find(field);
    if (found == config.end() || found->is_null()) return;
    for (const auto& value : allowed) {
      if (*found == value) return;
    }
    fail("{}: {} is {}, expected {}", where, field,
         printable(found->dump(-1, ' ', false, json::error_handler_t::replace)), expected);
  };
  expect("_class_name", {"VQModel"}, "VQModel");
  expect("act_fn", {"silu", "swish"}, "silu");
  expect("norm_type", {"group"}, "group");
  expect("mid_block_add_attention", {true, false}, "true or false");
}

}  // namespace

TensorMap hub_codec_tensors(const TensorMap& file, const json& config, const std::string& where) {
  require(config.is_object(), "{}: its config is no JSON object", where);
  check_plain(config, where);
  static const std::map<std::string, std::string> old_names = {
      {"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}};
  const auto source_of = [&](const std::string& native, const Shape& shape) -> TensorSource {
    const auto name = parse_codec_name(native);
    if (name.layer != CodecLayer::attention && name.layer != CodecLayer::middle_attention) return {{native}, shape};
    const auto field = name.rest.rfind('.');
    const auto renamed = old_names.find(name.rest.substr(0, field));
    auto source = native;
    if (!file.contains(native) && renamed != old_names.end()) {
      source = native.substr(0, native.size() - name.rest.size()) + renamed->second + name.rest.substr(field);
      if (!file.contains(source)) source = native;
    }
    // Some converted files keep the 1x1 convolutions.
    if (const auto found = file.find(source); found != file.end() && shape.size() == 2 && found->second.dim() == 4) {
      return {{source}, {shape[0], shape[1], 1, 1}};
    }
    return {{source}, shape};
  };
  ShapeMap shapes;
  try {
    shapes = codec_parameter_shapes(config);
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
  return map_tensors(
      file, shapes, source_of, [](const std::string&) { return false; }, where);
}

}  // namespace tessera
