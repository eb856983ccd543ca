/// Whether a JSON value fits a schema of the OpenAPI document: types, required and known properties, items, enums.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace tessera::testing {

inline bool has_type(const nlohmann::json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

/// Empty where it fits, else the place and what is wrong there.
inline std::string misfit(const nlohmann::json& value, nlohmann::json schema, const nlohmann::json& document,
                          const std::string& at = "$") {
  if (schema.contains("$ref")) {
    const auto name = schema["$ref"].get<std::string>().substr(std::string("#/components/schemas/").size());
    if (!document["components"]["schemas"].contains(name)) return at + ": no schema " + name;
    schema = document["components"]["schemas"][name];
  }
  if (schema.contains("type")) {
    const auto types = schema["type"].is_array() ? schema["type"] : nlohmann::json::array({schema["type"]});
    bool fits = false;
    for (const auto& type : types) fits = fits || has_type(value, type);
    if (!fits) return at + ": is " + value.type_name() + ", expected " + schema["type"].dump();
  }
  if (schema.contains("enum") && std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end())
    return at + ": " + value.dump() + " is none of " + schema["enum"].dump();
  if (value.is_object()) {
    for (const auto& name : schema.value("required", nlohmann::json::array())) {
      if (!value.contains(name.get<std::string>())) return at + ": lacks " + name.dump();
    }
    if (schema.contains("properties")) {
      for (const auto& [name, own] : value.items()) {
        if (!schema["properties"].contains(name)) return at + ": " + name + " is not in the document";
        if (auto wrong = misfit(own, schema["properties"][name], document, at + "." + name); !wrong.empty())
          return wrong;
      }
    }
  }
  if (value.is_array()) {
    if (schema.contains("minItems") && value.size() < schema["minItems"]) return at + ": too short";
    if (schema.contains("maxItems") && value.size() > schema["maxItems"]) return at + ": too long";
    if (schema.contains("items")) {
      for (std::size_t i = 0; i < value.size(); ++i) {
        auto wrong = misfit(value[i], schema["items"], document, at + "[" + std::to_string(i) + "]");
        if (!wrong.empty()) return wrong;
      }
    }
  }
  return {};
}

}  // namespace tessera::testing
