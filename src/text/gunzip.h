/// What gzip packed, unpacked. RFC 1952, by zlib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

/// Throws Error beginning with `where` for broken or cut data and for more than `max_bytes`.
std::string gunzip(std::string_view packed, std::uint64_t max_bytes, const std::string& where);

}  // namespace tessera
