/// Batches of training images as a pure function of (seed, step): any step can be asked for, in any order, after a
/// restart too. A thread prepares the steps that follow the last one asked for.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "runtime/random.h"

namespace tessera {

struct BatchOptions {
  std::int64_t batch_size = 1;  // images a step
  Seed seed = 0;
  bool flip = false;      // mirror left to right with probability one half
  double crop_scale = 1;  // in [1, 4]: enlarged by this, then a random [S, S] is cut out; 1: off
  int prefetch = 2;       // batches prepared ahead; 0: none
  // Rows of the batch that this process makes (others make the others); none: all of it.
  std::int64_t first_row = 0, rows = 0;

  /// Throws Error naming the option.
  void validate() const;
};

struct Batch {
  torch::Tensor images;   // [B, 3, S, S] uint8, B the rows asked for
  torch::Tensor indices;  // [B] int64, into the data set
  torch::Tensor flipped;  // [B] bool
};

class BatchLoader {
 public:
  /// Throws Error where the split is empty.
  BatchLoader(Dataset dataset, Split split, const BatchOptions& options);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  /// In: step >= 0. Each epoch is another permutation of the split; a batch may reach over the end of one.
  /// The images of a step do not depend on the steps asked for before. Not to be called from two threads at once.
  Batch batch(std::int64_t step);
  /// The position of every image of a step, without its pixels: [B] int64, into the data set.
  std::vector<std::int64_t> indices(std::int64_t step) const;
  std::int64_t images_per_epoch() const;

 private:
  struct Worker;
  std::unique_ptr<Worker> worker_;
};

}  // namespace tessera
