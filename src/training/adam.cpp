#include "training/adam.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "runtime/error.h"

namespace tessera {
namespace {

/// One pass over a parameter on the CPU: its moments, itself and its average. The same arithmetic as the operations on
/// many parameters at once, which pass over memory a dozen times.
struct Pass {
  float beta1, beta2, rest1, rest2;  // rest: 1 - beta, rounded once (in float32 1 - 0.999f is off by 5e-5)
  float shrink, rate, root_correction2, epsilon, gradient_scale, average_share;
};

#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("no-math-errno")))  // or the loop is not vectorised
#endif
void update_span(const Pass& pass, std::int64_t count, const float* __restrict gradient, float* __restrict parameter,
                 float* __restrict first, float* __restrict second) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * pass.gradient_scale;
    const float m = first[i] * pass.beta1 + g * pass.rest1;
    const float v = second[i] * pass.beta2 + g * g * pass.rest2;
    first[i] = m;
    second[i] = v;
    parameter[i] = parameter[i] * pass.shrink - pass.rate * m / (std::sqrt(v) / pass.root_correction2 + pass.epsilon);
  }
}

void average_span(float share, std::int64_t count, const float* __restrict parameter, float* __restrict average) {
  for (std::int64_t i = 0; i < count; ++i) average[i] += share * (parameter[i] - average[i]);
}

constexpr std::int64_t kSpan = 4096;  // elements: five spans stay in the first-level cache

constexpr std::int64_t kGiven = 1 << 22;  // numbers that ranks give each other at once

bool passes_over(const torch::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == torch::kFloat && tensor.is_contiguous();
}

}  // namespace

Adam::Adam(const torch::OrderedDict<std::string, torch::Tensor>& parameters, AdamOptions options,
           std::shared_ptr<const Ranks> sharded_over)
    : options_(options), sharded_over_(std::move(sharded_over)) {
  for (const auto& item : parameters) {
    const auto& parameter = item.value();
    if (!parameter.requires_grad()) continue;
    Slot slot{item.key(), parameter, torch::zeros_like(parameter), torch::zeros_like(parameter), {}};
    if (options_.ema_decay > 0) slot.average = parameter.detach().clone();
    slots_.push_back(std::move(slot));
  }
  if (sharded_over_) share_out();
}

/// Whole parameters, so that every one is updated by the same operations as where nothing is shared out: the largest
/// first, each to the rank that has the least so far.
void Adam::share_out() {
  std::vector<std::size_t> order(slots_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return slots_[a].parameter.numel() > slots_[b].parameter.numel();
  });
  std::vector<std::int64_t> held(static_cast<std::size_t>(sharded_over_->count()));
  owners_.resize(slots_.size());
  for (const auto slot : order) {
    const auto least = std::min_element(held.begin(), held.end());
    *least += slots_[slot].parameter.numel();
    owners_[slot] = static_cast<int>(least - held.begin());
  }
}

std::vector<torch::Tensor> Adam::parameters() const {
  std::vector<torch::Tensor> all;
  for (const auto& slot : slots_) all.push_back(slot.parameter);
  return all;
}

double Adam::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  const double norm = sharded_over_ ? gradient_norm_of_all() : gradient_norm();
  require(std::isfinite(norm), "the gradient's norm is {}", norm);  // before it reaches the weights
  const double scale = options_.clip_norm > 0 && norm > options_.clip_norm ? options_.clip_norm / norm : 1.0;
  if (sharded_over_) drop_others();
  ++updates_;
  std::vector<Slot*> others;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    auto& slot = slots_[i];
    if (!is_own(i)) continue;
    if (slot.parameter.grad().defined() && passes_over(slot.parameter) && passes_over(slot.first) &&
        passes_over(slot.second) && (!slot.average.defined() || passes_over(slot.average))) {
      update(slot, learning_rate, scale);
    } else {
      others.push_back(&slot);
    }
  }
  update(others, learning_rate, scale);
  for (auto& slot : slots_) slot.parameter.mutable_grad().reset();
  if (sharded_over_) give_weights();
  return norm;
}

double Adam::gradient_norm() const {
  std::vector<torch::Tensor> gradients;
  for (const auto& slot : slots_) {
    if (slot.parameter.grad().defined()) gradients.push_back(slot.parameter.grad());
  }
  if (!gradients.empty() && gradients.front().is_cuda()) {  // one by one each would wait for the device
    return torch::stack(at::_foreach_norm(gradients)).to(torch::kFloat64).norm().item<double>();
  }
  double square = 0;
  for (const auto& gradient : gradients) {
    const auto norm = gradient.norm().item<double>();
    square += norm * norm;
  }
  return std::sqrt(square);
}

/// The same arithmetic, of gradients that lie on their owners.
double Adam::gradient_norm_of_all() const {
  auto norms = torch::zeros({static_cast<std::int64_t>(slots_.size())}, torch::kFloat64);
  auto* norm = norms.data_ptr<double>();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const auto& gradient = slots_[i].parameter.grad();
    if (is_own(i) && gradient.defined()) norm[i] = gradient.norm().item<double>();
  }
  const auto of_ranks = sharded_over_->gather(norms);
  double square = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const auto its = of_ranks[static_cast<std::size_t>(owners_[i])][static_cast<std::int64_t>(i)].item<double>();
    square += its * its;
  }
  return std::sqrt(square);
}

void Adam::drop_others() {
  gathered_ = false;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (is_own(i)) continue;
    for (auto* tensor : {&slots_[i].first, &slots_[i].second, &slots_[i].average}) tensor->reset();
  }
}

void Adam::give_weights() {
  const auto ranks = static_cast<std::size_t>(sharded_over_->count());
  for (std::size_t first = 0, last = 0; first < slots_.size(); first = last) {
    std::vector<std::vector<Slot*>> of_ranks(ranks);
    std::vector<std::int64_t> sizes(ranks);
    for (std::int64_t size = 0; last < slots_.size() && size < kGiven; ++last) {
      const auto owner = static_cast<std::size_t>(owners_[last]);
      of_ranks[owner].push_back(&slots_[last]);
      sizes[owner] += slots_[last].parameter.numel();
      size += slots_[last].parameter.numel();
    }
    std::vector<torch::Tensor> own = {torch::empty({0})};
    for (const auto* slot : of_ranks[static_cast<std::size_t>(sharded_over_->rank())])
      own.push_back(slot->parameter.detach().reshape({-1}).to(torch::kCPU));
    const auto row = sharded_over_->joined(torch::cat(own), sizes);
    std::int64_t at = 0;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      for (auto* slot : of_ranks[rank]) {
        const auto end = at + slot->parameter.numel();
        if (static_cast<int>(rank) != sharded_over_->rank()) {
          slot->parameter.detach().view({-1}).copy_(row.slice(0, at, end));
          note_written(*slot);
        }
        at = end;
      }
    }
  }
}

void Adam::gather() {
  if (!sharded_over_ || gathered_) return;
  gathered_ = true;
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    auto& slot = slots_[i];
    const auto of_rank = [&](const torch::Tensor& tensor) {
      auto values = tensor.defined() ? tensor : torch::empty_like(slot.parameter);
      sharded_over_->broadcast(values, owners_[i]);
      return values;
    };
    const auto first = of_rank(slot.first), second = of_rank(slot.second);
    if (sharded_over_->is_first()) slot.first = first, slot.second = second;
    if (options_.ema_decay > 0) slot.average = of_rank(slot.average);
  }
}

void Adam::update(const std::vector<Slot*>& slots, double learning_rate, double gradient_scale) {
  std::vector<torch::Tensor> parameters, gradients, first, second, averages, averaged;
  for (auto* slot : slots) {
    if (slot->average.defined()) {
      averages.push_back(slot->average);
      averaged.push_back(slot->parameter);
    }
    if (!slot->parameter.grad().defined()) continue;
    parameters.push_back(slot->parameter);
    gradients.push_back(slot->parameter.grad().to(slot->parameter.scalar_type()));
    first.push_back(slot->first);
    second.push_back(slot->second);
  }
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(updates_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(updates_));
  if (!parameters.empty()) {
    if (gradient_scale != 1.0) gradients = at::_foreach_mul(gradients, gradient_scale);
    if (options_.weight_decay > 0) at::_foreach_mul_(parameters, 1 - learning_rate * options_.weight_decay);
    at::_foreach_mul_(first, options_.beta1);
    at::_foreach_add_(first, gradients, 1 - options_.beta1);
    at::_foreach_mul_(second, options_.beta2);
    at::_foreach_addcmul_(second, gradients, gradients, 1 - options_.beta2);
    auto denominators = at::_foreach_sqrt(second);
    at::_foreach_div_(denominators, std::sqrt(correction2));
    at::_foreach_add_(denominators, options_.epsilon);
    at::_foreach_addcdiv_(parameters, first, denominators, -learning_rate / correction1);
  }
  // By the difference: an average that has arrived stays.
  if (!averages.empty()) at::_foreach_add_(averages, at::_foreach_sub(averaged, averages), average_share());
  for (auto* slot : slots) note_written(*slot);
}

void Adam::note_written(Slot& slot) {
  slot.parameter.unsafeGetTensorImpl()->bump_version();
  if (slot.average.defined()) slot.average.unsafeGetTensorImpl()->bump_version();
}

void Adam::update(Slot& slot, double learning_rate, double gradient_scale) {
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(updates_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(updates_));
  const auto gradient = slot.parameter.grad().to(slot.parameter.scalar_type()).contiguous();
  Pass pass{};
  pass.beta1 = static_cast<float>(options_.beta1);
  pass.beta2 = static_cast<float>(options_.beta2);
  pass.rest1 = static_cast<float>(1 - options_.beta1);
  pass.rest2 = static_cast<float>(1 - options_.beta2);
  pass.shrink = static_cast<float>(1 - learning_rate * options_.weight_decay);
  pass.rate = static_cast<float>(learning_rate / correction1);
  pass.root_correction2 = static_cast<float>(std::sqrt(correction2));
  pass.epsilon = static_cast<float>(options_.epsilon);
  pass.gradient_scale = static_cast<float>(gradient_scale);
  pass.average_share = static_cast<float>(average_share());
  const auto* from = gradient.data_ptr<float>();
  auto *parameter = slot.parameter.data_ptr<float>(), *first = slot.first.data_ptr<float>(),
       *second = slot.second.data_ptr<float>();
  auto* average = slot.average.defined() ? slot.average.data_ptr<float>() : nullptr;
  at::parallel_for(0, gradient.numel(), 16 * kSpan, [&](std::int64_t begin, std::int64_t end) {
    for (auto at = begin; at < end; at += kSpan) {
      const auto count = std::min(kSpan, end - at);
      update_span(pass, count, from + at, parameter + at, first + at, second + at);
      if (average) average_span(pass.average_share, count, parameter + at, average + at);
    }
  });
  note_written(slot);
}

TensorMap Adam::averaged() const {
  TensorMap map;
  for (const auto& slot : slots_) {
    require(options_.ema_decay <= 0 || slot.average.defined(), "averaged weights: '{}' lies on another rank",
            slot.name);
    map[slot.name] = slot.average.defined() ? slot.average : slot.parameter.detach();
  }
  return map;
}

TensorMap Adam::plain() const {
  TensorMap map;
  for (const auto& slot : slots_) map[slot.name] = slot.parameter.detach();
  return map;
}

void Adam::save(const std::string& prefix, TensorMap& into) const {
  into[prefix + "updates"] = torch::tensor({updates_}, torch::kInt64);
  // What another rank has: of a rank that is asked for names and shapes alone (training/shared_state.h).
  const auto whole = [](const Slot& slot, const torch::Tensor& tensor) {
    return tensor.defined() ? tensor : torch::zeros_like(slot.parameter.detach());
  };
  for (const auto& slot : slots_) {
    into[prefix + "first." + slot.name] = whole(slot, slot.first);
    into[prefix + "second." + slot.name] = whole(slot, slot.second);
    if (options_.ema_decay > 0) into[prefix + "average." + slot.name] = whole(slot, slot.average);
  }
}

void Adam::load(const std::string& prefix, const TensorMap& from) {
  const torch::NoGradGuard no_grad;
  const auto copy = [&](const std::string& name, torch::Tensor& into, const torch::Tensor& like) {
    const auto found = from.find(prefix + name);
    require(found != from.end(), "training state: '{}{}' is missing", prefix, name);
    require(found->second.sizes() == like.sizes(), "training state: '{}{}' has another shape than the model", prefix,
            name);
    if (!into.defined()) into = torch::empty_like(like.detach());
    into.copy_(found->second);
  };
  auto updates = torch::zeros({1}, torch::kInt64);
  copy("updates", updates, updates);
  updates_ = updates.item<std::int64_t>();
  for (auto& slot : slots_) {
    copy("first." + slot.name, slot.first, slot.parameter);
    copy("second." + slot.name, slot.second, slot.parameter);
    if (options_.ema_decay > 0) copy("average." + slot.name, slot.average, slot.parameter);
  }
  gathered_ = true;
}

double average_decay(double decay, bool warmup, std::int64_t updates) {
  if (!warmup) return decay;
  const auto u = static_cast<double>(updates);
  return std::min(decay, (1 + u) / (10 + u));
}

double Adam::minimise(const torch::Tensor& loss, double learning_rate, const std::string& what, std::int64_t at) {
  const auto value = loss.item<double>();
  require(std::isfinite(value), "{} is {} at step {}", what, value, at);
  loss.backward();
  return step(learning_rate);
}

double learning_rate_at(std::int64_t step, double base, std::int64_t warmup, std::int64_t total,
                        double final_fraction) {
  if (step < warmup) return base * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (final_fraction >= 1 || total <= warmup) return base;
  const double done = std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(total - warmup));
  return base * (final_fraction + (1 - final_fraction) * 0.5 * (1 + std::cos(std::numbers::pi * done)));
}

}  // namespace tessera
