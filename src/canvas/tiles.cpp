#include "canvas/tiles.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/wanted.h"

namespace tessera {
namespace {

constexpr int kMaskGrey = 128;

/// Weights of a tile along one axis, [pixels]: ramps over the overlaps with its neighbours, 1 between.
torch::Tensor ramp(const std::vector<std::int64_t>& starts, std::size_t index, std::int64_t side, std::int64_t factor) {
  auto weights = torch::ones({side * factor});
  auto* weight = weights.data_ptr<float>();
  const auto fade = [&](std::int64_t cells, bool rising) {
    const auto pixels = std::max<std::int64_t>(0, cells) * factor;
    for (std::int64_t i = 0; i < pixels; ++i) {
      const auto part = (static_cast<float>(i) + 0.5F) / static_cast<float>(pixels);
      weight[rising ? i : side * factor - 1 - i] *= part;
    }
  };
  if (index > 0) fade(starts[index - 1] + side - starts[index], true);
  if (index + 1 < starts.size()) fade(starts[index] + side - starts[index + 1], false);
  return weights;
}

/// Of an axis of `length` cells, the part that tile `index` decides: [first, last), up to the middle of the overlaps.
std::pair<std::int64_t, std::int64_t> core(const std::vector<std::int64_t>& starts, std::size_t index,
                                           std::int64_t side, std::int64_t length) {
  const auto middle = [&](std::size_t i) { return (starts[i] + starts[i - 1] + side) / 2; };
  return {index == 0 ? 0 : middle(index), index + 1 == starts.size() ? length : middle(index + 1)};
}

/// One tile [1, h, w] with cells possibly MASK -> [3, H, W] float32, values 0..255.
torch::Tensor decode_tile(CodecImpl& codec, const torch::Tensor& codes) {
  const auto masked = codes == codec.options().codebook_size;
  const TokenGrid known(codes.masked_fill(masked, 0), codec.options().codebook_size);
  auto pixels = codec.decode(known)[0].to(torch::kFloat32);
  if (masked.any().item<bool>()) {
    const auto factor = codec.options().factor();
    const auto cover = masked[0].repeat_interleave(factor, 0).repeat_interleave(factor, 1);
    pixels.masked_fill_(cover.unsqueeze(0), kMaskGrey);
  }
  return pixels;
}

/// In: one grid [1, h, w]. Out: [3, H, W] uint8.
torch::Tensor decode_one(CodecImpl& codec, const torch::Tensor& codes) {
  const Extent extent{codes.size(1), codes.size(2)};
  const auto tiles = codec_tiles(codec.options(), extent);
  if (tiles.count() == 1) return decode_tile(codec, codes).to(torch::kUInt8);
  const auto factor = codec.options().factor(), width = extent.w * factor;
  const auto tile_height = tiles.window.h * factor, tile_width = tiles.window.w * factor;
  auto out = torch::empty({3, extent.h * factor, width}, torch::kUInt8);
  auto strip = torch::zeros({3, tile_height, width});  // weighted sums of one row of tiles and what the last one left
  auto weights = torch::zeros({1, tile_height, width});
  for (std::size_t row = 0; row < tiles.tops.size(); ++row) {
    const auto down = ramp(tiles.tops, row, tiles.window.h, factor).view({1, tile_height, 1});
    for (std::size_t column = 0; column < tiles.lefts.size(); ++column) {
      check_wanted();
      const auto left = tiles.lefts[column];
      const auto tile = codes.narrow(1, tiles.tops[row], tiles.window.h).narrow(2, left, tiles.window.w);
      const auto weight = down * ramp(tiles.lefts, column, tiles.window.w, factor).view({1, 1, tile_width});
      strip.narrow(2, left * factor, tile_width).add_(decode_tile(codec, tile) * weight);
      weights.narrow(2, left * factor, tile_width).add_(weight);
    }
    const bool last = row + 1 == tiles.tops.size();
    const auto done = last ? tile_height : (tiles.tops[row + 1] - tiles.tops[row]) * factor;
    out.narrow(1, tiles.tops[row] * factor, done)
        .copy_((strip.narrow(1, 0, done) / weights.narrow(1, 0, done)).round().clamp(0, 255));
    if (last) break;
    for (auto* sums : {&strip, &weights}) {  // what the next row of tiles adds to moves up
      const auto rest = sums->narrow(1, done, tile_height - done).clone();
      sums->zero_();
      sums->narrow(1, 0, tile_height - done).copy_(rest);
    }
  }
  return out;
}

}  // namespace

WindowLattice codec_tiles(const CodecOptions& options, Extent grid) {
  const auto own = options.grid();
  const Extent tile{std::min(own.h, grid.h), std::min(own.w, grid.w)};
  const auto stride = [](std::int64_t side) { return side - side / 4; };
  return {tile, window_starts(grid.h, tile.h, stride(tile.h)), window_starts(grid.w, tile.w, stride(tile.w))};
}

TokenGrid encode_tiled(Codec codec, const torch::Tensor& bytes) {
  const auto factor = codec->options().factor();
  require(bytes.dim() == 4 && bytes.size(2) % factor == 0 && bytes.size(3) % factor == 0,
          "canvas: expected pictures [N, 3, H, W] with sides that are multiples of {}", factor);
  const Extent extent{bytes.size(2) / factor, bytes.size(3) / factor};
  const auto tiles = codec_tiles(codec->options(), extent);
  if (tiles.count() == 1) return codec->encode(bytes);
  auto codes = torch::empty({bytes.size(0), extent.h, extent.w}, torch::kInt64);
  for (std::size_t row = 0; row < tiles.tops.size(); ++row) {
    const auto top = tiles.tops[row];
    const auto [y, y_end] = core(tiles.tops, row, tiles.window.h, extent.h);
    for (std::size_t column = 0; column < tiles.lefts.size(); ++column) {
      check_wanted();
      const auto left = tiles.lefts[column];
      const auto [x, x_end] = core(tiles.lefts, column, tiles.window.w, extent.w);
      const auto tile = bytes.narrow(2, top * factor, tiles.window.h * factor)
                            .narrow(3, left * factor, tiles.window.w * factor)
                            .contiguous();
      const auto part = codec->encode(tile).codes();
      codes.narrow(1, y, y_end - y)
          .narrow(2, x, x_end - x)
          .copy_(part.narrow(1, y - top, y_end - y).narrow(2, x - left, x_end - x));
    }
  }
  return {codes, codec->options().codebook_size};
}

torch::Tensor decode_tiled(Codec codec, const TokenGrid& grid) {
  require(grid.codebook_size() == codec->options().codebook_size, "canvas: a grid over {} codes, expected {}",
          grid.codebook_size(), codec->options().codebook_size);
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> pictures;
  for (std::int64_t n = 0; n < grid.count(); ++n) pictures.push_back(decode_one(*codec, grid.codes().narrow(0, n, 1)));
  return torch::stack(pictures);
}

}  // namespace tessera
