/// What a user may choose of a fill, by one list of fields: the samplers' registry and the conditions make it.
#pragma once

#include <concepts>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sampling/option_field.h"

namespace tessera {

struct SamplerEntry;

/// The options that were given; what is not given is decided by the model, else as the field says.
class SamplingOptions {
 public:
  /// Every option there is: general ones, each sampler's own, those of conditions.
  static std::vector<OptionField> fields();
  /// Throws UsageError listing the names.
  static OptionField field(const std::string& name);

  bool empty() const { return given_.empty(); }
  bool has(const std::string& name) const { return given_.count(name) > 0; }
  const OptionValues& given() const { return given_; }
  /// Value: std::int64_t, double or std::string, as the field's type is. Out: the fallback where it is not given.
  template <typename Value>
  Value get(const std::string& name) const {
    const auto found = given_.find(name);
    return std::get<Value>(found != given_.end() ? found->second : field(name).fallback);
  }
  /// The same of an option that may be of two types, a number or a name.
  OptionValue value(const std::string& name) const {
    const auto found = given_.find(name);
    return found != given_.end() ? found->second : field(name).fallback;
  }
  template <typename Value>
  std::optional<Value> maybe(const std::string& name) const {
    const auto found = given_.find(name);
    return found != given_.end() ? std::optional<Value>(std::get<Value>(found->second)) : std::nullopt;
  }

  /// Throws UsageError where there is no such field, or the value is out of its range.
  SamplingOptions& set(const std::string& name, const OptionValue& value);
  SamplingOptions& set(const std::string& name, const char* value) {
    return set(name, OptionValue(std::string(value)));
  }
  SamplingOptions& set(const std::string& name, double value) { return set(name, OptionValue(value)); }
  template <std::integral Whole>
  SamplingOptions& set(const std::string& name, Whole value) {
    return set(name, OptionValue(static_cast<std::int64_t>(value)));
  }
  void erase(const std::string& name) { given_.erase(name); }
  /// Drops what only some samplers or processes take: what is left can be asked of any.
  void keep_common();

  /// Those given.
  nlohmann::json to_json() const;
  /// Equal where the same was given.
  std::string key() const;
  bool operator==(const SamplingOptions&) const = default;

  /// Whether the sampler uses the option, given a model that has what it needs.
  static bool is_used(const OptionField& field, const SamplerEntry& sampler);
  /// Throws UsageError naming an option that was given, says other than its fallback, and that the sampler or the
  /// model's condition ("none", "text", "class") does not use. has_mask: of the model's process.
  void require_used(const SamplerEntry& sampler, const std::string& condition, bool has_mask) const;

 private:
  /// Why the guidance schedule chosen has no use for the option; empty: it has, or it is no schedule's.
  std::string unused_by_guidance(const std::string& name) const;

  OptionValues given_;
};

}  // namespace tessera
