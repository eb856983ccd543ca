#include "denoiser/denoiser.h"

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr const char* kNotInOrder = "denoiser: found a bidirectional network, expected an autoregressive one";

bool same_tensor(const torch::Tensor& a, const torch::Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || a.is_same(b));
}

}  // namespace

bool Condition::same_as(const Condition& other) const {
  return same_tensor(states, other.states) && same_tensor(null_states, other.null_states) && label == other.label &&
         null_label == other.null_label && scale == other.scale && same_tensor(pooled, other.pooled) &&
         same_tensor(null_pooled, other.null_pooled) && same_tensor(micro, other.micro);
}

std::vector<std::int64_t> first_of_its_kind(const std::vector<Condition>& conditions) {
  std::vector<std::int64_t> firsts;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    std::size_t first = 0;
    while (!conditions[first].same_as(conditions[i])) ++first;
    firsts.push_back(static_cast<std::int64_t>(first));
  }
  return firsts;
}

std::int64_t Look::condition_of(std::int64_t n, std::int64_t count) const {
  if (count <= 1) return 0;
  const auto at = conditions.empty() ? n : conditions.at(static_cast<std::size_t>(n));
  require(at >= 0 && at < count, "denoiser: a row under condition {}, expected 0 to {}", at, count - 1);
  return at;
}

std::unique_ptr<Decoding> Evaluator::decode(std::int64_t, const std::vector<std::int64_t>&) {
  fail(kNotInOrder);
}

torch::Tensor Evaluator::logits_in_order(const torch::Tensor&, std::int64_t) {
  fail(kNotInOrder);
}

}  // namespace tessera
