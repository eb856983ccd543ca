#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "runtime/error.h"
#include "text/single_byte_encodings.h"

namespace tessera {
namespace {

utf8proc_category_t category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

/// Property Cased: letters with case, and the few others of Other_Lowercase and Other_Uppercase.
bool is_cased(char32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      break;
  }
  return code == 0xAA || code == 0xBA || (code >= 0x2B0 && code <= 0x2B8) || (code >= 0x2C0 && code <= 0x2C1) ||
         (code >= 0x2E0 && code <= 0x2E4) || code == 0x345 || code == 0x37A || (code >= 0x1D2C && code <= 0x1D6A) ||
         code == 0x1D78 || (code >= 0x1D9B && code <= 0x1DBF) || code == 0x2071 || code == 0x207F ||
         (code >= 0x2090 && code <= 0x209C) || (code >= 0x2160 && code <= 0x217F) ||
         (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x2C7C && code <= 0x2C7D) ||
         (code >= 0xA69C && code <= 0xA69D) || code == 0xA770 || (code >= 0xA7F8 && code <= 0xA7F9) ||
         (code >= 0xAB5C && code <= 0xAB5F) || (code >= 0x1F130 && code <= 0x1F149) ||
         (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189);
}

/// Property Case_Ignorable.
bool is_case_ignorable(char32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      break;
  }
  switch (code) {  // word breaks MidLetter, MidNumLet and Single_Quote
    case '\'':
    case '.':
    case ':':
    case 0xB7:
    case 0x387:
    case 0x55F:
    case 0x5F4:
    case 0x2018:
    case 0x2019:
    case 0x2024:
    case 0x2027:
    case 0xFE13:
    case 0xFE52:
    case 0xFE55:
    case 0xFF07:
    case 0xFF0E:
    case 0xFF1A:
      return true;
    default:
      return false;
  }
}

/// Final_Sigma of SpecialCasing.txt: a cased letter before, none after, case-ignorable characters not counted.
bool is_final_sigma(const std::u32string& text, std::size_t at) {
  auto before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  auto after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

std::string mapped(const std::string& text, int options) {
  utf8proc_uint8_t* result = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &result, static_cast<utf8proc_option_t>(options));
  require(length >= 0, "text: cannot be normalised: {}", utf8proc_errmsg(length));
  std::string out(reinterpret_cast<const char*>(result), static_cast<std::size_t>(length));
  std::free(result);  // NOLINT: utf8proc's contract
  return out;
}

}  // namespace

std::u32string decode_utf8(std::string_view text, const std::string& what) {
  std::u32string out;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = -1;
    const auto length = utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    require(length > 0, "{}: byte {} (0x{:02x}) is no UTF-8", what, at, bytes[at]);
    out += static_cast<char32_t>(code);
    at += static_cast<std::size_t>(length);
  }
  return out;
}

void append_utf8(std::string& out, char32_t code) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes.data());
  out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length));
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  for (const auto code : text) append_utf8(out, code);
  return out;
}

bool is_letter(char32_t code) {
  const auto found = category(code);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t code) {
  const auto found = category(code);
  return found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO;
}

bool is_white_space(char32_t code) {
  return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

std::string lower_case(const std::string& text) {
  const auto codes = decode_utf8(text, "text");
  std::string out;
  for (std::size_t at = 0; at < codes.size(); ++at) {
    if (codes[at] == 0x130) {
      out += "i\xCC\x87";
    } else if (codes[at] == 0x3A3) {
      append_utf8(out, is_final_sigma(codes, at) ? 0x3C2 : 0x3C3);
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(codes[at]))));
    }
  }
  return out;
}

std::string upper_case(const std::string& text) {
  // SpecialCasing.txt: Latin letters whose capital is several.
  constexpr std::array<std::pair<char32_t, const char*>, 7> several = {{{0xDF, "SS"},
                                                                        {0x149, "\xCA\xBCN"},
                                                                        {0xFB00, "FF"},
                                                                        {0xFB01, "FI"},
                                                                        {0xFB02, "FL"},
                                                                        {0xFB03, "FFI"},
                                                                        {0xFB04, "FFL"}}};
  std::string out;
  for (const auto code : decode_utf8(text, "text")) {
    const auto* found =
        std::find_if(several.begin(), several.end(), [&](const auto& each) { return each.first == code; });
    if (found != several.end()) {
      out += found->second;
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
    }
  }
  return out;
}

std::string normal_form_c(const std::string& text) {
  return mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
}

std::string normal_form_kc(const std::string& text) {
  return mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
}

char32_t windows_1252(unsigned char byte) {
  static const auto& encoding = single_byte_encoding("windows-1252");
  return encoding.code_of(byte);
}

}  // namespace tessera
