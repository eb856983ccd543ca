/// A loaded model with its parts tied together: the public C++ API.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "canvas/fill_canvas.h"
#include "codec/codec.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/transformer.h"
#include "pipeline/sampling_suggestion.h"
#include "pipeline/text_condition.h"
#include "sampling/fill.h"

namespace tessera {

struct PipelineOptions {
  // Of the products: float32, bfloat16, float16 (GPUs), int8 (CPUs; the denoiser's linear layers, the rest bfloat16),
  // or auto (kernels/device.h).
  std::string dtype = "float32";
  std::string device = "cpu";  // cpu, cuda or cuda:N
  // On the CPU weights are read from the bundle's files as they are needed, which must stay as they are meanwhile
  // (replaced by renaming is fine). false: all are copied first; a program that runs for long outlives its files.
  bool map_weights = true;
};

/// What pictures are to show, for models that take a condition.
struct PromptOptions {
  std::string prompt;                    // UTF-8; empty: no text
  std::string negative_prompt;           // steers away from this text instead of from none; empty: none
  std::int64_t label = -1;               // class label; -1: none
  std::optional<double> guidance_scale;  // 1: the condition alone, 0: none; not given: Pipeline::guidance_scale
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

  bool has_prior() const { return !prior_.is_empty() || guided_; }
  Codec codec() const { return codec_; }
  /// Throws Error where the bundle holds a codec only.
  Denoiser& prior();
  const TransformerOptions& prior_options();
  /// T of the process the prior was trained with.
  std::int64_t total_steps() const { return total_steps_; }
  /// "autoregressive", or the process: "absorbing", "mask-and-replace" ...
  const std::string& process() const { return process_; }
  /// For FillOptions::process; none for absorbing and autoregressive priors without a condition.
  std::shared_ptr<const Process> fill_process() const { return fill_process_; }
  /// What the bundle's author suggests where the user leaves the sampler open.
  const SamplingOptions& suggestion() const { return suggestion_; }
  /// FillOptions::cross_entropy, as measured once and kept in the bundle; empty: not measured.
  const std::vector<double>& cross_entropy() const { return cross_entropy_; }
  /// As given, else as the bundle's author suggests, else 5, the default of the hub's VQDiffusionPipeline.
  double guidance_scale(const PromptOptions& prompt) const;
  /// "none", "text" or "class": what the prior can be conditioned on.
  std::string condition() const;
  /// For FillOptions::conditions: what an image is to show. Texts are encoded once and remembered. Throws UsageError
  /// where the model does not take such a condition.
  Condition condition_for(const PromptOptions& options);
  /// What the dtype asked for came to: float32, bfloat16 or int8.
  const std::string& dtype() const { return dtype_; }

  /// `count` pictures of seed options.seed, numbered from options.first_image. FillOptions{} makes what `tessera
  /// generate` without sampling flags makes.
  Generated generate(std::int64_t count, const FillOptions& options = {}, const StepCallback& on_step = {});

  /// Fills the MASK cells of a grid of any extent; through overlapping windows where it is not the prior's own. Every
  /// edit (canvas/edit_plan.h) comes to this.
  FillResult fill(const TokenGrid& grid, const FillOptions& options, const WindowOptions& windows = {},
                  const StepCallback& on_step = {}, const FillCheckpoint& from = {});
  /// A filled grid of any extent as pictures, [N, 3, H, W] uint8; in tiles where it is larger than the codec's own.
  torch::Tensor decode(const TokenGrid& grid);

 private:
  void load_conditional_prior(const Bundle& parts, Precision precision, torch::Device device, WeightLoading loading);

  std::filesystem::path bundle_;
  Codec codec_{nullptr};
  Transformer prior_{nullptr};
  std::shared_ptr<GuidedDenoiser> guided_;  // in place of prior_ where the network takes a condition
  TransformerOptions guided_options_;       // its size in the other's terms
  std::optional<TextCondition> text_;
  std::shared_ptr<const Process> fill_process_;
  std::int64_t total_steps_ = 0;
  SamplingOptions suggestion_;
  std::vector<double> cross_entropy_;
  std::string process_;
  std::string dtype_;
};

}  // namespace tessera
