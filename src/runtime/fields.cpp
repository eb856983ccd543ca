#include "runtime/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

namespace tessera {

std::string Field::flag() const {
  std::string text = "--" + name;
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

std::string value_text(const Field& field) {
  return std::visit(
      [](const auto* value) -> std::string {
        using Value = std::decay_t<decltype(*value)>;
        if constexpr (std::is_same_v<Value, std::vector<std::int64_t>>) {
          return fmt::format("[{}]", fmt::join(*value, ", "));
        } else {
          return fmt::format("{}", *value);
        }
      },
      field.target);
}

}  // namespace tessera
