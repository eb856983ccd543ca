/// What a prior learns from: token grids, and what each of them is told.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// One entry for each grid of TokenData::train and ::validation; empty where the recipe asks for none.
struct ConditionData {
  std::vector<std::string> train_captions, validation_captions;
  // Further captions of each training grid, of which one of all is drawn at each step; empty: no grid has any.
  std::vector<std::vector<std::string>> more_train_captions;
  // Keywords of each training grid, of which a random choice may stand for its caption; empty: not asked for.
  std::vector<std::vector<std::string>> train_keywords;
  std::vector<std::int64_t> train_labels, validation_labels;
  std::int64_t classes = 0;
  std::vector<std::string> class_names = {};  // one for each class; empty: they have none
};

/// Token grids to train on.
struct TokenData {
  torch::Tensor train;       // [n, h, w] integers
  torch::Tensor validation;  // [m, h, w]
  std::int64_t codebook_size = 0;
  std::string key;         // hash of where they come from
  std::int64_t count = 0;  // pictures or grids in the set, held out or not; 0: not known
  // Of the first grids; mirrored pictures follow the others and are told the same.
  ConditionData conditions;
  torch::Tensor codebook;  // [K, D] on the CPU, for processes that need it; undefined: not known
};

}  // namespace tessera
