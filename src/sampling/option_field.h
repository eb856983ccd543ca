/// One option of sampling, declared once: flags, JSON schema, range checks, records, suggestions, sweeps and the
/// studio's form follow from it.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>
#include <vector>

namespace tessera {

using OptionValue = std::variant<std::int64_t, double, std::string>;
/// Values by the names of their fields.
using OptionValues = std::map<std::string, OptionValue>;

std::string text_of(const OptionValue& value);
nlohmann::json json_of(const OptionValue& value);

struct OptionField {
  /// What must be chosen for the option to mean something; the fields of a sampler need that sampler as well.
  enum class Needs { nothing, steps, mask, text, classes, condition };

  std::string name;                                     // snake_case, as in JSON and TOML; the flag is --snake-case
  std::string help;                                     // one line: meaning, unit, off-value
  OptionValue fallback;                                 // in force where nobody decides; its type is the option's
  double least = 0, most = 0;                           // of numbers; of a text the most bytes
  bool above_least = false;                             // `least` itself is out of range
  std::vector<std::string> choices = {};                // of a text; empty: any
  std::vector<std::string> (*choices_now)() = nullptr;  // choices that a registry holds
  std::string open = {};    // what decides where it is not given ("by the model"); empty: the fallback
  std::string flags = {};   // as the command line spells it; empty: --name
  std::string config = {};  // its name in a bundle's suggestion; empty: the same
  Needs needs = Needs::nothing;
  bool suggestible = true;  // a bundle may suggest it
  // Of a whole number: the most bytes of a name that may stand for it, which the model knows; 0: numbers alone.
  std::size_t longest_name = 0;
  // The studio's form.
  std::string label = {};           // its words; empty: the name
  double shown_most = 0, step = 0;  // of the slider; 0: most, and 1 or a hundredth of it

  bool is_text() const { return std::holds_alternative<std::string>(fallback); }
  /// true: part of what a fill is conditioned on, not of how it goes.
  bool is_condition() const { return needs == Needs::text || needs == Needs::classes || needs == Needs::condition; }
  bool is_named() const { return longest_name > 0; }
  bool is_whole() const { return std::holds_alternative<std::int64_t>(fallback); }
  std::string flag() const;       // the long one: --top-p
  std::string flag_list() const;  // all: --top-p,--truncation
  std::string config_name() const { return config.empty() ? name : config; }
  /// "0 to 100", "above 0, at most 1", "one of a, b".
  std::string expected() const;

  /// The value, in range and of the option's type. Throws UsageError ("top_p is 3, expected above 0, at most 1").
  OptionValue checked(const OptionValue& value) const;
  /// The same of a JSON value or of a word typed.
  OptionValue from_json(const nlohmann::json& value) const;
  OptionValue from_text(const std::string& text) const;
  /// The option as a JSON schema.
  nlohmann::json schema() const;
  /// What a form needs to show it.
  nlohmann::json form() const;
};

}  // namespace tessera
