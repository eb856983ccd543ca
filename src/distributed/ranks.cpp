#include "distributed/ranks.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <numeric>
#include <thread>

#include "distributed/meeting.h"
#include "runtime/error.h"
#include "runtime/seconds_since.h"

#ifdef TESSERA_WITH_GLOO
#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO
#endif
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif

namespace tessera {

#ifdef TESSERA_WITH_GLOO
namespace {

using Clock = std::chrono::steady_clock;
using Gloo = c10d::ProcessGroupGloo;

/// Of a collective: who is lost is found by beats, not by how long the others compute.
constexpr auto kNever = std::chrono::hours(24 * 7);
constexpr auto kLook = std::chrono::milliseconds(250);

/// Beats of n ranks that all read all: seldom enough that the store's one thread keeps up.
double seconds_a_beat(int ranks, double timeout) {
  constexpr double kUsual = 0.5, kReadsASecond = 8000;
  return std::min(timeout / 6, std::max(kUsual, static_cast<double>(ranks) * ranks / kReadsASecond));
}

BeatStore beat_store(const Meeting& meeting, const Launch& launch, const RankOptions& options) {
  BeatStore store;
  store.set = [beats = meeting.beats](const std::string& key, const std::string& value) {
    beats->set(key, std::vector<std::uint8_t>(value.begin(), value.end()));
  };
  store.get = [beats = meeting.beats](const std::string& key) {
    const auto value = beats->get(key);
    return std::string(value.begin(), value.end());
  };
  store.key = "beat/";
  store.seconds_a_beat = seconds_a_beat(launch.count, options.rank_timeout);
  if (!launch.file.empty()) {
    store.seconds_a_beat = options.rank_timeout / 6;  // every beat makes the file longer
    store.holder = launch.file;
  } else {
    store.holder =
        launch.store_waits ? fmt::format("the launcher at {}:{}", launch.host, launch.port) : meeting.names.front();
  }
  return store;
}

std::shared_ptr<gloo::transport::Device> device_of(const Meeting& meeting) {
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  try {
    if (interface != nullptr && *interface != '\0') return Gloo::createDeviceForInterface(interface);
    return Gloo::createDeviceForHostname(meeting.address);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    fail("{}: cannot be listened at: {}", interface != nullptr && *interface ? interface : meeting.address,
         text.substr(0, text.find('\n')));
  }
}

}  // namespace

struct Ranks::Group {
  Meeting meeting;
  std::unique_ptr<Liveness> liveness;
  c10::intrusive_ptr<Gloo> gloo;
  std::string file;  // of a rendezvous, to be removed at the end
  bool broken = false;
  int messages = 0;  // exchanged so far: what one is called by

  /// Waits for all of these as long as all ranks live. A wait for a message that ends by a time closes its connections,
  /// so a thread waits without one, with what it needs.
  void finish(std::vector<c10::intrusive_ptr<c10d::Work>> works, std::vector<torch::Tensor> kept) {
    auto done = std::make_shared<std::promise<void>>();
    auto future = done->get_future();
    std::thread([done, works = std::move(works), kept = std::move(kept)]() mutable {
      std::exception_ptr error;
      try {
        for (const auto& each : works) each->wait(kNever);
      } catch (...) {
        error = std::current_exception();
      }
      works.clear();
      kept.clear();
      error ? done->set_exception(error) : done->set_value();
    }).detach();
    try {
      while (future.wait_for(kLook) != std::future_status::ready) liveness->check();
      try {
        future.get();
      } catch (const std::exception& error) {
        liveness->explain(error.what());
      }
    } catch (...) {
      broken = true;
      throw;
    }
  }

  ~Group() {
    // Threads of a collective that never ends would be waited for.
    if (broken) (void)gloo.release();
  }
};

Ranks::Ranks(const RankOptions& options, const Launch& launch) {
  if (launch.count == 1) return;
  auto group = std::make_shared<Group>();
  group->meeting = meet(launch, options);
  const auto& meeting = group->meeting;
  group->liveness = std::make_unique<Liveness>(beat_store(meeting, launch, options), launch.rank, meeting.names,
                                               options.rank_timeout);
  auto made = std::make_shared<std::promise<c10::intrusive_ptr<Gloo>>>();
  auto future = made->get_future();
  std::thread([made, device = device_of(meeting), store = meeting.store, launch] {
    try {
      const auto settings = Gloo::Options::create();
      settings->devices.push_back(device);
      settings->timeout = kNever;
      made->set_value(c10::make_intrusive<Gloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store), launch.rank,
                                                launch.count, settings));
    } catch (...) {
      made->set_exception(std::current_exception());
    }
  }).detach();
  for (const auto until = Clock::now() + std::chrono::duration<double>(options.rank_timeout);;) {
    if (future.wait_for(kLook) == std::future_status::ready) break;
    group->liveness->check();
    require(Clock::now() < until,
            "rank {} of {}: the ranks met, but do not connect to each other within {:.0f} s (this one listens at {}): "
            "a firewall, or another interface is meant (GLOO_SOCKET_IFNAME)",
            launch.rank, launch.count, options.rank_timeout, meeting.address);
  }
  try {
    group->gloo = future.get();
  } catch (const std::exception& error) {
    group->liveness->explain(error.what());
  }
  options_ = options;
  rank_ = launch.rank;
  count_ = launch.count;
  local_rank_ = launch.local_rank;
  on_this_machine_ = meeting.on_this_machine;
  group->file = launch.file;
  group_ = std::move(group);
}

Ranks::~Ranks() {
  if (!group_) return;
  if (!group_->broken) {
    group_->liveness->leave();
    if (is_first() && !group_->file.empty()) std::remove(group_->file.c_str());
  }
}

void Ranks::say_failed(const std::string& text) noexcept {
  if (!group_) return;
  group_->broken = true;
  group_->liveness->say_failed(text, group_->meeting.holds_store);
}

void Ranks::broadcast(torch::Tensor& values, int from) const {
  if (!group_) return;
  const auto begin = Clock::now();
  std::vector<torch::Tensor> tensors = {values.to(torch::kCPU).contiguous()};
  c10d::BroadcastOptions options;
  options.rootRank = from;
  group_->finish({group_->gloo->broadcast(tensors, options)}, tensors);
  if (rank_ != from) {
    const torch::NoGradGuard no_grad;
    if (tensors[0].data_ptr() != values.data_ptr()) values.copy_(tensors[0]);
    bytes_ += static_cast<double>(tensors[0].nbytes());
  }
  seconds_ += seconds_since(begin);
}

/// Of one shape on all ranks.
std::vector<torch::Tensor> Ranks::gather_equal(const torch::Tensor& values) const {
  const auto begin = Clock::now();
  std::vector<torch::Tensor> own = {values.to(torch::kCPU).contiguous()};
  std::vector<std::vector<torch::Tensor>> all(1);
  for (int rank = 0; rank < count_; ++rank) all[0].push_back(torch::empty_like(own[0]));
  group_->finish({group_->gloo->allgather(all, own)}, all[0]);
  seconds_ += seconds_since(begin);
  bytes_ += static_cast<double>(own[0].nbytes()) * (count_ - 1);
  return all[0];
}

/// In: `sent`, of which rank r is to have sent_sizes[r] numbers, one rank's after the other. Out: what came, likewise.
torch::Tensor Ranks::all_to_all(const torch::Tensor& sent, std::vector<std::int64_t> sent_sizes,
                                std::vector<std::int64_t> received_sizes) const {
  const auto begin = Clock::now();
  const auto width = static_cast<std::int64_t>(sent.element_size());
  // As bytes: not every Gloo knows bfloat16.
  for (auto* sizes : {&sent_sizes, &received_sizes}) {
    for (auto& size : *sizes) size *= width;
  }
  const auto received =
      torch::empty({std::accumulate(received_sizes.begin(), received_sizes.end(), std::int64_t{0})}, torch::kUInt8);
  const auto bytes = sent.to(torch::kCPU).contiguous().view({-1}).view(torch::kUInt8);
  // Not Gloo's own all-to-all: that sends before it says that it is ready to receive, over the same connection, so that
  // the other side's megabytes wait until its own are gone, and a link carries one direction at a time.
  const int tag = group_->messages++ & 0x3fffffff;
  const auto from = received.split_with_sizes(received_sizes), to = bytes.split_with_sizes(sent_sizes);  // by rank
  std::vector<c10::intrusive_ptr<c10d::Work>> messages;
  const auto with_others = [&](const std::vector<torch::Tensor>& parts, const auto& start) {
    for (int step = 1; step < count_; ++step) {
      const int rank = (rank_ + step) % count_;
      std::vector<torch::Tensor> one = {parts[static_cast<std::size_t>(rank)]};
      if (one[0].numel() > 0) messages.push_back(start(one, rank));
    }
  };
  with_others(from, [&](auto& one, int rank) { return group_->gloo->recv(one, rank, tag); });
  with_others(to, [&](auto& one, int rank) { return group_->gloo->send(one, rank, tag); });
  const auto own = static_cast<std::size_t>(rank_);
  from[own].copy_(to[own]);
  group_->finish(std::move(messages), {received, bytes});
  seconds_ += seconds_since(begin);
  bytes_ += static_cast<double>(received.numel() - from[own].numel());
  return received.view(sent.scalar_type());
}

torch::Tensor Ranks::summed_part(std::int64_t leaves, const std::vector<torch::Tensor>& node_sums,
                                 const std::vector<std::int64_t>& sizes) const {
  std::vector<torch::Tensor> sent;  // by rank, the part of each node's sum that is its
  std::vector<LeafRange> nodes;
  std::vector<std::int64_t> sent_sizes, received_sizes;
  const auto own_nodes = static_cast<std::int64_t>(node_sums.size());
  const auto own_size = sizes[static_cast<std::size_t>(rank_)];
  std::int64_t at = 0;
  for (int rank = 0; rank < count_; ++rank) {
    const auto size = sizes[static_cast<std::size_t>(rank)];
    for (const auto& sum : node_sums) sent.push_back(sum.slice(0, at, at + size));
    at += size;
    const auto of_rank = whole_nodes(leaves, leaves_of(leaves, rank, count_));
    nodes.insert(nodes.end(), of_rank.begin(), of_rank.end());
    sent_sizes.push_back(own_nodes * size);
    received_sizes.push_back(static_cast<std::int64_t>(of_rank.size()) * own_size);
  }
  const auto received = all_to_all(torch::cat(sent), std::move(sent_sizes), std::move(received_sizes));
  return sum_of_nodes(leaves, nodes, received.view({static_cast<std::int64_t>(nodes.size()), own_size}).unbind());
}

torch::Tensor Ranks::joined(const torch::Tensor& part, const std::vector<std::int64_t>& sizes) const {
  const auto own = part.to(torch::kCPU);
  return all_to_all(own.repeat({count_}), std::vector<std::int64_t>(sizes.size(), own.numel()), sizes);
}

#else  // without Gloo there is one rank

struct Ranks::Group {
  bool broken = false;
};

Ranks::Ranks(const RankOptions&, const Launch& launch) {
  if (launch.count == 1) return;
  fail(
      "{} started {} ranks, but this tessera was built without Gloo (libgloo-dev, and a LibTorch that has it): "
      "expected one",
      launch.by, launch.count);
}
Ranks::~Ranks() = default;
void Ranks::say_failed(const std::string&) noexcept {}
void Ranks::broadcast(torch::Tensor&, int) const {}
std::vector<torch::Tensor> Ranks::gather_equal(const torch::Tensor& values) const {
  return {values};
}
torch::Tensor Ranks::all_to_all(const torch::Tensor& sent, std::vector<std::int64_t>, std::vector<std::int64_t>) const {
  return sent;
}
torch::Tensor Ranks::summed_part(std::int64_t, const std::vector<torch::Tensor>& node_sums,
                                 const std::vector<std::int64_t>&) const {
  return node_sums.front();
}
torch::Tensor Ranks::joined(const torch::Tensor& part, const std::vector<std::int64_t>&) const {
  return part;
}

#endif

Ranks::Ranks() = default;

std::vector<torch::Tensor> Ranks::gather(const torch::Tensor& rows) const {
  if (!group_) return {rows};
  const auto sizes = gather_equal(torch::tensor({rows.size(0)}, torch::kInt64));
  std::int64_t most = 0;
  for (const auto& size : sizes) most = std::max(most, size.item<std::int64_t>());
  auto shape = rows.sizes().vec();
  shape[0] = most;
  auto padded = torch::zeros(shape, rows.options().device(torch::kCPU));
  padded.slice(0, 0, rows.size(0)).copy_(rows);
  auto all = gather_equal(padded);
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    all[rank] = all[rank].slice(0, 0, sizes[rank].item<std::int64_t>()).to(rows.device());
  return all;
}

std::vector<std::string> Ranks::gather_texts(const std::string& text) const {
  if (!group_) return {text};
  auto bytes = torch::empty({static_cast<std::int64_t>(text.size())}, torch::kUInt8);
  if (!text.empty()) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  std::vector<std::string> texts;
  for (const auto& each : gather(bytes)) {
    const auto whole = each.contiguous();
    texts.emplace_back(static_cast<const char*>(whole.data_ptr()), static_cast<std::size_t>(whole.numel()));
  }
  return texts;
}

std::string Ranks::broadcast_text(const std::string& text) const {
  if (!group_) return text;
  auto size = torch::tensor({static_cast<std::int64_t>(text.size())}, torch::kInt64);
  broadcast(size);
  auto bytes = torch::empty({size.item<std::int64_t>()}, torch::kUInt8);
  if (is_first() && !text.empty()) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  if (bytes.numel() > 0) broadcast(bytes);
  return {static_cast<const char*>(bytes.data_ptr()), static_cast<std::size_t>(bytes.numel())};
}

std::vector<std::int64_t> Ranks::even_parts(std::int64_t length) const {
  std::vector<std::int64_t> sizes;
  for (int rank = 0; rank < count_; ++rank) sizes.push_back(leaves_of(length, rank, count_).size());
  return sizes;
}

torch::Tensor Ranks::sum(std::int64_t leaves, const LeafValue& value) const {
  const torch::NoGradGuard no_grad;
  NodeSums sums(leaves);
  const auto with_gradients = [&](std::int64_t leaf) {
    const torch::AutoGradMode gradients(true);
    return value(leaf).detach();
  };
  const auto own = leaves_of(leaves, rank_, count_);
  for (auto leaf = own.begin; leaf < own.end; ++leaf) sums.add(leaf, with_gradients(leaf));
  const auto of_own = sums.sums();
  if (!group_) return of_own.front();
  const auto sizes = even_parts(of_own.front().numel());
  return joined(summed_part(leaves, of_own, sizes), sizes).to(of_own.front().device());
}

void Ranks::barrier() const {
  if (group_) (void)gather_equal(torch::zeros({1}));
}

}  // namespace tessera
