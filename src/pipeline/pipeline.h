/// A loaded model with its parts tied together: the public C++ API.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "canvas/fill_canvas.h"
#include "checkpoint/lora.h"
#include "codec/codec.h"
#include "prior/prior.h"
#include "sampling/fill.h"

namespace tessera {

struct PipelineOptions {
  // Of the products: float32, bfloat16, float16 (GPUs), int8 (CPUs; the denoiser's linear layers, the rest bfloat16),
  // or auto (kernels/ops/device.h).
  std::string dtype = "float32";
  std::string device = "cpu";  // cpu, cuda or cuda:N
  // On the CPU weights are read from the bundle's files as they are needed, which must stay as they are meanwhile
  // (replaced by renaming is fine). false: all are copied first; a program that runs for long outlives its files.
  bool map_weights = true;
  std::vector<LoraChoice> loras = {};  // applied to the weights in this order, before they are used
};

/// Pictures and how they came about.
struct Generated {
  torch::Tensor images;  // [N, 3, H, W] uint8
  TokenGrid grid;        // [N, h, w]
  FillReport report;
};

class Pipeline {
 public:
  /// Loads a bundle: a folder, or the name of a shipped one (runtime/shipped_files.h). Throws Error naming what is
  /// missing or does not fit.
  static Pipeline load(const std::filesystem::path& model, const PipelineOptions& options = {});

  bool has_prior() const { return prior_ != nullptr; }
  Codec codec() const { return codec_; }
  /// The prior's network. Throws Error where the bundle holds a codec only; so do all that follow.
  Denoiser& prior() { return held_prior().denoiser(); }
  /// Its grid, codes and sizes.
  const NetworkFacts& prior_network() const { return held_prior().facts().network; }
  /// T of the process the prior was trained with.
  std::int64_t total_steps() const { return held_prior().facts().total_steps; }
  /// One of processes(), or kAutoregressive.
  const std::string& process() const { return held_prior().facts().process; }
  /// For FillOptions::process; none for priors whose network sees no time.
  std::shared_ptr<const Process> fill_process() const { return held_prior().process(); }
  /// What the bundle's author suggests where the user leaves the sampler open.
  const SamplingOptions& suggestion() const { return held_prior().facts().suggestion; }
  /// FillOptions::cross_entropy, as measured once and kept in the bundle; empty: not measured.
  const std::vector<double>& cross_entropy() const { return held_prior().facts().cross_entropy; }
  /// As given, else as the bundle's author suggests, else 5, the default of the hub's VQDiffusionPipeline.
  double guidance_scale(const PromptOptions& prompt) const { return held_prior().guidance_scale(prompt); }
  /// "none", "text" or "class": what the prior can be conditioned on.
  std::string condition() const { return held_prior().facts().condition(); }
  /// For FillOptions::conditions: what an image is to show. Texts are encoded once and remembered. Throws UsageError
  /// where the model does not take such a condition.
  Condition condition_for(const PromptOptions& options) { return held_prior().condition_for(options); }
  /// The tokenizer of prompts; null where the model takes no text.
  const ClipTokenizer* tokenizer() const { return held_prior().tokenizer(); }
  /// What the dtype asked for came to: float32, bfloat16 or int8.
  const std::string& dtype() const { return dtype_; }
  /// What its pictures depend on beside bundle, seed and options: {"dtype", "kernels"}, for their records. kernels:
  /// cpu_kernels() or the device.
  nlohmann::json computed_by() const;

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
  Prior& held_prior() const;

  std::filesystem::path bundle_;
  Codec codec_{nullptr};
  std::shared_ptr<Prior> prior_;
  std::string dtype_;
};

}  // namespace tessera
