/// UTF-8 that was read as an encoding of one byte a character, taken back.
#pragma once

#include <string>

namespace tessera {

/// Whether the text holds a sequence that hardly any text has and wrongly decoded UTF-8 often: a letter with an accent
/// before a currency sign, a control of C1 ...
bool looks_misread(const std::u32string& text);

/// The text with what was misread mended, again until nothing changes: UTF-8 read as Latin-1, Windows-1250 to -1257,
/// ISO 8859-2, Mac Roman or code page 437, once or several times, all of the text or parts of it, also with bytes lost
/// (they become U+FFFD) or no-break spaces made plain; C1 controls that Windows-1252 has characters for. The rules are
/// those of ftfy 6 (Robyn Speer; its fix_encoding), which leave text alone that looks_misread does not name.
std::u32string mend_misread(std::u32string text);

}  // namespace tessera
