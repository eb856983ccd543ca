/// Table [prior] of a recipe; every field is also a flag of `tessera train prior`. Which of them a training makes
/// something of: training/prior_fields.h.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>

#include "checkpoint/bundle.h"
#include "diffusion/processes.h"
#include "prior/prior.h"
#include "runtime/fields.h"
#include "training/adam.h"
#include "training/batch_shards.h"
#include "training/prior_data.h"

namespace tessera {

struct PriorRecipe {
  std::string prior = default_process().name;  // one of trained_priors()
  std::string process = default_process().name;
  std::string condition = "none";
  std::int64_t layers = 6;
  std::int64_t heads = 4;
  std::int64_t width = 256;
  double dropout = 0;
  std::int64_t attention_block = 0;
  std::string initialisation = "small_normal";
  std::string start_from;
  std::int64_t total_steps = 0;
  std::string chain_schedule = "geometric";
  std::string frequencies = "codes";
  std::string loss = "reweighted_elbo";
  std::string mask_schedule = "random";
  std::string time_sampling = "uniform";
  std::int64_t steps = 0;
  std::int64_t batch_size = 16;
  ShardRecipe sharing;
  double learning_rate = 1e-3;
  std::int64_t warmup = -1;
  double final_learning_rate = 0.02;
  double weight_decay = 0.01;
  double beta2 = 0.99;
  double clip_norm = 1;
  double ema_decay = 0.998;
  bool ema_warmup = true;
  std::string sampling = "epochs";
  double validation_fraction = 0.05;
  std::string background = "#ffffff";
  bool flip = false;
  bool upscale = false;
  std::int64_t validation_grids = 128;
  bool validation_spread = true;
  std::int64_t validation_terms = 16;
  std::string keep = "distance";
  double null_rate = 0.1;
  double keyword_rate = 0;
  double auxiliary_weight = 5e-4;
  double whole_mask_rate = 0;
  std::int64_t whole_mask_steps = 0;
  std::int64_t text_width = 128;
  std::int64_t text_layers = 2;
  std::int64_t text_length = 32;
  std::int64_t text_merges = 1024;
  std::int64_t seed = 0;
  std::string precision = "auto";
  std::string encode_precision = "float32";

  Fields fields();
  void validate() const;
  AdamOptions adam() const;

  /// It learns each cell given those before it.
  bool is_autoregressive() const;
  /// The network sees the time: a transformer that reverses a process other than the usual one, or is told a text or a
  /// class; ImageBART's.
  bool sees_time() const;
  /// Of a network that no recipe makes (training/released_networks.h); no field.
  std::optional<bool> network_sees_time;
  bool has_text() const { return condition == "text"; }
  bool has_classes() const { return condition == "class"; }

  /// Which of `count` grids a validation looks at: [min(validation_grids, count)] int64, ascending.
  torch::Tensor grids_to_measure(std::int64_t count) const;
};

/// steps from the number of grids, total_steps from the cells (100 as published where the network sees the time),
/// warmup from the steps.
void choose_defaults(PriorRecipe& recipe, const TokenData& data);

/// Gives the fields of the network's geometry (layers, width, process, condition, text encoder ...) the values of the
/// prior in the bundle `recipe.start_from`, so that its weights fit. To be called before what the user chose is laid
/// over it. Does nothing where start_from is empty.
void inherit_architecture(PriorRecipe& recipe);
/// Those of the prior in `start`, whose name begins an error.
void inherit_architecture(PriorRecipe& recipe, const Bundle& start, const std::string& name);

}  // namespace tessera
