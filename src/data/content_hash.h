/// SHA-256 (FIPS 180-4): the names of cached things, so that what is named the same is the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

/// Bytes in, in any pieces; the hash out, once.
class ContentHash {
 public:
  ContentHash& add(const void* data, std::size_t bytes);
  /// The text and its length, so that neighbouring texts cannot be confused.
  ContentHash& add(std::string_view text);
  ContentHash& add(std::int64_t number);
  /// Out: 64 hexadecimal digits. The object is spent.
  std::string hex();

 private:
  void block(const std::uint8_t* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> pending_{};
  std::size_t pending_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace tessera
