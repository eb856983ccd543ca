#include "distributed/tree_sum.h"

#include "runtime/error.h"

namespace tessera {
namespace {

std::int64_t middle_of(const LeafRange& node) {
  return node.begin + node.size() / 2;
}

void collect_whole(const LeafRange& node, const LeafRange& run, std::vector<LeafRange>& found) {
  if (node.end <= run.begin || node.begin >= run.end) return;
  if (node.begin >= run.begin && node.end <= run.end) {
    found.push_back(node);
    return;
  }
  collect_whole({node.begin, middle_of(node)}, run, found);
  collect_whole({middle_of(node), node.end}, run, found);
}

}  // namespace

LeafRange leaves_of(std::int64_t leaves, int rank, int ranks) {
  return {leaves * rank / ranks, leaves * (rank + 1) / ranks};
}

std::vector<LeafRange> whole_nodes(std::int64_t leaves, const LeafRange& run) {
  std::vector<LeafRange> found;
  collect_whole({0, leaves}, run, found);
  return found;
}

bool NodeSums::is_node(const LeafRange& range) const {
  LeafRange node{0, leaves_};
  while (node.size() > range.size()) {
    const auto middle = middle_of(node);
    node = range.begin < middle ? LeafRange{node.begin, middle} : LeafRange{middle, node.end};
  }
  return node.begin == range.begin && node.end == range.end;
}

void NodeSums::add(std::int64_t leaf, torch::Tensor value) {
  parts_.push_back({{leaf, leaf + 1}, std::move(value)});
  while (parts_.size() > 1) {
    const auto& last = parts_.back();
    auto& before = parts_[parts_.size() - 2];
    if (before.node.end != last.node.begin || !is_node({before.node.begin, last.node.end})) return;
    before.sum = before.sum + last.sum;
    before.node.end = last.node.end;
    parts_.pop_back();
  }
}

std::vector<torch::Tensor> NodeSums::sums() const {
  std::vector<torch::Tensor> all;
  for (const auto& part : parts_) all.push_back(part.sum);
  return all;
}

torch::Tensor sum_of_nodes(std::int64_t leaves, const std::vector<LeafRange>& nodes,
                           const std::vector<torch::Tensor>& sums) {
  std::size_t next = 0;
  const std::function<torch::Tensor(const LeafRange&)> sum = [&](const LeafRange& node) {
    require(next < nodes.size() && nodes[next].begin == node.begin, "tree sum: its nodes do not cover the leaves");
    if (nodes[next].end == node.end) return sums[next++];
    const auto first = sum({node.begin, middle_of(node)});
    return first + sum({middle_of(node), node.end});
  };
  return sum({0, leaves});
}

}  // namespace tessera
