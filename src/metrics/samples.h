/// Samples drawn for an evaluation, in parts on the disk: a killed run goes on where it stopped, and several processes
/// draw different parts of one set. Which process draws a part changes nothing: image i of a seed is always the same.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "pipeline/pipeline.h"

namespace tessera {

struct SampleOptions {
  FillOptions fill;
  std::int64_t count = 1000;     // images
  std::int64_t part_size = 64;   // images a file
  std::filesystem::path folder;  // of the parts; made when first written to
  std::string prior_hash;        // of the weights, part of the parts' key

  /// Parts altogether.
  std::int64_t parts() const { return (count + part_size - 1) / part_size; }
  /// Names weights and sampling settings (not the count): parts of another key are an Error.
  std::string key() const;
  /// Throws UsageError naming the option.
  void validate() const;
};

struct SampleSet {
  TokenGrid grid;          // [count, h, w]
  double evaluations = 0;  // network evaluations an image
  double seconds = 0;      // of sampling, all parts together, decoding not counted
};

/// Draws the parts number shard, shard + shards, ... that are not there yet.
void draw_samples(Pipeline& pipeline, const SampleOptions& options, std::int64_t shard = 0, std::int64_t shards = 1);

/// All parts. Throws Error naming the part that is missing, broken or of another key.
SampleSet read_samples(const SampleOptions& options, std::int64_t codebook_size);

/// Grids to pictures, a batch at a time. Out: [N, 3, H, W] uint8.
torch::Tensor decode_grids(Codec codec, const TokenGrid& grid, std::int64_t batch = 16);

/// What the sampling was, for reports.
nlohmann::ordered_json settings_of(const FillOptions& fill);

}  // namespace tessera
