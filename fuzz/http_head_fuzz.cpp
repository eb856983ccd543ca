/// Requests' heads, chunked framing and Host: what is refused as doubtful, byte by byte.
#include <cstdint>
#include <string_view>

#include "server/http_head.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera::server;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto end = text.find("\r\n\r\n");
  const auto head = text.substr(0, end == std::string_view::npos ? size : end + 4);
  const bool good = fault_of_head(head).empty();
  // What passes is what every reader sees alike.
  if (good && (head.find('\0') != std::string_view::npos || !head.ends_with("\r\n\r\n"))) __builtin_trap();
  if (good && says_chunked(head)) {
    ChunkFraming framing;
    for (const char byte : text.substr(head.size())) {
      if (!framing.take(byte)) break;
    }
  }
  const auto host = host_of(text.substr(0, 300));
  for (const char c : host) {
    if (c >= 'A' && c <= 'Z') __builtin_trap();
  }
  return 0;
}
