#include "metrics/topology_divergence.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// The complex over n points and one for all of Q, whose number is n: when each edge and triangle comes.
class RelativeComplex {
 public:
  RelativeComplex(const torch::Tensor& p, const torch::Tensor& q)
      : points_(p.size(0)), edges_(table()), through_(table()) {
    const auto within = torch::cdist(p, p).contiguous(), across = torch::cdist(p, q).contiguous();
    const auto* d = within.data_ptr<double>();
    const auto* to = across.data_ptr<double>();
    const auto others = q.size(0);
    at::parallel_for(0, points_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        const auto* own = to + i * others;
        at(edges_, i, points_) = *std::min_element(own, own + others);
        for (std::int64_t j = 0; j < i; ++j) {
          at(edges_, i, j) = d[i * points_ + j];
          double soonest = std::numeric_limits<double>::infinity();
          for (std::int64_t m = 0; m < others; ++m) soonest = std::min(soonest, std::max(own[m], to[j * others + m]));
          at(through_, i, j) = std::max(soonest, d[i * points_ + j]);
        }
      }
    });
  }

  std::int64_t vertices() const { return points_ + 1; }
  double edge(std::int64_t i, std::int64_t j) const { return edges_[place(i, j)]; }
  double triangle(std::int64_t i, std::int64_t j, std::int64_t k) const {
    if (i == points_) return through_[place(j, k)];
    if (j == points_) return through_[place(i, k)];
    if (k == points_) return through_[place(i, j)];
    return std::max({edge(i, j), edge(i, k), edge(j, k)});
  }

 private:
  std::vector<double> table() const {
    return std::vector<double>(static_cast<std::size_t>((points_ + 1) * points_ / 2));
  }
  static std::size_t place(std::int64_t i, std::int64_t j) {
    const auto [low, high] = std::minmax(i, j);
    return static_cast<std::size_t>(high * (high - 1) / 2 + low);
  }
  static double& at(std::vector<double>& values, std::int64_t i, std::int64_t j) { return values[place(i, j)]; }

  std::int64_t points_;
  std::vector<double> edges_, through_;  // by pair of vertices; of two points: when their triangle with Q comes
};

/// A triangle in the order in which they come; ties by its vertices.
struct Triangle {
  double value;
  std::int64_t key;
  bool operator<(const Triangle& other) const { return value != other.value ? value < other.value : key < other.key; }
  bool operator==(const Triangle& other) const { return key == other.key; }
};

struct Edge {
  double value;
  std::int64_t low, high;  // vertices
};

/// Sums of triangles modulo 2, as a heap whose first is the earliest.
class Column {
 public:
  void add(const Triangle& triangle) {
    heap_.push_back(triangle);
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  /// The earliest that is there an odd number of times; nothing where there is none. It stays.
  bool earliest(Triangle& found) {
    while (!heap_.empty()) {
      found = pop();
      if (heap_.empty() || !(heap_.front() == found)) {
        add(found);
        return true;
      }
      (void)pop();
    }
    return false;
  }

 private:
  static bool later(const Triangle& a, const Triangle& b) { return b < a; }
  Triangle pop() {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const auto last = heap_.back();
    heap_.pop_back();
    return last;
  }
  std::vector<Triangle> heap_;
};

/// Persistent cohomology in dimension 1 by reducing coboundaries, the latest edge first; edges that join components
/// have none to be reduced. de Silva et al., "Dualities in persistent (co)homology", arXiv:1107.5665; Bauer, "Ripser",
/// arXiv:1908.02518, section 3.
class Reduction {
 public:
  explicit Reduction(const RelativeComplex& complex) : complex_(complex) {
    for (std::int64_t high = 1; high < complex.vertices(); ++high) {
      for (std::int64_t low = 0; low < high; ++low) edges_.push_back({complex.edge(low, high), low, high});
    }
    std::sort(edges_.begin(), edges_.end(), [](const Edge& a, const Edge& b) {
      return std::tie(a.value, a.high, a.low) < std::tie(b.value, b.high, b.low);
    });
  }

  std::vector<Bar> bars() {
    const auto joins = edges_that_join();
    std::vector<Bar> found;
    for (auto i = static_cast<std::int64_t>(edges_.size()) - 1; i >= 0; --i) {
      if (joins[static_cast<std::size_t>(i)]) continue;
      const auto death = reduce(static_cast<std::size_t>(i));
      const auto birth = edges_[static_cast<std::size_t>(i)].value;
      if (death > birth) found.push_back({birth, death});
    }
    return found;
  }

 private:
  /// Of each edge, whether it joins two components of what has come before (Kruskal).
  std::vector<bool> edges_that_join() const {
    std::vector<std::int64_t> parent(static_cast<std::size_t>(complex_.vertices()));
    std::iota(parent.begin(), parent.end(), 0);
    const auto root = [&](std::int64_t vertex) {
      while (parent[static_cast<std::size_t>(vertex)] != vertex) {
        auto& up = parent[static_cast<std::size_t>(vertex)];
        vertex = up = parent[static_cast<std::size_t>(up)];
      }
      return vertex;
    };
    std::vector<bool> joins;
    for (const auto& edge : edges_) {
      const auto a = root(edge.low), b = root(edge.high);
      joins.push_back(a != b);
      if (a != b) parent[static_cast<std::size_t>(a)] = b;
    }
    return joins;
  }

  template <typename Take>
  void coboundary(const Edge& edge, const Take& take) const {
    const auto count = complex_.vertices();
    for (std::int64_t vertex = 0; vertex < count; ++vertex) {
      if (vertex == edge.low || vertex == edge.high) continue;
      std::int64_t all[] = {edge.low, edge.high, vertex};
      std::sort(std::begin(all), std::end(all));
      take(Triangle{complex_.triangle(all[0], all[1], all[2]), (all[2] * count + all[1]) * count + all[0]});
    }
  }

  /// When the class of an edge ends: the value of the triangle that it is paired with.
  double reduce(std::size_t index) {
    Triangle first{std::numeric_limits<double>::infinity(), 0};
    coboundary(edges_[index], [&](const Triangle& each) { first = std::min(first, each); });
    if (!paired_.count(first.key)) {  // nothing to add: most edges end so
      paired_[first.key] = {index};
      return first.value;
    }
    Column column;
    std::vector<std::size_t> sum;
    const auto add = [&](std::size_t other) {
      sum.push_back(other);
      coboundary(edges_[other], [&](const Triangle& each) { column.add(each); });
    };
    add(index);
    Triangle pivot{};
    while (column.earliest(pivot)) {
      const auto known = paired_.find(pivot.key);
      if (known == paired_.end()) {
        paired_[pivot.key] = odd(std::move(sum));
        return pivot.value;
      }
      const auto others = known->second;
      for (const auto other : others) add(other);
    }
    fail("topology divergence: a loop without an end");  // the complex is a simplex in the end
  }

  static std::vector<std::size_t> odd(std::vector<std::size_t> sum) {
    std::sort(sum.begin(), sum.end());
    std::vector<std::size_t> kept;
    for (const auto index : sum) {
      if (!kept.empty() && kept.back() == index) {
        kept.pop_back();
      } else {
        kept.push_back(index);
      }
    }
    return kept;
  }

  const RelativeComplex& complex_;
  std::vector<Edge> edges_;  // in the order in which they come
  std::unordered_map<std::int64_t, std::vector<std::size_t>>
      paired_;  // by triangle: the edges whose coboundaries add up to it
};

}  // namespace

void TopologyDivergenceOptions::validate() const {
  if (points < 2 || points > 2000) throw UsageError(fmt::format("MTop-Div: points {}: expected 2 to 2000", points));
  if (others < 1) throw UsageError(fmt::format("MTop-Div: others {}: expected 1 or more", others));
  if (batches < 1) throw UsageError(fmt::format("MTop-Div: batches {}: expected 1 or more", batches));
}

std::vector<Bar> cross_barcode(const torch::Tensor& p, const torch::Tensor& q) {
  const torch::NoGradGuard no_grad;
  require_features(p, q, 1);
  return Reduction(RelativeComplex(p.to(torch::kFloat64), q.to(torch::kFloat64))).bars();
}

TopologyDivergence topology_divergence(const torch::Tensor& p, const torch::Tensor& q,
                                       const TopologyDivergenceOptions& options) {
  options.validate();
  require_features(p, q, 2);
  TopologyDivergence result;
  result.points = std::min(options.points, p.size(0));
  result.others = std::min(options.others, q.size(0));
  auto sums = torch::zeros({options.batches}, torch::kFloat64);
  for (std::int64_t batch = 0; batch < options.batches; ++batch) {
    const auto number = static_cast<std::uint64_t>(batch);
    const auto rows = random_subset(p.size(0), result.points, options.seed, 2 * number);
    const auto others = random_subset(q.size(0), result.others, options.seed, 2 * number + 1);
    double sum = 0;
    for (const auto& bar : cross_barcode(p.index_select(0, rows), q.index_select(0, others)))
      sum += bar.death - bar.birth;
    sums[batch] = sum;
  }
  result.mean = sums.mean().item<double>();
  if (options.batches > 1)
    result.standard_error = sums.std().item<double>() / std::sqrt(static_cast<double>(options.batches));
  return result;
}

}  // namespace tessera
