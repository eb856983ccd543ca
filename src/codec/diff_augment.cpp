#include "codec/diff_augment.h"

#include <cmath>

namespace tessera {
namespace {

torch::Tensor a_number_an_image(const torch::Tensor& u) {
  return u.view({-1, 1, 1, 1});
}

}  // namespace

AugmentDraws draw_augmentation(std::int64_t count, std::int64_t height, std::int64_t width, Seed seed,
                               std::int64_t step, std::uint64_t stream, std::int64_t first_row) {
  AugmentDraws draws;
  draws.brightness = torch::empty({count});
  draws.saturation = torch::empty({count});
  draws.contrast = torch::empty({count});
  draws.shift_rows = torch::empty({count}, torch::kInt64);
  draws.shift_columns = torch::empty({count}, torch::kInt64);
  const auto reach = [](std::int64_t size) {
    return static_cast<std::int64_t>(std::floor(static_cast<double>(size) * 0.125 + 0.5));
  };
  const auto shift = [](const RandomStream& random, std::uint32_t cell, std::int64_t limit) {
    return static_cast<std::int64_t>(random.below(cell, static_cast<std::uint64_t>(2 * limit + 1))) - limit;
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const RandomStream random(seed, Purpose::discriminator_augment,
                              (stream << 32) + static_cast<std::uint64_t>(first_row + i),
                              static_cast<std::uint32_t>(step));
    draws.brightness.data_ptr<float>()[i] = static_cast<float>(random.uniform(0));
    draws.saturation.data_ptr<float>()[i] = static_cast<float>(random.uniform(1));
    draws.contrast.data_ptr<float>()[i] = static_cast<float>(random.uniform(2));
    draws.shift_rows.data_ptr<std::int64_t>()[i] = shift(random, 3, reach(height));
    draws.shift_columns.data_ptr<std::int64_t>()[i] = shift(random, 4, reach(width));
  }
  return draws;
}

torch::Tensor augment_brightness(const torch::Tensor& x, const torch::Tensor& u) {
  return x + (a_number_an_image(u) - 0.5);
}

torch::Tensor augment_saturation(const torch::Tensor& x, const torch::Tensor& u) {
  const auto mean = x.mean(1, true);
  return (x - mean) * (a_number_an_image(u) * 2) + mean;
}

torch::Tensor augment_contrast(const torch::Tensor& x, const torch::Tensor& u) {
  const auto mean = x.mean({1, 2, 3}, true);
  return (x - mean) * (a_number_an_image(u) + 0.5) + mean;
}

torch::Tensor augment_translation(const torch::Tensor& x, const torch::Tensor& shift_rows,
                                  const torch::Tensor& shift_columns) {
  const std::int64_t height = x.size(2), width = x.size(3);
  // One row and column of zeros on each side; every index outside the image is clamped into that border.
  const auto padded = torch::constant_pad_nd(x, {1, 1, 1, 1}).permute({0, 2, 3, 1});
  const auto image = torch::arange(x.size(0), shift_rows.options()).view({-1, 1, 1});
  const auto row = (torch::arange(height, shift_rows.options()).view({1, -1, 1}) + shift_rows.view({-1, 1, 1}) + 1)
                       .clamp(0, height + 1);
  const auto column = (torch::arange(width, shift_rows.options()).view({1, 1, -1}) + shift_columns.view({-1, 1, 1}) + 1)
                          .clamp(0, width + 1);
  return padded.index({image, row, column}).permute({0, 3, 1, 2});
}

torch::Tensor diff_augment(const torch::Tensor& x, const AugmentDraws& draws) {
  const auto on = [&](const torch::Tensor& draw) { return draw.to(x.device()); };
  auto y = augment_brightness(x, on(draws.brightness));
  y = augment_saturation(y, on(draws.saturation));
  y = augment_contrast(y, on(draws.contrast));
  return augment_translation(y, on(draws.shift_rows), on(draws.shift_columns));
}

}  // namespace tessera
