/// InceptionV3 as published FID figures use it: TensorFlow's 2015 graph with 1008 outputs. Szegedy et al.,
/// arXiv:1512.00567; architecture and tensor names of pytorch-fid and torch-fidelity. Against torchvision's network:
/// average pools leave padding out of the divisor, Mixed_7c pools by maximum, no auxiliary head.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/parameter_shapes.h"
#include "checkpoint/safetensors.h"

namespace tessera {

/// SHA-256 of the file whose numbers are published: pt_inception-2015-12-05-6726825d.pth.
inline constexpr const char* kPublishedInceptionHash =
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2";

/// The 472 tensors of the published file, by name. The 94 counters `.bn.num_batches_tracked` are optional there.
ShapeMap inception_parameter_shapes();

/// What the network computes, each averaged over positions, for N images.
struct InceptionOutput {
  torch::Tensor block0;    // [N, 64] after the first max pool
  torch::Tensor block1;    // [N, 192] after the second
  torch::Tensor block2;    // [N, 768] after Mixed_6e
  torch::Tensor features;  // [N, 2048] after Mixed_7c: what FID, KID and PRDC take
};

class InceptionV3 {
 public:
  /// In: tensors under the published names. Throws one Error listing every missing, unexpected and misshapen tensor;
  /// `where` begins the message.
  InceptionV3(const TensorMap& tensors, const std::string& where);

  /// In: [N, 3, 299, 299] float32 in the network's range (see inception_input). No gradients.
  InceptionOutput forward(const torch::Tensor& input) const;
  /// features * fc.weight^T, [N, 1008]; without bias as the Inception Score takes it, or with.
  torch::Tensor logits(const torch::Tensor& features, bool with_bias) const;

  /// Called with name and output [N, C, H, W] of every unit, for locating a difference; may be empty.
  std::function<void(const std::string& unit, const torch::Tensor& output)> observer;

 private:
  /// One convolution with its batch norm folded in (in float64), stored float32.
  struct Unit {
    torch::Tensor weight;  // [out, in, kh, kw]
    torch::Tensor bias;    // [out]
    std::int64_t stride = 1;
    std::vector<std::int64_t> padding;
  };
  torch::Tensor unit(const std::string& name, const torch::Tensor& x) const;
  torch::Tensor chain(const std::string& block, const std::vector<std::string>& units, torch::Tensor x) const;
  torch::Tensor mixed5(const std::string& block, const torch::Tensor& x) const;
  torch::Tensor mixed6(const std::string& block, const torch::Tensor& x) const;
  torch::Tensor mixed7(const std::string& block, const torch::Tensor& x, bool max_pool) const;

  std::map<std::string, Unit> units_;
  torch::Tensor head_weight_, head_bias_;  // [1008, 2048], [1008]
};

/// Reads the published file (a torch stream), another torch archive or a .safetensors with these names.
/// Throws Error naming the file where it holds something else.
InceptionV3 load_inception(const std::filesystem::path& file);

}  // namespace tessera
