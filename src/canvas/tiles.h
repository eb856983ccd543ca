/// Pictures of any size through the codec with bounded memory: tiles of the size it was trained on, overlapping.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "codec/codec.h"
#include "tokens/token_grid.h"
#include "tokens/windows.h"

namespace tessera {

/// The tiles of the codec's own grid over a larger one: a quarter of a tile overlaps its neighbour.
WindowLattice codec_tiles(const CodecOptions& options, Extent grid);

/// Bytes [N, 3, H, W] uint8, sides multiples of the codec's factor -> tokens [N, h, w]. Each cell takes its token from
/// the tile in which it lies furthest from the edge. A picture no larger than the codec's own is encoded in one piece.
TokenGrid encode_tiled(Codec codec, const torch::Tensor& bytes);

/// Tokens -> bytes [N, 3, H, W] uint8: tiles cross-fade linearly where they overlap. Beside the result, memory is that
/// of one row of tiles. Cells that are MASK come out in an even grey, so that an unfinished grid can be looked at.
torch::Tensor decode_tiled(Codec codec, const TokenGrid& grid);

}  // namespace tessera
