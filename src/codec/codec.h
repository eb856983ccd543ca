/// The codec: pixels [N, 3, H, W] <-> token grid [N, h, w]. Source: arXiv:2111.12701, section 3.1; arXiv:2012.09841.
#pragma once

#include <torch/torch.h>

#include "checkpoint/safetensors.h"
#include "codec/codec_options.h"
#include "codec/layers.h"
#include "codec/quantizer.h"
#include "kernels/ops/cuda_graph.h"
#include "kernels/ops/weight_loading.h"
#include "tokens/token_grid.h"

namespace tessera {

/// Pixels in the network's own range -> latents [N, z, h, w].
class EncoderImpl : public torch::nn::Module {
 public:
  EncoderImpl(const CodecComputePtr& compute, const CodecOptions& options);
  torch::Tensor forward(torch::Tensor x);

 private:
  bool final_activation_;
  std::int64_t patch_size_;
  Convolution conv_in_{nullptr}, conv_out_{nullptr};
  torch::nn::ModuleList levels_;
  MiddleBlock middle_{nullptr};
  GroupNorm norm_out_{nullptr};
};
TORCH_MODULE(Encoder);

/// Latents [N, z, h, w] -> pixels in the network's own range, not clamped.
class DecoderImpl : public torch::nn::Module {
 public:
  DecoderImpl(const CodecComputePtr& compute, const CodecOptions& options);
  torch::Tensor forward(const torch::Tensor& latents);
  /// Mean and logarithm of the standard deviation of every pixel; needs logsigma_head.
  std::pair<torch::Tensor, torch::Tensor> distribution(const torch::Tensor& latents);
  /// The weight of the last convolution, on which the adaptive adversarial weight is measured.
  torch::Tensor last_layer() const { return conv_out_->weight; }

 private:
  torch::Tensor features(const torch::Tensor& latents);
  /// Patches [N, C P P, h, w] of any type -> float32 [N, C, h P, w P].
  torch::Tensor pixels(const torch::Tensor& patches) const;

  bool final_activation_;
  std::int64_t patch_size_;
  Convolution conv_in_{nullptr}, conv_out_{nullptr};
  MiddleBlock middle_{nullptr};
  torch::nn::ModuleList levels_;
  GroupNorm norm_out_{nullptr};
  torch::nn::ModuleDict logsigma_{nullptr};
};
TORCH_MODULE(Decoder);

/// What one training pass through the codec yields; pixel values in the network's own range.
struct CodecPass {
  torch::Tensor target;          // [N, 3, H, W] the input in the network's range
  torch::Tensor reconstruction;  // [N, 3, H, W]
  torch::Tensor quantizer_loss;  // scalar
  torch::Tensor indices;         // [N, h, w] int64
  torch::Tensor latents;         // [N, D, h, w] before quantisation
  torch::Tensor seen;            // QuantizerOutput::seen
};

class CodecImpl : public torch::nn::Module {
 public:
  explicit CodecImpl(CodecOptions options);

  const CodecOptions& options() const { return options_; }
  /// Where its weights are; pictures and grids may be given on any device, results are on the CPU.
  torch::Device device() const { return quantizer->codebook().device(); }
  void set_precision(Precision precision) {
    recorded_encode_.forget();
    recorded_decode_.forget();
    compute_->precision = precision;
  }

  /// Bytes [N, 3, H, W] -> float32 in the network's range; and back, clamped and rounded (cut_bytes: cut off).
  torch::Tensor to_network_range(const torch::Tensor& bytes) const;
  torch::Tensor to_bytes(const torch::Tensor& pixels) const;

  /// Latents that are quantised: encoder and quant_conv. In: network range.
  torch::Tensor latents(const torch::Tensor& pixels);
  /// Quantised latents through post_quant_conv, where there is one.
  torch::Tensor before_decoder(const torch::Tensor& quantized);
  /// Quantised latents -> pixels, network range: post_quant_conv and decoder.
  torch::Tensor decode_latents(const torch::Tensor& quantized);
  /// One pass with gradients. In: bytes [N, 3, H, W] uint8.
  CodecPass train_pass(const torch::Tensor& bytes, const QuantizerContext& context);

  /// The same with the codes as they are: gradients reach the decoder and post_quant_conv alone, quantizer_loss is 0.
  CodecPass decoder_pass(const torch::Tensor& bytes);

  /// Bytes [N, 3, H, W] (H and W multiples of the factor) -> tokens. No gradients.
  TokenGrid encode(const torch::Tensor& bytes);
  /// A full grid (no MASK) -> bytes [N, 3, H, W] uint8. No gradients.
  torch::Tensor decode(const TokenGrid& grid);

  /// Loads weights by name; one Error lists all missing, unexpected and wrong-shaped tensors.
  void load(const TensorMap& weights, const std::string& what, WeightLoading loading = WeightLoading::copy);
  /// What inference needs, by name; and with what the EMA quantiser needs to go on training.
  TensorMap weights() const;
  TensorMap training_state() const;

  Encoder encoder{nullptr};
  Decoder decoder{nullptr};
  std::shared_ptr<QuantizerImpl> quantizer;

 private:
  /// Whether a call on so many pixels is launched as a recording.
  bool is_recorded(std::int64_t pixels) const;
  /// Witnesses of a recording.
  std::vector<torch::Tensor> weights_in_use() const;

  CodecOptions options_;
  CodecComputePtr compute_;
  CudaGraph recorded_encode_, recorded_decode_;
  Convolution quant_conv_{nullptr}, post_quant_conv_{nullptr};
};
TORCH_MODULE(Codec);

/// exp(entropy) of the code frequencies in indices (any shape), and the number of codes used. Epsilon 1e-10 as in the
/// releases.
struct CodebookUse {
  double perplexity = 0;
  std::int64_t used = 0;
};
CodebookUse codebook_use(const torch::Tensor& indices, std::int64_t codebook_size);

}  // namespace tessera
