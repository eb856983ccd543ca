/// A loaded model with its parts tied together: the public C++ API.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>

#include "codec/codec.h"
#include "denoiser/transformer.h"
#include "sampling/fill.h"

namespace tessera {

struct PipelineOptions {
  std::string dtype = "float32";  // of the products: float32 or bfloat16
  std::string device = "cpu";     // cpu or cuda
};

/// Pictures and how they came about.
struct Generated {
  torch::Tensor images;  // [N, 3, H, W] uint8
  TokenGrid grid;        // [N, h, w]
  FillReport report;
};

class Pipeline {
 public:
  /// Loads a bundle. Throws Error naming what is missing or does not fit.
  static Pipeline load(const std::filesystem::path& bundle, const PipelineOptions& options = {});

  bool has_prior() const { return !prior_.is_empty(); }
  Codec codec() const { return codec_; }
  /// Throws Error where the bundle holds a codec only.
  Denoiser& prior();
  const TransformerOptions& prior_options();
  /// T of the process the prior was trained with.
  std::int64_t total_steps() const { return total_steps_; }
  /// "absorbing" or "autoregressive".
  const std::string& process() const { return process_; }

  /// `count` pictures of seed options.seed, numbered from options.first_image.
  Generated generate(std::int64_t count, const FillOptions& options, const StepCallback& on_step = {});

 private:
  std::filesystem::path bundle_;
  Codec codec_{nullptr};
  Transformer prior_{nullptr};
  std::int64_t total_steps_ = 0;
  std::string process_;
};

}  // namespace tessera
