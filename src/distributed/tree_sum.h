/// A sum whose rounding depends on the number of its leaves alone, not on who computes them: a fixed binary tree over
/// the leaves, of which each rank sums the parts that lie wholly in its run.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace tessera {

/// [begin, end).
struct LeafRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

/// The leaves of rank `rank` of `ranks`: runs in order, as even as they can be.
LeafRange leaves_of(std::int64_t leaves, int rank, int ranks);

/// The largest nodes of the tree over `leaves` leaves that lie wholly in `run`, in order. One where leaves and ranks
/// are powers of two.
std::vector<LeafRange> whole_nodes(std::int64_t leaves, const LeafRange& run);

using LeafValue = std::function<torch::Tensor(std::int64_t leaf)>;

/// The sums of the largest nodes that a run of leaves fills, of values that come one after the other. Holds as many
/// sums as the tree is deep.
class NodeSums {
 public:
  explicit NodeSums(std::int64_t leaves) : leaves_(leaves) {}
  /// In: the leaves of a run, in order, each once; values of one shape and dtype. A sum of bfloat16 values is rounded
  /// to bfloat16 at every node of the tree, so that it travels between ranks without loss.
  void add(std::int64_t leaf, torch::Tensor value);
  /// By node, in order, as whole_nodes has them.
  std::vector<torch::Tensor> sums() const;

 private:
  bool is_node(const LeafRange& range) const;

  struct Part {
    LeafRange node;
    torch::Tensor sum;
  };
  std::int64_t leaves_;
  std::vector<Part> parts_;
};

/// The sum of the whole tree from those of its nodes. In: nodes that cover all leaves, in order, and their sums.
torch::Tensor sum_of_nodes(std::int64_t leaves, const std::vector<LeafRange>& nodes,
                           const std::vector<torch::Tensor>& sums);

}  // namespace tessera
