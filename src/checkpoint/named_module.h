/// A module whose parameters have the names that they have in files: "a.b.weight" is the parameter `weight` of the
/// submodule `b` of `a`. Loading matches both ways; match_network does so before a network takes memory.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <utility>

#include "checkpoint/parameter_shapes.h"
#include "checkpoint/safetensors.h"

namespace tessera {

/// While it lives, networks that this thread makes have parameters without memory, for their names and shapes alone.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;
  static bool active();
};

/// The parameters' shapes by name.
ShapeMap shapes_of(const torch::nn::Module& module);

class NamedModule : public torch::nn::Module {
 public:
  /// The parameters by name; they share storage with the module.
  TensorMap state() const;
  /// Makes a parameter hold the values of a tensor of its shape.
  using Take = std::function<void(const torch::Tensor& parameter, const torch::Tensor& given)>;
  /// Tensors of any floating type become the parameters: copied, or as `take` does it. Throws one Error (beginning with
  /// `where`) listing every missing, unexpected and misshapen tensor.
  void load(const TensorMap& tensors, const std::string& where, const Take& take = {});
  std::int64_t parameter_count() const;
  /// Of a dotted name: the inner module (made where it is not there yet) and the last part.
  std::pair<torch::nn::Module*, std::string> holder_of(const std::string& name);

 protected:
  /// Makes a parameter of zeros under a dotted name and returns it.
  torch::Tensor add(const std::string& name, at::IntArrayRef shape);
};

/// Matches tensors with the network of these options before it takes memory: a few bytes of a configuration must not
/// ask for gigabytes. Throws match_parameters' Error.
template <typename Holder, typename Options>
void match_network(const Options& options, const TensorMap& tensors, const std::string& where) {
  ShapeMap expected;
  {
    const ShapesOnly shapes_only;
    expected = shapes_of(*Holder(options));
  }
  match_parameters(tensors, expected, where);
}

}  // namespace tessera
