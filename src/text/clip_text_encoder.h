/// CLIP's text transformer: token ids to one vector a position. Pre-norm blocks with a causal mask, no padding mask;
/// activation x sigmoid(1.702 x). Radford et al., arXiv:2103.00020, section 2.4; names on disk: the hub's
/// CLIPTextModel, or CLIPTextModelWithProjection where a text is also one vector.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/named_module.h"
#include "kernels/ops/layers.h"
#include "nn/layers.h"
#include "runtime/random.h"

namespace tessera {

struct ClipTextOptions {
  std::int64_t vocabulary = 49408;  // ids; the last two are start and end
  std::int64_t length = 77;         // positions
  std::int64_t width = 512;         // C, a multiple of heads
  std::int64_t layers = 12;
  std::int64_t heads = 8;
  std::int64_t hidden = 2048;  // of the MLP
  bool exact_gelu = false;     // x Phi(x) instead of x sigmoid(1.702 x)
  double layer_norm_epsilon = 1e-5;
  std::int64_t projection = 0;  // width of the text as one vector; 0: the model has none
  // The position that the one vector is read at is the first of this id. 2, which older files have whatever their
  // vocabulary: the first of the largest id.
  std::int64_t end_token = 2;

  /// Throws Error naming the value that is out of range.
  void validate() const;
  /// text_encoder/config.json.
  nlohmann::json to_config() const;
  static ClipTextOptions from_config(const nlohmann::json& config);
};

class ClipTextEncoderImpl : public NamedModule {
 public:
  explicit ClipTextEncoderImpl(const ClipTextOptions& options);

  /// In: ids [N, P] int64, P at most `length`. Out: [N, P, C] after the final layer norm. hidden_states, if given,
  /// receives the embedding and the output of every layer, each [N, P, C].
  torch::Tensor forward(const torch::Tensor& ids, std::vector<torch::Tensor>* hidden_states = nullptr);

  /// The texts as one vector each, through the projection and not normalised. In: ids [N, P], states [N, P, C] as
  /// forward returns them. Out: [N, projection]. Throws Error where the model has no projection.
  torch::Tensor pooled(const torch::Tensor& ids, const torch::Tensor& states);

  /// Weights of a hub file; the buffer position_ids is left out.
  void load_hub(TensorMap tensors, const std::string& where);
  /// The same for an encoder that lives for a prompt or two and computes on the CPU: the products' weights stay as they
  /// lie in a mapped file, float16 or float32, and what they are packed into is let go of layer by layer.
  void load_in_passing(const TensorMap& tensors, const std::string& where);
  /// Random weights: normal(0, 0.02), norms one, biases zero. Draws from a generator of this seed.
  void initialise(Seed seed);
  void set_precision(Precision precision);
  const ClipTextOptions& options() const { return options_; }

 private:
  struct Norm {
    torch::Tensor weight, bias;  // [C]
  };
  struct Layer {
    Norm norm1, norm2;
    Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr}, up{nullptr}, down{nullptr};
  };
  Norm norm(const std::string& name);
  torch::Tensor apply(const Norm& layer, const torch::Tensor& x) const;
  torch::Tensor computed(Layer& layer, const torch::Tensor& x) const;

  ClipTextOptions options_;
  Precision precision_ = Precision::float32;
  bool in_passing_ = false;
  torch::Tensor tokens_;     // [vocabulary, C]
  torch::Tensor positions_;  // [length, C]
  std::vector<Layer> layers_;
  Norm final_;
  Linear projection_{nullptr};  // without bias
};
TORCH_MODULE(ClipTextEncoder);

/// The encoder of a configuration with a hub file's weights, which are matched with it before it takes memory. Throws
/// Error (beginning with `where`) listing what does not fit. in_passing: by load_in_passing.
ClipTextEncoder load_text_encoder(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
                                  bool in_passing = false);

/// Each position divided by its Euclidean norm, as VQ-Diffusion conditions on it. In, out: [N, P, C].
torch::Tensor unit_positions(const torch::Tensor& states);

}  // namespace tessera
