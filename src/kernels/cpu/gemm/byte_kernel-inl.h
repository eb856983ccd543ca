// The micro-kernel and what follows it, compiled once for each kind of instructions: byte_gemm.cpp includes this inside
// a namespace and a region of its own, where dot(sum, a, b) is defined.

/// sums [rows, kPanel]
template <std::int64_t rows>
[[gnu::noinline]] void micro_kernel(const std::int32_t* a, std::int64_t units, const std::int32_t* b,
                                    std::int32_t* sums) {
  __m256i low[rows], high[rows];
#pragma GCC unroll 12
  for (std::int64_t r = 0; r < rows; ++r) low[r] = high[r] = _mm256_setzero_si256();
  for (std::int64_t k = 0; k < units; ++k, b += kPanel) {
    const __m256i b0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)),
                  b1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 8));
#pragma GCC unroll 12
    for (std::int64_t r = 0; r < rows; ++r) {
      const __m256i x = _mm256_set1_epi32(a[r * units + k]);
      low[r] = dot(low[r], x, b0);
      high[r] = dot(high[r], x, b1);
    }
  }
#pragma GCC unroll 12
  for (std::int64_t r = 0; r < rows; ++r) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * kPanel), low[r]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * kPanel + 8), high[r]);
  }
}

using MicroKernel = void (*)(const std::int32_t*, std::int64_t, const std::int32_t*, std::int32_t*);

template <std::int64_t... rows>
MicroKernel kernel_for(std::int64_t count, std::integer_sequence<std::int64_t, rows...>) {
  static constexpr MicroKernel kernels[] = {micro_kernel<rows + 1>...};
  return kernels[count - 1];
}

/// A row of sums on its way to memory. offset: what was added to the quantised numbers of A.
template <Result result>
void finish_row(const Gemm& gemm, const std::int32_t* sums, std::int64_t row, std::int64_t column,
                std::int32_t offset) {
  const auto width = std::min(kPanel, gemm.columns - column);
  const float scale = gemm.row_scale[row];
  alignas(32) float values[kPanel], bias[kPanel] = {};
  if (gemm.bias != nullptr) std::memcpy(bias, gemm.bias + column, std::size_t(width) * sizeof(float));
  for (std::int64_t c = 0; c < kPanel; ++c) {
    const auto exact = sums[c] - offset * gemm.channel_sum[column + c];
    values[c] = float(exact) * (scale * gemm.channel_scale[column + c]) + bias[c];
  }
  const auto at = row * gemm.output_ld + column;
  if constexpr (result == Result::sum) {
    float* const to = static_cast<float*>(gemm.output) + at;
    if (gemm.residual != nullptr) {
      for (std::int64_t c = 0; c < width; ++c) to[c] = gemm.residual[at + c] + values[c];
    } else {
      std::memcpy(to, values, std::size_t(width) * sizeof(float));
    }
    return;
  }
  if constexpr (result == Result::gelu) {
    for (float& value : values) value = gelu(value);
  }
  std::uint16_t rounded[kPanel];
  for (std::int64_t c = 0; c < kPanel; ++c) rounded[c] = to_bfloat16(values[c]);
  std::memcpy(static_cast<std::uint16_t*>(gemm.output) + at, rounded, std::size_t(width) * sizeof(std::uint16_t));
}

template <Result result>
void multiply_to(const Gemm& gemm) {
  alignas(32) std::int32_t sums[kRows * kPanel];
  const auto tiles = (gemm.rows + kRows - 1) / kRows;
  for (std::int64_t column = 0; column < gemm.columns; column += kPanel) {
    const std::int32_t* const panel = gemm.b + column * gemm.units;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const auto row = gemm.rows * tile / tiles, rows = gemm.rows * (tile + 1) / tiles - row;
      kernel_for(rows, std::make_integer_sequence<std::int64_t, kRows>())(gemm.a + row * gemm.units, gemm.units, panel,
                                                                          sums);
      for (std::int64_t r = 0; r < rows; ++r) finish_row<result>(gemm, sums + r * kPanel, row + r, column, kOffset);
    }
  }
}

void multiply_here(Result result, const Gemm& gemm) {
  switch (result) {
    case Result::rounded:
      return multiply_to<Result::rounded>(gemm);
    case Result::gelu:
      return multiply_to<Result::gelu>(gemm);
    case Result::sum:
      return multiply_to<Result::sum>(gemm);
  }
}

/// As byte_gemm.h's quantise_row; a number takes `Number`'s bytes.
void quantise_here(const std::uint16_t* row, std::int64_t depth, std::int32_t* quantised, float* scale) {
  std::uint32_t most = 0;  // of the magnitudes, whose bits order as they do
  for (std::int64_t d = 0; d < depth; ++d) most = std::max(most, std::uint32_t(row[d] & 0x7FFFU) << 16);
  const float greatest = std::bit_cast<float>(most), step = most > 0 ? greatest / 127 : 1;
  // Without a finite greatest magnitude the scale alone, which is none either, says what the row is.
  const float inverse = most < 0x7F800000U ? 1 / step : 0;
  auto* const to = reinterpret_cast<Number*>(quantised);
  *scale = most < 0x7F800000U ? step : std::numeric_limits<float>::quiet_NaN();
  if (inverse == 0) return static_cast<void>(std::memset(quantised, 0, std::size_t(depth) * sizeof(Number)));
  for (std::int64_t d = 0; d < depth; ++d) {
    const float x = std::bit_cast<float>(std::uint32_t(row[d]) << 16) * inverse;
    // Rounds to even, as adding and taking away 1.5 * 2^23 does.
    to[d] = static_cast<Number>(static_cast<std::int32_t>((x + 12582912.F) - 12582912.F) + kOffset);
  }
  constexpr std::int64_t kNumbers = 4 / sizeof(Number);
  for (std::int64_t d = depth; d % kNumbers != 0; ++d) to[d] = kOffset;
}
