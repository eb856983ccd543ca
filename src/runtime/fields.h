/// One list of fields drives an option struct's TOML, JSON, command-line flags, help and defaults.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace tessera {

/// A named member of an option struct.
struct Field {
  using Target = std::variant<bool*, std::int64_t*, double*, std::string*, std::vector<std::int64_t>*>;
  std::string name;  // as in TOML and JSON: snake_case; the flag is --snake-case
  std::string help;  // one line: meaning, unit, off-value
  Target target;

  /// `base_lr` -> `--base-lr`.
  std::string flag() const;
};

using Fields = std::vector<Field>;

/// The current value as text, for logs and error messages.
std::string value_text(const Field& field);

}  // namespace tessera
