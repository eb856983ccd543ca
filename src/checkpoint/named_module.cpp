#include "checkpoint/named_module.h"

#include "runtime/error.h"

namespace tessera {
namespace {

/// A module that only groups others under a name.
class Group : public torch::nn::Module {};

thread_local int shapes_only = 0;  // guards within each other

}  // namespace

ShapesOnly::ShapesOnly() {
  ++shapes_only;
}

ShapesOnly::~ShapesOnly() {
  --shapes_only;
}

bool ShapesOnly::active() {
  return shapes_only > 0;
}

std::pair<torch::nn::Module*, std::string> NamedModule::holder_of(const std::string& name) {
  torch::nn::Module* holder = this;
  std::size_t at = 0;
  for (auto dot = name.find('.'); dot != std::string::npos; at = dot + 1, dot = name.find('.', at)) {
    const auto part = name.substr(at, dot - at);
    const auto children = holder->named_children();
    const auto* found = children.find(part);
    auto next = found ? *found : holder->register_module(part, std::make_shared<Group>());
    holder = next.get();
  }
  return {holder, name.substr(at)};
}

torch::Tensor NamedModule::add(const std::string& name, at::IntArrayRef shape) {
  const auto [holder, own] = holder_of(name);
  const auto none = torch::TensorOptions().device(torch::kMeta);
  return holder->register_parameter(own, shapes_only > 0 ? torch::empty(shape, none) : torch::zeros(shape));
}

ShapeMap shapes_of(const torch::nn::Module& module) {
  ShapeMap shapes;
  for (const auto& item : module.named_parameters()) shapes[item.key()] = item.value().sizes().vec();
  return shapes;
}

TensorMap NamedModule::state() const {
  TensorMap tensors;
  for (const auto& item : named_parameters()) tensors[item.key()] = item.value().detach();
  return tensors;
}

void NamedModule::load(const TensorMap& tensors, const std::string& where, const Take& take) {
  const torch::NoGradGuard no_grad;
  const auto own = named_parameters();
  match_parameters(tensors, shapes_of(*this), where);
  for (const auto& item : own) {
    const auto& given = tensors.at(item.key());
    require(given.is_floating_point(), "{}: {} is {}, expected floating point", where, item.key(),
            c10::toString(given.scalar_type()));
    if (take) {
      take(item.value(), given);
    } else {
      item.value().detach().copy_(given);
    }
  }
}

std::int64_t NamedModule::parameter_count() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters()) total += parameter.numel();
  return total;
}

}  // namespace tessera
