#include "data/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::string_view kMetadata = "metadata.jsonl";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view base_name(std::string_view name) {
  return name.substr(name.rfind('/') + 1);
}
std::string_view folder_of(std::string_view name) {  // with its '/', or empty
  return name.substr(0, name.rfind('/') + 1);
}

std::string lower_extension(std::string_view name) {
  const auto base = base_name(name);
  const auto dot = base.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return {};
  std::string extension(base.substr(dot + 1));
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

std::string without_extension(std::string_view name) {
  return std::string(name.substr(0, name.rfind('.')));
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return std::string(text);
}

bool is_whole_number(std::string_view text) {
  return !text.empty() && text.size() <= 9 && std::all_of(text.begin(), text.end(), is_digit);
}

/// Takes caption and label out of a JSON object; the rest stay fields.
void take_fields(json object, CatalogueItem& item) {
  for (const char* name : {"text", "caption"}) {
    if (object.contains(name) && object[name].is_string()) {
      item.caption = object[name].get<std::string>();
      object.erase(name);
      break;
    }
  }
  if (object.contains("label") && object["label"].is_string()) {
    item.label = object["label"].get<std::string>();
    object.erase("label");
  } else if (object.contains("label") && object["label"].is_number_unsigned()) {
    item.label = std::to_string(object["label"].get<std::uint64_t>());
    item.label_is_number = true;
    object.erase("label");
  }
  item.fields = object.dump(-1, ' ', false, json::error_handler_t::replace);
}

using Index = std::unordered_map<std::string, std::size_t>;  // image name -> item

void join_metadata(const std::string& name, const std::string& text, const Index& index, Catalogue& catalogue,
                   std::vector<bool>& described) {
  std::size_t line_number = 0;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto line = trimmed(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    ++line_number;
    if (line.empty()) continue;
    const auto where = fmt::format("{}:{}", printable(name), line_number);
    auto object = json::parse(line, nullptr, false);
    if (!object.is_object()) {
      catalogue.problems.push_back(where + ": not a JSON object");
      continue;
    }
    const auto file = object.find("file_name");
    if (file == object.end() || !file->is_string()) {
      catalogue.problems.push_back(where + ": no file_name");
      continue;
    }
    const auto image = std::string(folder_of(name)) + file->get<std::string>();
    const auto found = index.find(image);
    if (found == index.end()) {
      catalogue.problems.push_back(fmt::format("{}: file '{}' is missing", where, printable(image)));
      continue;
    }
    if (described[found->second]) {
      catalogue.problems.push_back(fmt::format("{}: file '{}' is described twice", where, printable(image)));
      continue;
    }
    described[found->second] = true;
    object.erase("file_name");
    take_fields(std::move(object), catalogue.items[found->second]);
  }
}

void join_companions(const CatalogueInput& input, CatalogueItem& item, std::vector<std::string>& problems) {
  const auto stem = without_extension(item.name);
  if (const auto found = input.texts.find(stem + ".json"); found != input.texts.end()) {
    auto object = json::parse(found->second, nullptr, false);
    if (object.is_object()) {
      take_fields(std::move(object), item);
    } else {
      problems.push_back(printable(found->first) + ": not a JSON object");
    }
  }
  if (const auto found = input.texts.find(stem + ".txt"); found != input.texts.end()) {
    item.caption = trimmed(valid_utf8(found->second));
  }
  if (const auto found = input.texts.find(stem + ".cls"); found != input.texts.end()) {
    item.label = trimmed(valid_utf8(found->second));
    item.label_is_number = is_whole_number(item.label);
  }
}

/// Class sub-folders: the first folder below those that all images share. One folder for all is no class.
void label_by_folder(std::vector<CatalogueItem>& items) {
  if (items.empty()) return;
  std::string_view shared = folder_of(items.front().name);
  for (const auto& item : items) {
    while (!std::string_view(item.name).starts_with(shared)) {
      shared.remove_suffix(1);
      shared = folder_of(shared);
    }
  }
  const std::size_t skip = shared.size();
  const auto in_folder = [&](const CatalogueItem& item) { return item.name.find('/', skip) != std::string::npos; };
  if (!std::all_of(items.begin(), items.end(), in_folder)) return;
  for (auto& item : items) item.label = item.name.substr(skip, item.name.find('/', skip) - skip);
}

}  // namespace

bool natural_less(std::string_view left, std::string_view right) {
  std::size_t i = 0, j = 0;
  while (i < left.size() && j < right.size()) {
    if (is_digit(left[i]) && is_digit(right[j])) {
      const auto run = [](std::string_view text, std::size_t& at) {
        while (at < text.size() && text[at] == '0') ++at;
        const std::size_t begin = at;
        while (at < text.size() && is_digit(text[at])) ++at;
        return text.substr(begin, at - begin);
      };
      const auto first = run(left, i);
      const auto second = run(right, j);
      if (first.size() != second.size()) return first.size() < second.size();
      if (const int order = first.compare(second); order != 0) return order < 0;
    } else {
      if (left[i] != right[j]) return static_cast<unsigned char>(left[i]) < static_cast<unsigned char>(right[j]);
      ++i, ++j;
    }
  }
  if (left.size() - i != right.size() - j) return left.size() - i < right.size() - j;
  return left < right;  // the same but for leading zeros
}

bool is_image_name(std::string_view name) {
  static const std::set<std::string> extensions = {"png", "jpg", "jpeg", "webp", "tif", "tiff", "gif"};
  return !base_name(name).starts_with('.') && !name.starts_with("__MACOSX/") &&
         extensions.contains(lower_extension(name));
}

bool is_text_name(std::string_view name) {
  if (base_name(name).starts_with('.') || name.starts_with("__MACOSX/")) return false;
  const auto extension = lower_extension(name);
  return base_name(name) == kMetadata || extension == "txt" || extension == "json" || extension == "cls";
}

bool is_safe_name(std::string_view name) {
  if (name.empty() || name.front() == '/' || (name.size() > 1 && name[1] == ':')) return false;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == 0x7f) return false;
  }
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const auto end = std::min(name.find('/', begin), name.size());
    if (name.substr(begin, end - begin) == "..") return false;
    begin = end + 1;
  }
  return true;
}

std::string valid_utf8(std::string_view text) {
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

Catalogue make_catalogue(const CatalogueInput& input) {
  Catalogue catalogue;
  for (std::size_t i = 0; i < input.names.size(); ++i) {
    if (!is_image_name(input.names[i])) continue;
    if (!is_safe_name(input.names[i])) {
      catalogue.problems.push_back(printable(input.names[i]) + ": a name that leaves its folder");
      continue;
    }
    catalogue.items.push_back({.file = i, .name = input.names[i], .caption = {}, .label = {}, .fields = "{}"});
  }
  auto& items = catalogue.items;
  std::stable_sort(items.begin(), items.end(),
                   [](const auto& left, const auto& right) { return natural_less(left.name, right.name); });
  const auto last = std::unique(items.begin(), items.end(), [&](const auto& left, const auto& right) {
    if (left.name != right.name) return false;
    catalogue.problems.push_back(printable(right.name) + ": more than once, the first is taken");
    return true;
  });
  items.erase(last, items.end());

  const bool has_metadata = std::any_of(input.texts.begin(), input.texts.end(),
                                        [](const auto& text) { return base_name(text.first) == kMetadata; });
  if (!has_metadata) {
    if (input.folders_are_classes) label_by_folder(items);
    for (auto& item : items) join_companions(input, item, catalogue.problems);
    return catalogue;
  }
  Index index;
  for (std::size_t i = 0; i < items.size(); ++i) index.emplace(items[i].name, i);
  std::vector<bool> described(items.size(), false);
  for (const auto& [name, text] : input.texts) {
    if (base_name(name) == kMetadata) join_metadata(name, text, index, catalogue, described);
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!described[i])
      catalogue.problems.push_back(printable(items[i].name) + ": not in metadata.jsonl, kept without caption");
  }
  return catalogue;
}

}  // namespace tessera
