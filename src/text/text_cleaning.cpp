#include "text/text_cleaning.h"

#include <algorithm>

#include "runtime/error.h"
#include "text/html_entities.h"
#include "text/mojibake.h"
#include "text/unicode.h"

namespace tessera {
namespace {

constexpr int kMostRounds = 512;  // each round shortens or settles the text; real text needs two or three
constexpr std::size_t kLongestSegment = 1'000'000;  // characters that are repaired at once, as in the library

/// Where a segment that begins here ends: behind its line feed, or after so many characters. In: valid UTF-8.
std::size_t segment_end(const std::string& text, std::size_t begin) {
  const auto line = std::min(text.find('\n', begin), text.size() - 1) + 1;
  std::size_t at = begin;
  for (std::size_t count = 0; at < line; ++count) {
    if (count == kLongestSegment) return at;
    ++at;
    while (at < line && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) ++at;
  }
  return line;
}

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
    } else {
      append_utf8(out, code);
    }
  }
  return out;
}

std::u32string without_controls(std::u32string text) {
  std::erase_if(text, is_removed_control);
  return text;
}

/// One line, until nothing changes. markup: character references stay.
std::string repair_line(std::string now, bool markup) {
  for (int round = 0; round < kMostRounds; ++round) {
    const auto unescaped = markup ? now : unescape_closed_html(now);
    const auto mended = repair_characters(mend_misread(decode_utf8(unescaped, "text")));
    auto next = normal_form_c(encode_utf8(without_controls(without_terminal_escapes(decode_utf8(mended, "text")))));
    if (next == now) break;
    now = std::move(next);
  }
  return now;
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
  std::string repaired;
  bool markup = false;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = segment_end(text, begin);
    const auto line = text.substr(begin, end - begin);
    markup = markup || line.find('<') != std::string::npos;
    repaired += repair_line(line, markup);
    begin = end;
  }
  return repaired;
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
