/// Names out of untrusted files, made fit for one line of an error message.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

/// Control characters become '?', and what is longer than `limit` bytes is cut and ends in "...".
inline std::string printable(std::string_view text, std::size_t limit = 160) {
  std::string line(text.substr(0, limit));
  for (auto& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() > limit) line += "...";
  return line;
}

}  // namespace tessera
