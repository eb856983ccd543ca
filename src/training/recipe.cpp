#include "training/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "training/bounded_toml.h"

namespace tessera {
namespace {

constexpr const char* kTables[] = {"codec", "prior", "pixels"};

void assign(const toml::node& node, const Field& field, const std::string& where) {
  std::visit(
      [&](auto* target) {
        using Value = std::decay_t<decltype(*target)>;
        if constexpr (std::is_same_v<Value, std::vector<std::int64_t>>) {
          const auto* array = node.as_array();
          require(array != nullptr, "{}: expected an array of whole numbers", where);
          target->clear();
          for (const auto& element : *array) {
            const auto number = element.value_exact<std::int64_t>();
            require(number.has_value(), "{}: expected an array of whole numbers", where);
            target->push_back(*number);
          }
        } else {
          // A whole number will do for a real one, nothing else is converted.
          std::optional<Value> value;
          if constexpr (std::is_same_v<Value, double>) {
            value = node.is_number() ? node.value<double>() : std::nullopt;
          } else {
            value = node.value_exact<Value>();
          }
          require(value.has_value(), "{}: expected a value such as {}", where, value_text(field));
          *target = *value;
        }
      },
      field.target);
}

}  // namespace

void read_recipe(const std::filesystem::path& file, const std::string& table, const Fields& fields) {
  const auto text = read_file(file, std::uint64_t{1} << 20);
  const auto recipe = read_toml(text, file.string());
  for (const auto& [key, node] : recipe) {
    const auto name = std::string(key.str());
    require(std::find(std::begin(kTables), std::end(kTables), name) != std::end(kTables) && node.is_table(),
            "{}: '{}': expected the tables [codec] and [prior]", file.string(), name);
  }
  const auto* own = recipe.get_as<toml::table>(table);
  if (own == nullptr) return;
  for (const auto& [key, node] : *own) {
    const auto name = std::string(key.str());
    const auto found =
        std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.name == name; });
    if (found == fields.end()) {
      std::string choices;
      for (const auto& field : fields) choices += (choices.empty() ? "" : ", ") + field.name;
      fail("{}:{}: [{}] has no '{}': expected one of {}", file.string(), node.source().begin.line, table, name,
           choices);
    }
    assign(node, *found, fmt::format("{}:{}: {}", file.string(), node.source().begin.line, name));
  }
}

std::string recipe_text(const std::vector<std::pair<std::string, Fields>>& tables, const std::string& comment) {
  constexpr std::size_t kCommentColumn = 40;
  std::string text;
  std::istringstream lines(comment);
  for (std::string line; std::getline(lines, line);) text += line.empty() ? "#\n" : "# " + line + "\n";
  for (const auto& [table, fields] : tables) {
    text += "\n[" + table + "]\n";
    for (const auto& field : fields) {
      toml::array values;
      auto line = field.name + " = " +
                  std::visit(
                      [&](const auto* value) {
                        using Value = std::decay_t<decltype(*value)>;
                        std::ostringstream out;
                        if constexpr (std::is_same_v<Value, std::vector<std::int64_t>>) {
                          for (const auto number : *value) values.push_back(number);
                          out << values;
                        } else {
                          out << toml::value<Value>(*value);
                        }
                        return out.str();
                      },
                      field.target);
      if (line.size() < kCommentColumn) line.resize(kCommentColumn, ' ');
      text += line + "  # " + field.help + "\n";
    }
  }
  return text;
}

nlohmann::json to_json(const Fields& fields) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& field : fields) {
    std::visit([&](const auto* value) { object[field.name] = *value; }, field.target);
  }
  return object;
}

}  // namespace tessera
