/// An unfinished fill on disk, so that long work can stop and go on.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sampling/fill.h"

namespace tessera {

struct PartialCanvas {
  std::string made_by;                  // what decides the result beside the grids: options as JSON
  std::vector<torch::Tensor> finished;  // [h, w] int64 each: the grids filled before the present batch, in order
  torch::Tensor start;                  // [N, h, w] int64: the present batch as its fill began, K where MASK
  FillCheckpoint now;                   // where it stands

  /// Throws Error unless this is an unfinished fill of `grid` under the same options; `where` names the file.
  void require_same(const TokenGrid& grid, const std::string& options, const std::string& where) const;
};

/// Writes atomically, as safetensors.
void save_partial(const std::filesystem::path& path, const PartialCanvas& partial);
/// Throws Error naming the file and what is missing or broken.
PartialCanvas load_partial(const std::filesystem::path& path);

}  // namespace tessera
