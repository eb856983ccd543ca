/// The JSON options of a call, read once and in full: what no one has asked for is an error that names it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "runtime/fields.h"
#include "sampling/sampling_options.h"

namespace tessera::library {

class Arguments {
 public:
  /// In: a JSON object, null or "". Throws UsageError on any other text.
  explicit Arguments(const char* text);

  bool has(const std::string& name) const { return options_.contains(name) && !options_[name].is_null(); }
  /// Each throws UsageError naming the option where its value is of another type or out of range.
  std::int64_t whole(const std::string& name, std::int64_t otherwise, std::int64_t least, std::int64_t most);
  double number(const std::string& name, double otherwise, double least, double most);
  bool flag(const std::string& name, bool otherwise = false);
  std::string text(const std::string& name, const std::string& otherwise = {});
  std::vector<std::string> texts(const std::string& name);
  std::uint64_t seed();  // "seed", 0 where it is not given
  /// All options of sampling that were given.
  SamplingOptions sampling();
  /// Values of a recipe's fields that were given, written to them.
  void write_to(const Fields& fields);

  /// To be called last. Throws UsageError naming an option that was given and that nobody has asked for.
  void require_all_taken() const;

 private:
  /// The value, marked as taken; null where it is not given.
  const nlohmann::json& take(const std::string& name);

  nlohmann::json options_;
  std::set<std::string> known_;  // what was asked for
};

}  // namespace tessera::library
