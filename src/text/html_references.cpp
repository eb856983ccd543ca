#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <sstream>

#include "text/html_entities.h"
#include "text/unicode.h"

namespace tessera {
namespace {

constexpr std::size_t kLongestName = 33;

const std::map<std::string, std::string, std::less<>>& entities() {
  static const auto table = [] {
    std::map<std::string, std::string, std::less<>> names;
    for (const auto* block = kHtmlEntities; *block != nullptr; ++block) {
      std::istringstream lines{std::string(*block)};
      for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string name, code, value;
        fields >> name;
        while (fields >> code) append_utf8(value, static_cast<char32_t>(std::stoul(code, nullptr, 16)));
        if (!name.empty()) names.emplace(name, value);
      }
    }
    return names;
  }();
  return table;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hexadecimal(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

std::string small_letters(std::string text) {
  for (auto& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}
std::string upper_letters(std::string text) {
  for (auto& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

/// What a numeric reference stands for, as the standard's table and rules have it.
std::string numeric_value(std::uint64_t code) {
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return "\xEF\xBF\xBD";
  const bool noncharacter = (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
  const bool control = (code < 0x20 && code != '\t' && code != '\n' && code != '\f' && code != '\r') || code == 0x7F;
  std::string value;
  if (code >= 0x80 && code <= 0x9F) {
    append_utf8(value, windows_1252(static_cast<unsigned char>(code)));
  } else if (!noncharacter && !control) {
    append_utf8(value, static_cast<char32_t>(code));
  }
  return value;
}

/// A numeric reference at `at` (after "&#"): its value and where it ends; false if there are no digits.
bool read_number(const std::string& text, std::size_t& at, std::string& value) {
  const bool hexadecimal = at < text.size() && (text[at] == 'x' || text[at] == 'X');
  auto end = at + (hexadecimal ? 1 : 0);
  const auto begin = end;
  while (end < text.size() && (hexadecimal ? is_hexadecimal(text[end]) : is_digit(text[end]))) ++end;
  if (end == begin) return false;
  std::uint64_t code = 0;
  if (std::from_chars(text.data() + begin, text.data() + end, code, hexadecimal ? 16 : 10).ec != std::errc()) {
    code = 0x110000;
  }
  value = numeric_value(code);
  at = end;
  return true;
}

}  // namespace

std::string unescape_html(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '&') {
      out += text[at++];
      continue;
    }
    std::string value;
    auto end = at + 1;
    if (end < text.size() && text[end] == '#') {
      ++end;
      if (read_number(text, end, value)) {
        out += value;
        at = end + (end < text.size() && text[end] == ';' ? 1 : 0);
        continue;
      }
    } else {
      const std::string_view rest(text.data() + end, std::min(text.size() - end, kLongestName));
      auto length = rest.size();
      for (; length > 1; --length) {
        const auto found = entities().find(rest.substr(0, length));
        if (found == entities().end()) continue;
        value = found->second;
        break;
      }
      if (length > 1) {
        out += value;
        at = end + length;
        continue;
      }
    }
    out += text[at++];
  }
  return out;
}

std::string unescape_closed_html(const std::string& text) {
  constexpr std::size_t kLongest = 24;
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text[at] == '&' ? text.find(';', at) : std::string::npos;
    const auto body = end == std::string::npos ? std::string() : text.substr(at + 1, end - at - 1);
    const auto letters = body.starts_with('#') ? body.substr(1) : body;
    const bool plain =
        !letters.empty() && letters.size() <= kLongest &&
        std::all_of(letters.begin(), letters.end(), [](unsigned char c) { return c < 128 && std::isalnum(c); });
    if (!plain) {
      out += text[at++];
      continue;
    }
    const auto whole = text.substr(at, end - at + 1);
    auto value = whole;
    if (body.starts_with('#')) {
      value = unescape_html(whole);
      if (value.find(';') != std::string::npos) value = whole;  // as the library: a semicolon is never the result
    } else if (const auto found = entities().find(body + ";"); found != entities().end()) {
      value = found->second;
    } else if (const auto small = small_letters(body); upper_letters(small) == body && unescape_html(whole) == whole) {
      // "&EACUTE;", "&FRAC14;": the capital of what the small name stands for, where browsers know no beginning of it.
      if (const auto named = entities().find(small + ";"); named != entities().end()) value = upper_case(named->second);
    }
    out += value;
    at = end + 1;
  }
  return out;
}

}  // namespace tessera
