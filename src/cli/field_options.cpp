#include "cli/field_options.h"

#include <memory>

namespace tessera::cli {

std::function<void()> add_field_options(CLI::App& app, const Fields& fields, const std::string& group) {
  std::vector<std::function<void()>> apply;
  for (const auto& field : fields) {
    std::visit(
        [&](auto* target) {
          using Value = std::decay_t<decltype(*target)>;
          auto typed = std::make_shared<Value>(*target);
          CLI::Option* option = nullptr;
          const auto help = field.help + " [" + value_text(field) + "]";
          if constexpr (std::is_same_v<Value, std::vector<std::int64_t>>) {
            option = app.add_option(field.flag(), *typed, help)->delimiter(',')->expected(0, 16);
          } else if constexpr (std::is_same_v<Value, bool>) {
            option = app.add_flag(field.flag() + ",!--no-" + field.flag().substr(2), *typed, help);
          } else {
            option = app.add_option(field.flag(), *typed, help);
          }
          option->group(group);
          apply.push_back([option, typed, target] {
            if (option->count() > 0) *target = *typed;
          });
        },
        field.target);
  }
  return [apply] {
    for (const auto& each : apply) each();
  };
}

}  // namespace tessera::cli
