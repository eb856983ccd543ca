/// Forms: the first line is the Content-Type, the rest the body.
#include <cstdint>
#include <string_view>

#include "server/http_message.h"
#include "server/multipart.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera::server;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto line = text.find('\n');
  try {
    const auto boundary = form_boundary(text.substr(0, line));
    if (boundary.empty() || line == std::string_view::npos) return 0;
    std::size_t bytes = 0;
    for (const auto& part : parse_form(text.substr(line + 1), boundary))
      bytes += part.content.size() + part.name.size();
    if (bytes > size) __builtin_trap();  // parts are pieces of the body
  } catch (const HttpError&) {
  }
  return 0;
}
