/// What a sampler needs of a network: p(x0 | xt) for given tokens, as logits. The transformers implement it; tests use
/// exact tables.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "runtime/random.h"

namespace tessera {

/// The running state of an autoregressive decoding of N rows (its key and value cache).
class Decoding {
 public:
  virtual ~Decoding() = default;
  /// In: previous [N] int64, the tokens chosen after the last call; undefined at the first call.
  /// Out: [N, K] logits of the next cell. Throws Error after the last cell.
  virtual torch::Tensor advance(const torch::Tensor& previous) = 0;
};

/// A network p(x0 | xt) over token grids.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  /// K: tokens are 0..K-1, MASK is K.
  virtual std::int64_t codebook_size() const = 0;
  /// Where its parameters are; tokens may be given on any device.
  virtual torch::Device device() const { return torch::kCPU; }
  /// true: logits_at is not available, begin_decoding is.
  virtual bool is_autoregressive() const { return false; }
  /// In: tokens [N, L] int64 with values 0..K; rows [M] int64, flat cells n * L + l. Out: [M, K] logits of those cells.
  virtual torch::Tensor logits_at(const torch::Tensor& tokens, const torch::Tensor& rows) = 0;
  /// Tells which picture and which step of a sampler the next logits_at is for. Networks take no notice; what wraps one
  /// may draw by it.
  virtual void begin_step(const ImageKey&, std::uint32_t) {}
  /// The time of the process that the tokens of the next logits_at have come to: t [N] int64 in 1..T, or [1] for all.
  /// Networks that see no time take no notice.
  virtual void begin_times(const torch::Tensor&) {}
  /// true: logits_at needs begin_times.
  virtual bool sees_time() const { return false; }
  /// Starts decoding `count` rows cell by cell. Throws Error where the network is not autoregressive.
  virtual std::unique_ptr<Decoding> begin_decoding(std::int64_t count);
};

}  // namespace tessera
