/// Names out of untrusted files, made fit for one line of a message.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace tessera {

/// Control characters become "\x0a" and the like, and what is longer than `limit` bytes is cut and ends in "...".
inline std::string printable(std::string_view text, std::size_t limit = 160) {
  std::string line;
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      line += fmt::format("\\x{:02x}", byte);
    } else {
      line.push_back(c);
    }
  }
  return text.size() > limit ? line + "..." : line;
}

}  // namespace tessera
