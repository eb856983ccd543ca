/// What the tokenizer needs of Unicode: decoding, character classes, case, normal forms. Property tables: utf8proc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tessera {

/// The code points of a text. Throws Error naming `what` and the byte where the text is no UTF-8 (also: overlong forms,
/// surrogates, beyond U+10FFFF).
std::u32string decode_utf8(std::string_view text, const std::string& what);
void append_utf8(std::string& out, char32_t code);
std::string encode_utf8(std::u32string_view text);

bool is_letter(char32_t code);       // general category L*
bool is_number(char32_t code);       // general category N*
bool is_white_space(char32_t code);  // property White_Space

/// Full lower case of a valid UTF-8 text: with the final form of sigma, and U+0130 as i with a dot above.
/// The Unicode Standard, section 3.13, and SpecialCasing.txt.
std::string lower_case(const std::string& text);
/// Upper case, character by character; of the letters of several capitals the Latin ones alone (sharp s: SS).
std::string upper_case(const std::string& text);

/// Normal forms C and KC of a valid UTF-8 text.
std::string normal_form_c(const std::string& text);
std::string normal_form_kc(const std::string& text);

/// The character that a byte stands for in windows-1252; bytes without one stand for the control of that number.
char32_t windows_1252(unsigned char byte);

}  // namespace tessera
