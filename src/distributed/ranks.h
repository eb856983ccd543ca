/// The ranks of one job: processes that compute parts of the same thing. One rank is the same code without a socket.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "distributed/launch.h"
#include "distributed/liveness.h"
#include "distributed/tree_sum.h"

namespace tessera {

class Ranks {
 public:
  /// This process alone.
  Ranks();
  /// Meets the others of the job. Throws Error within options.rank_timeout where they do not come, where this LibTorch
  /// has no Gloo, or as `launch_from` does.
  explicit Ranks(const RankOptions& options, const Launch& launch);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return rank_; }
  int count() const { return count_; }
  int local_rank() const { return local_rank_; }
  int on_this_machine() const { return on_this_machine_; }
  bool is_first() const { return rank_ == 0; }

  // All of these are called by all ranks in the same order. They throw LostRank where another rank ends or falls
  // silent.

  /// The values of one rank, in place. In: tensors of the same shape and dtype on all ranks.
  void broadcast(torch::Tensor& values, int from = 0) const;
  std::string broadcast_text(const std::string& text) const;
  /// By rank. In: tensors of the same dtype and sizes but the first, which may differ.
  std::vector<torch::Tensor> gather(const torch::Tensor& rows) const;
  std::vector<std::string> gather_texts(const std::string& text) const;
  /// The same bits on all ranks, whatever their number: the values of all leaves summed in one fixed tree.
  /// In: float32 [n], of one size for all leaves; asked for this rank's leaves alone (leaves_of), in order.
  torch::Tensor sum(std::int64_t leaves, const LeafValue& value) const;
  /// The two halves of a sum, of rows cut into a part for each rank: rank r's has sizes[r] numbers.
  /// This rank's part of the sum. In: sums [n] of this rank's nodes (tree_sum.h), float32 or bfloat16, n that of
  /// `sizes`.
  torch::Tensor summed_part(std::int64_t leaves, const std::vector<torch::Tensor>& node_sums,
                            const std::vector<std::int64_t>& sizes) const;
  /// The parts of all ranks, one after the other, on the CPU.
  torch::Tensor joined(const torch::Tensor& part, const std::vector<std::int64_t>& sizes) const;
  /// As even as they can be.
  std::vector<std::int64_t> even_parts(std::int64_t length) const;
  /// Returns when all ranks have called it.
  void barrier() const;

  /// Ends the other ranks with one line. To be called where this one ends with an error.
  void say_failed(const std::string& text) noexcept;
  /// Seconds spent in exchanges so far, waiting for slower ranks with it; and bytes that this rank received. Of the
  /// seconds, those in which it computed beside them.
  double seconds_exchanging() const { return seconds_; }
  double seconds_hidden() const { return hidden_; }
  double bytes_received() const { return bytes_; }
  void count_as_hidden(double seconds) const { hidden_ += seconds; }
  /// What the job was started with.
  const RankOptions& options() const { return options_; }

 private:
  struct Group;
  std::vector<torch::Tensor> gather_equal(const torch::Tensor& values) const;
  torch::Tensor all_to_all(const torch::Tensor& sent, std::vector<std::int64_t> sent_sizes,
                           std::vector<std::int64_t> received_sizes) const;

  int rank_ = 0, count_ = 1, local_rank_ = 0, on_this_machine_ = 1;
  std::shared_ptr<Group> group_;  // none: one rank
  RankOptions options_;
  mutable double seconds_ = 0, hidden_ = 0, bytes_ = 0;
};

}  // namespace tessera
