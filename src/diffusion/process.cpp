#include "diffusion/process.h"

namespace tessera {

torch::Tensor uniform_rows(Seed seed, Purpose purpose, std::uint64_t first_row, std::uint32_t step, std::int64_t count,
                           std::int64_t cells) {
  auto uniforms = torch::empty({count, cells}, torch::kFloat64);
  auto* out = uniforms.data_ptr<double>();
  for (std::int64_t row = 0; row < count; ++row) {
    const RandomStream stream(seed, purpose, first_row + static_cast<std::uint64_t>(row), step);
    for (std::int64_t cell = 0; cell < cells; ++cell) *out++ = stream.uniform(static_cast<std::uint32_t>(cell));
  }
  return uniforms;
}

}  // namespace tessera
