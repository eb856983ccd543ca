#include "training/gradient_exchange.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/error.h"
#include "runtime/seconds_since.h"

namespace tessera {
namespace {

constexpr std::int64_t kBucket = 1 << 20;  // numbers

/// Calls back when the gradient of a parameter is whole.
class WhenWhole : public torch::autograd::FunctionPostHook {
 public:
  explicit WhenWhole(std::function<void()> call) : call_(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

/// The hooks of one backward pass.
class Hooks {
 public:
  Hooks(const std::vector<torch::Tensor>& parameters, const std::function<void(std::size_t)>& call) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      auto node = torch::autograd::impl::grad_accumulator(parameters[i]);
      const auto key = node->add_post_hook(std::make_unique<WhenWhole>([call, i] { call(i); }));
      hooks_.emplace_back(std::move(node), key);
    }
  }
  ~Hooks() {
    for (const auto& [node, key] : hooks_) node->del_post_hook(key);
  }
  Hooks(const Hooks&) = delete;
  Hooks& operator=(const Hooks&) = delete;

 private:
  std::vector<std::pair<std::shared_ptr<torch::autograd::Node>, std::uintptr_t>> hooks_;
};

}  // namespace

struct GradientExchange::State {
  /// Parameters whose gradients travel together, as a row: the gradients, then a one for each that has one, so that a
  /// sum of rows says which any shard had. Where gradients have owners, the row has such a part for each.
  struct Bucket {
    Bucket(std::int64_t shards, std::vector<std::vector<std::size_t>> slots_of_parts)
        : sums(shards), parts(std::move(slots_of_parts)) {}
    NodeSums sums;
    std::vector<std::vector<std::size_t>> parts;  // indices of parameters
    std::size_t awaited = 0;                      // gradients that have not come yet
  };

  State(std::shared_ptr<const Ranks> ranks_of_job, std::int64_t shards_of_batch, std::vector<torch::Tensor> of,
        std::vector<int> owned_by, torch::ScalarType rounded_to)
      : kept_ranks(std::move(ranks_of_job)),
        ranks(*kept_ranks),
        shards(shards_of_batch),
        parameters(std::move(of)),
        owners(std::move(owned_by)),
        type(rounded_to) {}

  void make_buckets();
  torch::Tensor row_of(const Bucket& bucket) const;
  std::vector<std::int64_t> sizes_of(const Bucket& bucket) const;
  void exchange(const Bucket& bucket);
  void put(const std::vector<std::size_t>& slots, const torch::Tensor& row);
  void clear();
  void add_to_sums(Bucket& bucket, std::int64_t shard);
  void work();

  const std::shared_ptr<const Ranks> kept_ranks;  // by a thread that was left to itself, too
  const Ranks& ranks;
  const std::int64_t shards;
  const std::vector<torch::Tensor> parameters;
  const std::vector<int> owners;
  const torch::ScalarType type;
  std::vector<Bucket> buckets;
  std::vector<std::size_t> bucket_of;  // by parameter
  std::vector<torch::Tensor> means;    // by parameter; undefined: another rank's, or no gradient

  // Of the thread.
  std::thread thread;
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t ready = 0;  // buckets, in order, that may travel
  bool ended = false;
  double seconds_before = 0;  // of the ranks in exchanges, when it began
  std::exception_ptr error;
};

void GradientExchange::State::make_buckets() {
  bucket_of.resize(parameters.size());
  means.resize(parameters.size());
  const auto part_count = owners.empty() ? std::size_t{1} : static_cast<std::size_t>(ranks.count());
  std::vector<std::vector<std::size_t>> parts(part_count);
  std::int64_t size = 0;
  std::size_t count = 0;
  for (auto slot = parameters.size(); slot-- > 0;) {  // the last layers' gradients come first
    parts[owners.empty() ? 0 : static_cast<std::size_t>(owners[slot])].push_back(slot);
    bucket_of[slot] = buckets.size();
    size += parameters[slot].numel();
    ++count;
    if (size < kBucket && slot > 0) continue;
    buckets.emplace_back(shards, std::exchange(parts, std::vector<std::vector<std::size_t>>(part_count)));
    buckets.back().awaited = std::exchange(count, 0);
    size = 0;
  }
}

torch::Tensor GradientExchange::State::row_of(const Bucket& bucket) const {
  std::vector<torch::Tensor> pieces;
  for (const auto& slots : bucket.parts) {
    auto present = torch::zeros({static_cast<std::int64_t>(slots.size())});
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const auto& parameter = parameters[slots[i]];
      const auto gradient = parameter.grad();
      present.data_ptr<float>()[i] = gradient.defined() ? 1.F : 0.F;
      pieces.push_back(gradient.defined() ? gradient.reshape({-1}).to(type)
                                          : torch::zeros({parameter.numel()}, parameter.options().dtype(type)));
    }
    if (!slots.empty()) pieces.push_back(present.to(parameters[slots.front()].device(), type));
  }
  return torch::cat(pieces);
}

std::vector<std::int64_t> GradientExchange::State::sizes_of(const Bucket& bucket) const {
  std::vector<std::int64_t> sizes;
  for (const auto& slots : bucket.parts) {
    auto size = static_cast<std::int64_t>(slots.size());
    for (const auto slot : slots) size += parameters[slot].numel();
    sizes.push_back(size);
  }
  return owners.empty() ? ranks.even_parts(sizes.front()) : sizes;
}

void GradientExchange::State::put(const std::vector<std::size_t>& slots, const torch::Tensor& row) {
  const auto count = static_cast<std::int64_t>(slots.size());
  const auto present = row.slice(0, row.size(0) - count).to(torch::kCPU, torch::kFloat32);
  std::int64_t at = 0;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto& parameter = parameters[slots[i]];
    const auto end = at + parameter.numel();
    if (present.data_ptr<float>()[i] > 0) {
      const auto sum = row.slice(0, at, end).to(parameter.device(), torch::kFloat32).view(parameter.sizes());
      means[slots[i]] = (sum / static_cast<double>(shards)).to(parameter.scalar_type());
    }
    at = end;
  }
}

void GradientExchange::State::exchange(const Bucket& bucket) {
  const torch::NoGradGuard no_grad;
  const auto sums = bucket.sums.sums();
  if (ranks.count() == 1) {
    put(bucket.parts.front(), sums.front());
    return;
  }
  const auto sizes = sizes_of(bucket);
  const auto own = ranks.summed_part(shards, sums, sizes);
  if (owners.empty()) {
    put(bucket.parts.front(), ranks.joined(own, sizes));
  } else {
    put(bucket.parts[static_cast<std::size_t>(ranks.rank())], own);
  }
}

void GradientExchange::State::add_to_sums(Bucket& bucket, std::int64_t shard) {
  const torch::NoGradGuard no_grad;
  bucket.sums.add(shard, row_of(bucket));
}

void GradientExchange::State::clear() {
  for (const auto& parameter : parameters) parameter.mutable_grad().reset();
}

void GradientExchange::State::work() {
  try {
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return ready > i || ended; });
        if (ready <= i) return;
      }
      exchange(buckets[i]);
    }
  } catch (...) {
    const std::lock_guard lock(mutex);
    error = std::current_exception();
  }
}

GradientExchange::GradientExchange(std::shared_ptr<const Ranks> ranks, std::int64_t shards,
                                   std::vector<torch::Tensor> parameters, std::vector<int> owners,
                                   torch::ScalarType type)
    : state_(std::make_shared<State>(std::move(ranks), shards, std::move(parameters), std::move(owners), type)) {
  state_->make_buckets();
}

GradientExchange::~GradientExchange() {
  if (!state_->thread.joinable()) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->ended = true;
  }
  state_->changed.notify_all();
  state_->thread.detach();
}

void GradientExchange::add(std::int64_t shard, const std::function<void()>& backward) {
  auto& state = *state_;
  const auto own = leaves_of(state.shards, state.ranks.rank(), state.ranks.count());
  const bool overlaps = state.ranks.count() > 1 && state.ranks.options().overlap_gradients && shard + 1 == own.end;
  std::size_t taken = 0;  // buckets whose rows of this shard are in their sums, in order
  if (overlaps) {
    state.seconds_before = state.ranks.seconds_exchanging();
    state.thread = std::thread([of = state_] { of->work(); });
    const auto whole = [&](std::size_t slot) {  // in a thread of the backward pass, one at a time
      auto& awaited = state.buckets[state.bucket_of[slot]].awaited;
      require(awaited > 0, "a gradient came twice in one backward pass");
      --awaited;
      const auto before = taken;
      while (taken < state.buckets.size() && state.buckets[taken].awaited == 0)
        state.add_to_sums(state.buckets[taken++], shard);
      if (taken == before) return;
      {
        const std::lock_guard lock(state.mutex);
        state.ready = taken;
      }
      state.changed.notify_all();
    };
    const Hooks hooks(state.parameters, whole);
    backward();
  } else {
    backward();
  }
  while (taken < state.buckets.size()) state.add_to_sums(state.buckets[taken++], shard);
  state.clear();
  if (!overlaps) return;
  {
    const std::lock_guard lock(state.mutex);
    state.ready = taken;
  }
  state.changed.notify_all();
}

void GradientExchange::finish() {
  auto& state = *state_;
  if (state.thread.joinable()) {
    const auto begin = std::chrono::steady_clock::now();
    state.thread.join();
    const double exchanging = state.ranks.seconds_exchanging() - state.seconds_before;
    state.ranks.count_as_hidden(std::max(0.0, exchanging - seconds_since(begin)));
    if (state.error) std::rethrow_exception(state.error);
  } else {
    for (const auto& bucket : state.buckets) state.exchange(bucket);
  }
  for (std::size_t i = 0; i < state.parameters.size(); ++i) state.parameters[i].mutable_grad() = state.means[i];
}

}  // namespace tessera
