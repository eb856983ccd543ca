#include "denoiser/class_names.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

constexpr const char* kField = "id2label";
constexpr std::size_t kMostListed = 20;  // names in a message

std::string listed(const std::vector<std::string>& names) {
  std::vector<std::string> some;
  for (const auto& name : std::span(names).first(std::min(names.size(), kMostListed))) some.push_back(printable(name));
  const auto more = names.size() - some.size();
  return fmt::format("{}{}", fmt::join(some, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

}  // namespace

std::vector<std::string> class_names_from_config(const nlohmann::json& config, std::int64_t classes,
                                                 const std::string& where) {
  const auto found = config.find(kField);
  if (classes == 0 || found == config.end() || found->is_null()) return {};
  require(found->is_object() && found->size() == static_cast<std::size_t>(classes),
          "{}: {} has {}, expected a name for each of the {} classes", where, kField,
          found->is_object() ? fmt::format("{} names", found->size()) : std::string("no names"), classes);
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (std::int64_t label = 0; label < classes; ++label) {
    const auto name = found->find(std::to_string(label));
    require(name != found->end() && name->is_string(), "{}: {} has no text for class {}", where, kField, label);
    names.push_back(name->get<std::string>());
    require(!names.back().empty() && names.back().size() <= kLongestClassName,
            "{}: {}: the name of class {} has {} bytes, expected 1 to {}", where, kField, label, names.back().size(),
            kLongestClassName);
    require(seen.insert(names.back()).second, "{}: {}: two classes are called '{}'", where, kField,
            printable(names.back()));
  }
  return names;
}

void put_class_names(const std::vector<std::string>& names, nlohmann::json& config) {
  bool numbers = true;
  for (std::size_t label = 0; label < names.size(); ++label) numbers = numbers && names[label] == std::to_string(label);
  if (numbers) return;
  auto field = nlohmann::json::object();
  for (std::size_t label = 0; label < names.size(); ++label) field[std::to_string(label)] = names[label];
  config[kField] = std::move(field);
}

std::vector<std::int64_t> labels_for_model(const std::vector<std::int64_t>& labels,
                                           const std::vector<std::string>& data_names,
                                           const std::vector<std::string>& names, std::int64_t classes,
                                           const std::string& where) {
  std::map<std::int64_t, std::int64_t> known = {{-1, -1}};
  const auto number_of = [&](std::int64_t label) {
    auto number = label;
    if (!names.empty() && !data_names.empty()) {
      const auto& name = data_names.at(static_cast<std::size_t>(label));
      const auto found = std::find(names.begin(), names.end(), name);
      require(found != names.end(), "{}: its class '{}' is not among the model's, expected one of {}", where,
              printable(name), listed(names));
      number = found - names.begin();
    }
    require(number < classes, "{}: class {}, expected less than {}, the model's classes", where, number, classes);
    return number;
  };
  std::vector<std::int64_t> result;
  for (const auto label : labels) {
    const auto found = known.find(label);
    result.push_back(found != known.end() ? found->second : known.emplace(label, number_of(label)).first->second);
  }
  return result;
}

std::int64_t class_named(const std::string& name, const std::vector<std::string>& names, std::int64_t classes) {
  for (std::size_t label = 0; label < names.size(); ++label) {
    if (names[label] == name) return static_cast<std::int64_t>(label);
  }
  for (std::int64_t label = 0; names.empty() && label < classes; ++label) {
    if (std::to_string(label) == name) return label;
  }
  const auto numbers = fmt::format("a number from 0 to {}", classes - 1);
  throw UsageError(fmt::format("class is '{}', expected {}", printable(name),
                               names.empty() ? numbers : fmt::format("one of {}, or {}", listed(names), numbers)));
}

}  // namespace tessera
