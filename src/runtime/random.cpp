#include "runtime/random.h"

#include <cmath>

namespace tessera {
namespace {

std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = 0xD2511F53ULL * c[0];
    const std::uint64_t product1 = 0xCD9E8D57ULL * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(product0)};
    k[0] += 0x9E3779B9U;
    k[1] += 0xBB67AE85U;
  }
  return c;
}

std::uint64_t RandomStream::bits(std::uint32_t cell) const {
  // The purpose goes into the key, (cell, step, image) into the counter: 32 + 32 + 64 bits.
  const std::uint64_t key = mix64(seed_ + 0x9e3779b97f4a7c15ULL * static_cast<std::uint32_t>(purpose_));
  const auto block = philox({cell, step_, static_cast<std::uint32_t>(image_), static_cast<std::uint32_t>(image_ >> 32)},
                            {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
  return (static_cast<std::uint64_t>(block[0]) << 32) | block[1];
}

double RandomStream::uniform(std::uint32_t cell) const {
  return (static_cast<double>(bits(cell) >> 11) + 0.5) * 0x1.0p-53;
}

std::uint64_t RandomStream::below(std::uint32_t cell, std::uint64_t bound) const {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits(cell)) * bound) >> 64);
}

double RandomStream::gumbel(std::uint32_t cell) const {
  return -std::log(-std::log(uniform(cell)));
}

}  // namespace tessera
