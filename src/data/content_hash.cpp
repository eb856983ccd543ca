#include "data/content_hash.h"

namespace tessera {

ContentHash& ContentHash::add(const void* data, std::size_t bytes) {
  hash_.update({static_cast<const char*>(data), bytes});
  return *this;
}

ContentHash& ContentHash::add(std::string_view text) {
  add(static_cast<std::int64_t>(text.size()));
  return add(text.data(), text.size());
}

ContentHash& ContentHash::add(std::int64_t number) {
  std::uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(number) >> (8 * i));
  return add(bytes, 8);
}

std::string ContentHash::hex() {
  return hash_.finish();
}

}  // namespace tessera
