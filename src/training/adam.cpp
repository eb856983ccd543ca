#include "training/adam.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/error.h"

namespace tessera {

Adam::Adam(const torch::OrderedDict<std::string, torch::Tensor>& parameters, AdamOptions options) : options_(options) {
  for (const auto& item : parameters) {
    const auto& parameter = item.value();
    if (!parameter.requires_grad()) continue;
    Slot slot{item.key(), parameter, torch::zeros_like(parameter), torch::zeros_like(parameter), {}};
    if (options_.ema_decay > 0) slot.average = parameter.detach().clone();
    slots_.push_back(std::move(slot));
  }
}

double Adam::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  double square = 0;
  for (const auto& slot : slots_) {
    if (slot.parameter.grad().defined()) {
      const auto norm = slot.parameter.grad().norm().item<double>();
      square += norm * norm;
    }
  }
  const double norm = std::sqrt(square);
  const double scale = options_.clip_norm > 0 && norm > options_.clip_norm ? options_.clip_norm / norm : 1.0;
  ++updates_;
  for (auto& slot : slots_) {
    if (slot.parameter.grad().defined()) update(slot, learning_rate, scale);
    if (slot.average.defined()) slot.average.lerp_(slot.parameter, 1 - options_.ema_decay);
    slot.parameter.mutable_grad().reset();
  }
  return norm;
}

void Adam::update(Slot& slot, double learning_rate, double gradient_scale) {
  auto gradient = slot.parameter.grad().to(slot.parameter.scalar_type());
  if (gradient_scale != 1.0) gradient = gradient * gradient_scale;
  if (options_.weight_decay > 0) slot.parameter.mul_(1 - learning_rate * options_.weight_decay);
  slot.first.mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
  slot.second.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(updates_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(updates_));
  const auto denominator = slot.second.sqrt().div_(std::sqrt(correction2)).add_(options_.epsilon);
  slot.parameter.addcdiv_(slot.first, denominator, -learning_rate / correction1);
}

TensorMap Adam::averaged() const {
  TensorMap map;
  for (const auto& slot : slots_) map[slot.name] = slot.average.defined() ? slot.average : slot.parameter.detach();
  return map;
}

void Adam::save(const std::string& prefix, TensorMap& into) const {
  into[prefix + "updates"] = torch::tensor({updates_}, torch::kInt64);
  for (const auto& slot : slots_) {
    into[prefix + "first." + slot.name] = slot.first;
    into[prefix + "second." + slot.name] = slot.second;
    if (slot.average.defined()) into[prefix + "average." + slot.name] = slot.average;
  }
}

void Adam::load(const std::string& prefix, const TensorMap& from) {
  const torch::NoGradGuard no_grad;
  const auto copy = [&](const std::string& name, torch::Tensor& into) {
    const auto found = from.find(prefix + name);
    require(found != from.end(), "training state: '{}{}' is missing", prefix, name);
    require(found->second.sizes() == into.sizes(), "training state: '{}{}' has another shape than the model", prefix, name);
    into.copy_(found->second);
  };
  auto updates = torch::zeros({1}, torch::kInt64);
  copy("updates", updates);
  updates_ = updates.item<std::int64_t>();
  for (auto& slot : slots_) {
    copy("first." + slot.name, slot.first);
    copy("second." + slot.name, slot.second);
    if (slot.average.defined()) copy("average." + slot.name, slot.average);
  }
}

double learning_rate_at(std::int64_t step, double base, std::int64_t warmup, std::int64_t total, double final_fraction) {
  if (step < warmup) return base * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (final_fraction >= 1 || total <= warmup) return base;
  const double done = std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(total - warmup));
  return base * (final_fraction + (1 - final_fraction) * 0.5 * (1 + std::cos(std::numbers::pi * done)));
}

}  // namespace tessera
