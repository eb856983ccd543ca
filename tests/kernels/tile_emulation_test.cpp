/// The kernels' AMX path on processors without tiles: the same sources, compiled here with the eight tile instructions
/// written out in plain C++, against the library's products.
#include <gtest/gtest.h>
#include <torch/torch.h>

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cpu/gemm/bf16_gemm.h"
#include "kernels/cpu/gemm/int8_gemm.h"
#include "kernels/ops/isa.h"

namespace tessera::emulated {
namespace {

/// Eight tiles of 16 rows of 64 bytes, as Intel's "Architecture Instruction Set Extensions" describes them.
struct Tile {
  std::uint8_t row[16][64];
};
Tile tiles[8];
bool configured = false;
std::int64_t products = 0;

void load_configuration(const void* memory) {
  const auto* bytes = static_cast<const std::uint8_t*>(memory);
  configured = bytes[0] == 1;
  for (int tile = 0; tile < 8; ++tile) {
    std::uint16_t width;
    std::memcpy(&width, bytes + 16 + 2 * tile, sizeof width);
    configured = configured && width == 64 && bytes[48 + tile] == 16;
  }
}

void load(int tile, const void* memory, std::int64_t stride) {
  for (int r = 0; r < 16; ++r) std::memcpy(tiles[tile].row[r], static_cast<const char*>(memory) + r * stride, 64);
}

void store(int tile, void* memory, std::int64_t stride) {
  for (int r = 0; r < 16; ++r) std::memcpy(static_cast<char*>(memory) + r * stride, tiles[tile].row[r], 64);
}

float widened(const std::uint8_t* bf16) {
  std::uint16_t bits;
  std::memcpy(&bits, bf16, sizeof bits);
  const auto whole = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &whole, sizeof value);
  return value;
}

template <typename Sum, typename Dot>
void multiply_add(int to, const Dot& dot) {
  EXPECT_TRUE(configured);
  ++products;
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      Sum sum;
      std::memcpy(&sum, tiles[to].row[m] + 4 * n, sizeof sum);
      for (int k = 0; k < 16; ++k) sum += dot(m, n, k);
      std::memcpy(tiles[to].row[m] + 4 * n, &sum, sizeof sum);
    }
  }
}

void dot_bf16(int to, int a, int b) {
  multiply_add<float>(to, [&](int m, int n, int k) {
    const auto *left = tiles[a].row[m] + 4 * k, *right = tiles[b].row[k] + 4 * n;
    return widened(left) * widened(right) + widened(left + 2) * widened(right + 2);
  });
}

void dot_bytes(int to, int a, int b) {
  multiply_add<std::int32_t>(to, [&](int m, int n, int k) {
    std::int32_t sum = 0;
    for (int j = 0; j < 4; ++j) {
      sum += std::int32_t{tiles[a].row[m][4 * k + j]} * static_cast<std::int8_t>(tiles[b].row[k][4 * n + j]);
    }
    return sum;
  });
}

}  // namespace
}  // namespace tessera::emulated

// The library's sources once more, under other names and with these instructions.
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbusd
#define _tile_loadd(tile, memory, stride) ::tessera::emulated::load(tile, memory, stride)
#define _tile_stream_loadd(tile, memory, stride) ::tessera::emulated::load(tile, memory, stride)
#define _tile_stored(tile, memory, stride) ::tessera::emulated::store(tile, memory, stride)
#define _tile_zero(tile) ::tessera::emulated::tiles[tile] = {}
#define _tile_dpbf16ps(to, a, b) ::tessera::emulated::dot_bf16(to, a, b)
#define _tile_dpbusd(to, a, b) ::tessera::emulated::dot_bytes(to, a, b)
#define _tile_loadconfig(memory) ::tessera::emulated::load_configuration(memory)
#define _tile_release() (::tessera::emulated::configured = false)
#define cpu_has_amx_bf16() true
#define cpu_has_amx_int8() true
#define multiply multiply_on_tiles
#define multiply_onto multiply_onto_on_tiles
#define accumulate accumulate_on_tiles
#define pack_forward pack_forward_again
#define pack_backward pack_backward_again
#define pack_transposed pack_transposed_again
#define pack_pairs pack_pairs_again
#define pack_rows pack_rows_again
#define pad_image pad_image_again
#define pack pack_again
#define quantise_rows quantise_rows_again
#include "../../src/kernels/cpu/gemm/bf16_gemm.cpp"  // NOLINT(bugprone-suspicious-include)
#include "../../src/kernels/cpu/gemm/int8_gemm.cpp"  // NOLINT(bugprone-suspicious-include)
#undef multiply
#undef multiply_onto
#undef accumulate
#undef pack_forward
#undef pack
#undef quantise_rows
#undef pack_rows

namespace tessera {
namespace {

std::uint16_t* bits(const torch::Tensor& tensor) {
  return static_cast<std::uint16_t*>(tensor.data_ptr());
}

class TileEmulation : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cpu_has_avx512_bf16() || !cpu_has_avx512_vnni()) GTEST_SKIP() << "packing needs AVX512-BF16 and VNNI";
    torch::manual_seed(8);
    emulated::products = 0;
  }
};

TEST_F(TileEmulation, Int8ProductsAreThoseOfTheDotInstructions) {
  for (const std::int64_t rows : {1, 16, 17, 32, 45, 70}) {
    for (const auto& [inputs, outputs] : {std::pair<std::int64_t, std::int64_t>{64, 32}, {100, 33}, {192, 70}}) {
      const auto input = torch::randn({rows, inputs}).to(torch::kBFloat16), weight = torch::randn({outputs, inputs});
      const auto bias = torch::randn({outputs});
      const auto wide = leading_dimension(inputs);
      std::vector<std::int8_t> packed(static_cast<std::size_t>(int8::packed_size(outputs, inputs)));
      std::vector<float> scale(static_cast<std::size_t>(outputs)), row_scale(static_cast<std::size_t>(rows));
      std::vector<std::int32_t> sums(static_cast<std::size_t>(outputs));
      int8::pack(weight.data_ptr<float>(), inputs, outputs, inputs, packed.data(), scale.data(), sums.data());
      const auto bytes = torch::zeros({int8::padded(rows, 32), wide}, torch::kUInt8);
      int8::quantise_rows(bits(input), inputs, rows, inputs, bytes.data_ptr<std::uint8_t>(), row_scale.data());
      int8::Gemm gemm;
      gemm.bias = bias.data_ptr<float>();
      gemm.channels = gemm.output_pixel = outputs;
      gemm.input = bytes.data_ptr<std::uint8_t>();
      gemm.row_scale = row_scale.data();
      gemm.rows = rows;
      gemm.depth = int8::padded(inputs, int8::kDepth) / int8::kDepth;
      gemm.input_row = wide;
      gemm.weights = packed.data();
      gemm.channel_scale = scale.data();
      gemm.channel_sum = sums.data();
      const auto want = torch::full({rows, outputs}, 7.0), got = torch::full({rows, outputs}, 7.0);
      gemm.sum = want.data_ptr<float>();
      int8::multiply(gemm);
      gemm.sum = got.data_ptr<float>();
      int8::multiply_on_tiles(gemm);
      EXPECT_TRUE(torch::equal(want, got)) << rows << " rows, " << inputs << " to " << outputs;
    }
  }
  EXPECT_GT(emulated::products, 0);
}

TEST_F(TileEmulation, Bf16ProductsAreThoseOfTheDotInstructions) {
  for (const std::int64_t pixels : {1, 16, 33, 50}) {
    for (const std::int64_t channels : {32, 40, 96}) {
      constexpr std::int64_t kInputs = 64;
      const auto image = torch::randn({pixels + 18, kInputs}).to(torch::kBFloat16);
      const auto weight = torch::randn({channels, 3, kInputs}), bias = torch::randn({channels});
      const auto packed = torch::empty({bf16::packed_size(channels, kInputs, 3)}, torch::kBFloat16);
      bf16::pack_forward(weight.data_ptr<float>(), channels, kInputs, 3, 3 * kInputs, kInputs, bits(packed));
      const std::int64_t taps[] = {0, kInputs, 2 * kInputs};  // three neighbouring pixels
      bf16::Gemm gemm;
      gemm.bias = bias.data_ptr<float>();
      gemm.channels = gemm.output_pixel = channels;
      gemm.input = bits(image);
      gemm.input_pixel = kInputs;
      gemm.depth = kInputs / bf16::kDepth;
      gemm.taps = 3;
      gemm.tap_offset = taps;
      gemm.weights = bits(packed);
      gemm.rows = 1;
      gemm.columns = pixels;
      const auto want = torch::full({pixels, channels}, 7.0), got = torch::full({pixels, channels}, 7.0);
      gemm.sum = want.data_ptr<float>();
      bf16::multiply(gemm);
      gemm.sum = got.data_ptr<float>();
      bf16::multiply_on_tiles(gemm);
      EXPECT_TRUE(torch::allclose(want, got, 1e-5, 1e-4)) << pixels << " pixels, " << channels << " channels";
    }
  }
  EXPECT_GT(emulated::products, 0);
}

TEST_F(TileEmulation, SumsAreAddedToWhereTheyLie) {
  constexpr std::int64_t kRows = 96, kChannels = 64, kInputs = 96, kPitch = 80;
  const auto input = torch::randn({kRows, kInputs}).to(torch::kBFloat16);
  const auto weight = torch::randn({kChannels, kInputs}), bias = torch::randn({kChannels});
  const auto packed = torch::empty({bf16::packed_size(kChannels, kInputs, 1)}, torch::kBFloat16);
  bf16::pack_forward(weight.data_ptr<float>(), kChannels, kInputs, 1, kInputs, 0, bits(packed));
  const auto before = torch::randn({kRows, kPitch});
  auto want = before.clone();
  auto sums = want.narrow(1, 0, kChannels);
  sums.narrow(0, 32, 32).copy_(bias.expand({32, kChannels}));
  sums.add_(torch::matmul(input.to(torch::kFloat), weight.to(torch::kBFloat16).to(torch::kFloat).t()));
  bf16::Gemm gemm;
  gemm.bias = bias.data_ptr<float>();
  gemm.channels = kChannels;
  gemm.output_pixel = kPitch;
  gemm.input = bits(input);
  gemm.input_pixel = kInputs;
  gemm.depth = kInputs / bf16::kDepth;
  gemm.weights = bits(packed);
  gemm.rows = 1;
  gemm.columns = kRows;
  for (const auto& multiply_onto : {bf16::multiply_onto, bf16::multiply_onto_on_tiles}) {
    const auto got = before.clone();
    gemm.sum = got.data_ptr<float>();
    multiply_onto(gemm, 32, 64);
    EXPECT_TRUE(torch::allclose(want, got, 1e-5, 1e-4));
    EXPECT_TRUE(
        torch::equal(got.narrow(1, kChannels, kPitch - kChannels), before.narrow(1, kChannels, kPitch - kChannels)));
  }
}

TEST_F(TileEmulation, GradientsAddUpAsWithTheDotInstructions) {
  constexpr std::int64_t kRows = 70, kOutputs = 32, kInputs = 64;
  const auto left = torch::randn({kRows, kOutputs}).to(torch::kBFloat16),
             right = torch::randn({kRows, kInputs}).to(torch::kBFloat16);
  const auto packed_left = torch::zeros({kOutputs * bf16::blocks(kRows, 32) * 32}, torch::kBFloat16),
             packed_right = torch::zeros({kInputs * bf16::blocks(kRows, 32) * 32}, torch::kBFloat16);
  auto gradient = bf16::pack_rows(bits(left), kOutputs, bits(right), kInputs, kRows, bits(packed_left),
                                  bits(packed_right), nullptr);
  const auto want = torch::ones({kOutputs, kInputs}), got = torch::ones({kOutputs, kInputs});
  gradient.gradient = want.data_ptr<float>();
  bf16::accumulate(gradient);
  gradient.gradient = got.data_ptr<float>();
  bf16::accumulate_on_tiles(gradient);
  EXPECT_TRUE(torch::allclose(want, got, 1e-5, 1e-4));
  const auto exact = 1 + left.to(torch::kFloat64).t().mm(right.to(torch::kFloat64));
  EXPECT_TRUE(torch::allclose(got.to(torch::kFloat64), exact, 1e-5, 1e-4));
}

}  // namespace
}  // namespace tessera

#endif
