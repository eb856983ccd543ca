/// A prior as a bundle holds it: a network, the process that it reverses, and what it can be conditioned on.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/bundle.h"
#include "denoiser/networks.h"
#include "diffusion/process.h"
#include "prior/sampling_suggestion.h"
#include "prior/text_condition.h"

namespace tessera {

/// In place of a process: the network sees the cells before, in raster order.
inline constexpr const char* kAutoregressive = "autoregressive";

/// What a prior's configurations say, without its weights: for lists of models.
struct PriorFacts {
  NetworkFacts network;
  std::string process;  // one of processes(), or kAutoregressive
  std::int64_t total_steps = 0;
  bool has_mask = true;  // MASK is a state of the process
  SamplingOptions suggestion;
  // FillOptions::cross_entropy, as measured once; empty: not measured.
  std::vector<double> cross_entropy;

  /// "none", "text" or "class".
  std::string condition() const { return network.condition(); }
};

/// In: the contents of transformer/config.json and scheduler/config.json (null where the bundle has none), and the
/// bundle's name, which begins an error. Throws Error naming the field that is wrong.
PriorFacts prior_facts(const nlohmann::json& transformer, const nlohmann::json& scheduler, const std::string& bundle);

/// What images are to show, for models that take a condition.
struct PromptOptions {
  std::string prompt;                    // UTF-8; empty: no text
  std::string negative_prompt;           // steers away from this text instead of from none; empty: none
  std::int64_t label = -1;               // class label; -1: none
  std::optional<double> guidance_scale;  // 1: the condition alone, 0: none; not given: as the bundle suggests
  std::string class_name = {};           // in place of a label; empty: none
};

class Prior {
 public:
  struct Loading {
    WeightLoading weights = WeightLoading::copy;
    Precision precision = Precision::float32;
    torch::Device device = torch::kCPU;
  };

  /// parts.denoiser is there. codebook [K, D]: the codec's; undefined where there is none. Throws Error naming what is
  /// missing or does not fit.
  Prior(const Bundle& parts, const std::string& bundle, const torch::Tensor& codebook, const Loading& loading);

  Denoiser& denoiser() { return *denoiser_; }
  const PriorFacts& facts() const { return facts_; }
  /// For FillOptions::process; none where the network sees no time.
  std::shared_ptr<const Process> process() const { return process_; }
  /// As given, else as the bundle's author suggests, else 5, the default of the hub's VQDiffusionPipeline.
  double guidance_scale(const PromptOptions& prompt) const;
  /// The class that is asked for; -1: none. Throws UsageError where the model has no class of that number or name.
  std::int64_t label_of(const PromptOptions& prompt) const;
  /// The tokenizer of prompts; null where the model takes no text.
  const ClipTokenizer* tokenizer() const { return text_ ? &text_->tokenizer() : nullptr; }
  /// For FillOptions::conditions: what an image is to show. Texts are encoded once and remembered. Throws UsageError
  /// where the model does not take such a condition.
  Condition condition_for(const PromptOptions& options);

 private:
  PriorFacts facts_;
  std::shared_ptr<Denoiser> denoiser_;
  std::shared_ptr<const Process> process_;
  std::optional<TextCondition> text_;
};

}  // namespace tessera
