/// The AMX tiles as every kernel here uses them.
#pragma once

#include <cstdint>

namespace tessera {

/// Operand of LDTILECFG (Intel's "Architecture Instruction Set Extensions", TILECFG): eight tiles of 16 rows of 64
/// bytes.
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// A constant and no local variable: GCC 12's _tile_loadconfig says that it reads the first eight bytes alone, and what
/// a function writes into the others may then be left out.
inline constexpr TileConfiguration kTileConfiguration;

}  // namespace tessera
