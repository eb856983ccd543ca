/// SHA-256 (FIPS 180-4): the names of cached things, so that what is named the same is the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "checkpoint/sha256.h"

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
  Sha256 hash_;
};

}  // namespace tessera
