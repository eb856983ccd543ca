#include "data/file_names.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "image/image_io.h"
#include "runtime/bounded_json.h"
#include "text/unicode.h"

namespace tessera {
namespace {

using nlohmann::json;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string ascii_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

std::vector<std::string_view> components_of(std::string_view name) {
  std::vector<std::string_view> components;
  for (std::size_t begin = 0; begin <= name.size();) {
    const auto end = std::min(name.find('/', begin), name.size());
    components.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return components;
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

std::string_view base_name(std::string_view name) {
  return name.substr(name.rfind('/') + 1);
}

std::string_view folder_of(std::string_view name) {
  return name.substr(0, name.rfind('/') + 1);
}

std::string ending_of(std::string_view name) {
  const auto base = base_name(name);
  const auto dot = base.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return {};
  return ascii_lower(base.substr(dot + 1));
}

std::string_view without_ending(std::string_view name) {
  const auto dot = name.rfind('.');
  return dot == std::string_view::npos || dot < folder_of(name).size() ? name : name.substr(0, dot);
}

std::string canonical_name(std::string_view name) {
  std::string slashes(name);
  std::replace(slashes.begin(), slashes.end(), '\\', '/');
  std::vector<std::string_view> kept;
  for (const auto component : components_of(slashes)) {
    if (component.empty() || component == ".") continue;
    if (component == ".." && !kept.empty() && kept.back() != "..") {
      kept.pop_back();
    } else {
      kept.push_back(component);
    }
  }
  std::string joined;
  for (const auto component : kept) {
    if (!joined.empty()) joined.push_back('/');
    joined += component;
  }
  if (const auto ending = ending_of(joined); !ending.empty())
    joined.replace(joined.size() - ending.size(), ending.size(), ending);
  const bool ascii = std::all_of(joined.begin(), joined.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
  return ascii || !is_valid_utf8(joined) ? joined : normal_form_c(joined);
}

bool is_hidden_name(std::string_view name) {
  static const std::set<std::string> leftovers = {"__macosx", "@eadir", "thumbs.db", "desktop.ini"};
  const auto components = components_of(name);
  return std::any_of(components.begin(), components.end(), [](std::string_view component) {
    return (component.starts_with('.') && component != "." && component != "..") ||
           leftovers.contains(ascii_lower(component));
  });
}

bool is_image_name(std::string_view name) {
  return !is_hidden_name(name) && reads_picture_ending(ending_of(name));
}

bool is_metadata_name(std::string_view name) {
  const auto base = ascii_lower(base_name(name));
  return base == "metadata.jsonl" || base == "metadata.csv";
}

bool is_text_name(std::string_view name) {
  if (is_hidden_name(name)) return false;
  static const std::set<std::string> endings = {"txt", "caption", "json", "cls"};
  return is_metadata_name(name) || endings.contains(ending_of(name));
}

bool is_document_name(std::string_view name) {
  static const std::set<std::string> stems = {"readme",      "license", "licence",  "copying",  "notice",
                                              "attribution", "credits", "citation", "changelog"};
  static const std::set<std::string> endings = {"md", "rst", "gitattributes", "gitignore"};
  return stems.contains(ascii_lower(without_ending(base_name(name)))) || endings.contains(ending_of(name));
}

bool is_safe_name(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.front() == '\0') return false;
  const bool drive = name.size() > 2 && name[1] == ':' && (name[2] == '/' || name[2] == '\\') &&
                     ((name[0] >= 'a' && name[0] <= 'z') || (name[0] >= 'A' && name[0] <= 'Z'));
  if (drive) return false;
  const auto components = components_of(name);
  return std::find(components.begin(), components.end(), "..") == components.end();
}

std::string valid_utf8(std::string_view text) {
  return read_json(json(text).dump(-1, ' ', false, json::error_handler_t::replace), "text").get<std::string>();
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xc2 ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    if (length == 0 || length > text.size() - at) return false;
    char32_t code = length == 1 ? lead : lead & (0x7f >> length);
    for (std::size_t i = 1; i < length; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      if ((byte & 0xc0) != 0x80) return false;
      code = (code << 6) | (byte & 0x3f);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
    at += length;
  }
  return true;
}

}  // namespace tessera
