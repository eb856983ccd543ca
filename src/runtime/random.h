/// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
/// A draw is a pure function of (seed, purpose, image, step, cell), so the same image comes out whatever the batch
/// split, the thread count or the number of processes.
#pragma once

#include <array>
#include <cstdint>

namespace tessera {

using Seed = std::uint64_t;

/// What a stream of draws is for. Streams of different purposes never overlap. Values are part of the format: append
/// only.
enum class Purpose : std::uint32_t {
  select_cells = 1,  // which cells change at a step
  draw_tokens = 2,   // the tokens drawn at a step
  gumbel_noise = 3,  // confidence samplers
  training_times = 4,
  training_masks = 5,
  data_order = 6,
  data_augment = 7,
  data_split = 8,
  quantizer_noise = 9,
  codebook_reseed = 10,
  discriminator_augment = 11,
  batch_rows = 12,
  initial_mask = 13,
  window_choice = 14,
  dropout = 15,
  corrector = 16,  // which cells a step draws anew
};

/// Which picture draws are for: image i of a seed is the same wherever and with whatever else it is made.
struct ImageKey {
  Seed seed = 0;
  std::uint64_t image = 0;  // number within the seed
  bool operator==(const ImageKey&) const = default;
};

/// One Philox4x32-10 block.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// The draws of one (seed, purpose, image, step); indexed by cell, in any order.
class RandomStream {
 public:
  RandomStream(Seed seed, Purpose purpose, std::uint64_t image = 0, std::uint32_t step = 0)
      : seed_(seed), purpose_(purpose), image_(image), step_(step) {}

  /// Uniform in the open interval (0, 1), 53 bits.
  double uniform(std::uint32_t cell) const;
  /// 64 random bits.
  std::uint64_t bits(std::uint32_t cell) const;
  /// Uniform integer in [0, bound), without bias to within 2^-64 * bound.
  std::uint64_t below(std::uint32_t cell, std::uint64_t bound) const;
  /// Standard Gumbel draw: -log(-log(u)).
  double gumbel(std::uint32_t cell) const;

 private:
  Seed seed_;
  Purpose purpose_;
  std::uint64_t image_;
  std::uint32_t step_;
};

}  // namespace tessera
