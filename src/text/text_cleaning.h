/// How a prompt is tidied before it is cut into tokens. The published programs differ in this.
#pragma once

#include <string>
#include <vector>

namespace tessera {

enum class TextCleaning {
  original,  // OpenAI CLIP and VQ-Diffusion: lower case, repair, HTML references twice, white space, lower case
  plain,     // the hub's compiled tokenizer: normal form C, white space, lower case
  repaired,  // the hub's Python tokenizer with ftfy: repair, white space, lower case
};

/// "original" | "plain" | "repaired". Throws Error listing the choices.
TextCleaning text_cleaning_from(const std::string& name);
std::string name_of(TextCleaning cleaning);

/// Cleaned text. In, out: valid UTF-8.
std::string clean_text(const std::string& text, TextCleaning cleaning);

/// Repairs what often goes wrong with text on the web, in the order of the library that the originals call (ftfy 6.3,
/// Robyn Speer; its fix_text), line by line: closed HTML references up to the first '<', misread UTF-8
/// (text/mojibake.h), C1 controls, ligatures, full and half width, quotation marks, line ends, terminal escapes,
/// control characters, normal form C; again until nothing changes.
std::string repair_text(const std::string& text);

}  // namespace tessera
