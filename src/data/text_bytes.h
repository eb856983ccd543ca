/// Bytes of a text file to UTF-8: which encoding they are in is told by the bytes alone.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

struct DecodedText {
  std::string text;      // valid UTF-8, no byte order mark
  std::string encoding;  // "UTF-8", "UTF-8 with a byte order mark", "UTF-16", "UTF-32", "windows-1252"; empty: unknown,
                         // broken bytes became U+FFFD
};

/// A byte order mark decides; without one UTF-16 is told by its zero bytes, and bytes that are no UTF-8 are taken for
/// windows-1252 unless it has no character for one of them.
DecodedText decode_text(std::string_view bytes);

}  // namespace tessera
