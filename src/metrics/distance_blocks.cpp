#include "metrics/distance_blocks.h"

#include <cmath>

namespace tessera {
namespace {

template <typename A, typename B>
double squared_distance(const A* a, const B* b, std::int64_t width) {
  double total = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    total += difference * difference;
  }
  return total;
}

}  // namespace

DistanceRows::DistanceRows(const torch::Tensor& rows, const torch::Tensor& centre) : given_(rows.contiguous()) {
  centred_ = (given_ - centre.to(given_.scalar_type())).to(torch::kFloat32).contiguous();
  norms_ = centred_.square().sum(1).contiguous();
}

double DistanceRows::exact(std::int64_t i, const DistanceRows& other, std::int64_t j) const {
  const auto width = this->width();
  const bool a32 = given_.scalar_type() == torch::kFloat32, b32 = other.given_.scalar_type() == torch::kFloat32;
  const auto at = i * width, bt = j * width;
  if (a32 && b32) {
    return squared_distance(given_.data_ptr<float>() + at, other.given_.data_ptr<float>() + bt, width);
  }
  if (a32) return squared_distance(given_.data_ptr<float>() + at, other.given_.data_ptr<double>() + bt, width);
  if (b32) return squared_distance(given_.data_ptr<double>() + at, other.given_.data_ptr<float>() + bt, width);
  return squared_distance(given_.data_ptr<double>() + at, other.given_.data_ptr<double>() + bt, width);
}

torch::Tensor centre_of(const torch::Tensor& rows) {
  return rows.mean(0, false, torch::kFloat64);
}

float distance_rounding(std::int64_t width) {
  return 8.F * std::ldexp(1.F, -24) * std::sqrt(static_cast<float>(width));
}

}  // namespace tessera
