#include "text/text_cleaning.h"

#include <map>

#include "runtime/error.h"
#include "text/html_entities.h"
#include "text/unicode.h"

namespace tessera {
namespace {

constexpr int kMostRounds = 64;  // each round shortens or settles the text; real text needs two or three

/// Runs of white space become one blank; none at the ends.
std::string collapse_white_space(const std::string& text) {
  std::string out;
  bool pending = false;
  for (const auto code : decode_utf8(text, "text")) {
    if (is_white_space(code)) {
      pending = true;
      continue;
    }
    if (pending && !out.empty()) out += ' ';
    pending = false;
    append_utf8(out, code);
  }
  return out;
}

/// "ESC [ numbers letter".
std::u32string without_terminal_escapes(const std::u32string& text) {
  std::u32string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == 0x1B && at + 1 < text.size() && text[at + 1] == '[') {
      auto end = at + 2;
      while (end < text.size() && ((text[end] >= '0' && text[end] <= '9') || text[end] == ';')) ++end;
      if (end < text.size() && ((text[end] >= 'a' && text[end] <= 'z') || (text[end] >= 'A' && text[end] <= 'Z'))) {
        at = end;
        continue;
      }
    }
    out += text[at];
  }
  return out;
}

/// The byte that windows-1252 has for a character; -1 for none.
int byte_of(char32_t code) {
  static const auto table = [] {
    std::map<char32_t, int> bytes;
    for (int byte = 0x80; byte < 0x100; ++byte) {
      bytes[windows_1252(static_cast<unsigned char>(byte))] = byte;
      bytes[static_cast<char32_t>(byte)] = byte;
    }
    return bytes;
  }();
  const auto found = table.find(code);
  return found == table.end() ? -1 : found->second;
}

/// UTF-8 read as windows-1252, where the first characters leave no doubt.
std::u32string reread(const std::u32string& text) {
  std::u32string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto first = text[at];
    const auto second = at + 1 < text.size() ? text[at + 1] : 0;
    std::size_t length = 0;
    if (first == 0xC2 || first == 0xC3) length = 2;
    if (first == 0xE2 && second == 0x20AC) length = 3;
    if (first == 0xF0 && (second == 0x178 || second == 0x9F)) length = 4;
    std::string bytes;
    for (std::size_t i = 0; i < length && at + i < text.size(); ++i) {
      const int byte = byte_of(text[at + i]);
      if (byte < 0 || (i > 0 && (byte & 0xC0) != 0x80)) break;
      bytes += static_cast<char>(byte);
    }
    // A capital A with tilde before a no-break space may end a Portuguese word.
    const bool doubtful = first == 0xC3 && second == 0xA0;
    if (length == 0 || bytes.size() != length || doubtful) {
      out += first;
      continue;
    }
    out += decode_utf8(bytes, "text");
    at += length - 1;
  }
  return out;
}

const char* ligature(char32_t code) {
  switch (code) {
    case 0x132:
      return "IJ";
    case 0x133:
      return "ij";
    case 0x149:
      return "\xCA\xBCn";
    case 0x1F1:
      return "DZ";
    case 0x1F2:
      return "Dz";
    case 0x1F3:
      return "dz";
    case 0x1C4:
      return "D\xC5\xBD";
    case 0x1C5:
      return "D\xC5\xBE";
    case 0x1C6:
      return "d\xC5\xBE";
    case 0x1C7:
      return "LJ";
    case 0x1C8:
      return "Lj";
    case 0x1C9:
      return "lj";
    case 0x1CA:
      return "NJ";
    case 0x1CB:
      return "Nj";
    case 0x1CC:
      return "nj";
    case 0xFB00:
      return "ff";
    case 0xFB01:
      return "fi";
    case 0xFB02:
      return "fl";
    case 0xFB03:
      return "ffi";
    case 0xFB04:
      return "ffl";
    case 0xFB05:
      return "\xC5\xBFt";
    case 0xFB06:
      return "st";
    default:
      return nullptr;
  }
}

bool is_removed_control(char32_t code) {
  return code < 9 || code == 0xB || (code >= 0xE && code <= 0x1F) || code == 0x7F ||
         (code >= 0x206A && code <= 0x206F) || code == 0xFEFF || (code >= 0xFFF9 && code <= 0xFFFC);
}

/// The repairs that go character by character.
std::string repair_characters(const std::u32string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto code = text[at];
    if (code >= 0x80 && code <= 0x9F) code = windows_1252(static_cast<unsigned char>(code));
    if (const auto* letters = ligature(code)) {
      out += letters;
    } else if (code == 0x3000) {
      out += ' ';
    } else if (code >= 0xFF01 && code <= 0xFFEF) {
      std::string wide;
      append_utf8(wide, code);
      out += normal_form_kc(wide);
    } else if (code == 0x2BC || (code >= 0x2018 && code <= 0x201B)) {
      out += '\'';
    } else if (code >= 0x201C && code <= 0x201F) {
      out += '"';
    } else if (code == '\r') {
      if (at + 1 >= text.size() || text[at + 1] != '\n') out += '\n';
    } else if (code == 0x2028 || code == 0x2029 || code == 0x85) {
      out += '\n';
    } else if (!is_removed_control(code)) {
      append_utf8(out, code);
    }
  }
  return out;
}

}  // namespace

TextCleaning text_cleaning_from(const std::string& name) {
  if (name == "original") return TextCleaning::original;
  if (name == "plain") return TextCleaning::plain;
  if (name == "repaired") return TextCleaning::repaired;
  fail("text cleaning '{}': expected one of original, plain, repaired", name);
}

std::string name_of(TextCleaning cleaning) {
  return cleaning == TextCleaning::original ? "original" : cleaning == TextCleaning::plain ? "plain" : "repaired";
}

std::string repair_text(const std::string& text) {
  const bool markup = text.find('<') != std::string::npos;
  auto now = text;
  for (int round = 0; round < kMostRounds; ++round) {
    const auto unescaped = markup ? now : unescape_closed_html(now);
    auto next = normal_form_c(repair_characters(reread(without_terminal_escapes(decode_utf8(unescaped, "text")))));
    if (next == now) break;
    now = std::move(next);
  }
  return now;
}

std::string clean_text(const std::string& text, TextCleaning cleaning) {
  switch (cleaning) {
    case TextCleaning::plain:
      return lower_case(collapse_white_space(normal_form_c(text)));
    case TextCleaning::repaired:
      return lower_case(collapse_white_space(repair_text(text)));
    case TextCleaning::original:
      break;
  }
  return lower_case(collapse_white_space(unescape_html(unescape_html(repair_text(lower_case(text))))));
}

}  // namespace tessera
