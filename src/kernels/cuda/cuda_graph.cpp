#include "kernels/ops/cuda_graph.h"

#include <algorithm>

#ifdef TESSERA_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include <map>

#include "runtime/log.h"
#endif

namespace tessera {

#ifdef TESSERA_WITH_CUDA

namespace {

constexpr std::size_t kEntries = 6;  // shapes remembered
constexpr int kCallsBefore = 2;      // those with one shape that come and go are not worth a recording

/// Types and shapes.
std::vector<std::int64_t> key_of(const CudaGraph::Tensors& inputs) {
  std::vector<std::int64_t> key;
  for (const auto& input : inputs) {
    key.push_back(input.defined() ? static_cast<std::int64_t>(input.scalar_type()) : -1);
    if (!input.defined()) continue;
    key.push_back(input.dim());
    key.insert(key.end(), input.sizes().begin(), input.sizes().end());
  }
  return key;
}

std::vector<std::int64_t> state_of(const CudaGraph::Tensors& witnesses) {
  std::vector<std::int64_t> state;
  for (const auto& weight : witnesses) {
    state.push_back(reinterpret_cast<std::int64_t>(weight.data_ptr()));
    state.push_back(static_cast<std::int64_t>(weight._version()));
  }
  return state;
}

/// The one stream of a device on which this thread records: what LibTorch and its libraries keep for a stream, they
/// keep once.
c10::cuda::CUDAStream recording_stream(int device) {
  thread_local std::map<int, c10::cuda::CUDAStream> streams;
  const auto found = streams.find(device);
  if (found != streams.end()) return found->second;
  return streams.emplace(device, c10::cuda::getStreamFromPool()).first->second;
}

}  // namespace

struct CudaGraph::Entry {
  std::vector<std::int64_t> key;
  int calls = 0;
  bool refused = false;  // recording failed once
  Tensors inputs;        // where the recording reads
  torch::Tensor output;  // where it writes
  std::unique_ptr<at::cuda::CUDAGraph> graph;

  void record(const Tensors& given, const Body& body) {
    for (const auto& input : given) {
      inputs.push_back(input.defined() ? input.clone(at::MemoryFormat::Contiguous) : input);
    }
    c10::cuda::getCurrentCUDAStream().synchronize();
    const c10::cuda::CUDAStreamGuard guard(recording_stream(given.front().device().index()));
    output = body(inputs);  // once on this stream, so that its libraries' workspaces are there
    c10::cuda::getCurrentCUDAStream().synchronize();
    auto recording = std::make_unique<at::cuda::CUDAGraph>();
    recording->capture_begin();
    try {
      output = body(inputs);
    } catch (...) {
      try {
        recording->capture_end();  // or the device stays in a capture
      } catch (const std::exception&) {
      }
      throw;
    }
    recording->capture_end();
    graph = std::move(recording);
  }

  /// record, or refused.
  void try_to_record(const Tensors& given, const Body& body) {
    try {
      record(given, body);
    } catch (const c10::Error& error) {
      log().debug("a call is not recorded: {}", error.what_without_backtrace());
      refused = true;
      inputs.clear();
      output.reset();
    }
  }

  torch::Tensor replay(const Tensors& given) {
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (given[i].defined()) inputs[i].copy_(given[i]);
    }
    graph->replay();
    return output.clone();  // the next replay writes there
  }
};

torch::Tensor CudaGraph::operator()(const Tensors& inputs, const Tensors& witnesses, const Body& body) {
  const std::lock_guard lock(mutex_);
  const c10::cuda::CUDAGuard guard(witnesses.front().device());
  if (auto now = state_of(witnesses); now != weights_) {
    entries_.clear();
    weights_ = std::move(now);
  }
  const auto key = key_of(inputs);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& e) { return e->key == key; });
  if (found == entries_.end()) {
    if (entries_.size() == kEntries) entries_.erase(entries_.begin());
    entries_.push_back(std::make_unique<Entry>());
    entries_.back()->key = key;
  } else {
    std::rotate(found, found + 1, entries_.end());
  }
  auto& entry = *entries_.back();
  if (!entry.graph && !entry.refused && ++entry.calls > kCallsBefore) entry.try_to_record(inputs, body);
  return entry.graph ? entry.replay(inputs) : body(inputs);
}

#else

struct CudaGraph::Entry {};

torch::Tensor CudaGraph::operator()(const Tensors& inputs, const Tensors&, const Body& body) {
  return body(inputs);
}

#endif

CudaGraph::CudaGraph() = default;
CudaGraph::~CudaGraph() = default;

void CudaGraph::forget() {
  entries_.clear();
}

}  // namespace tessera
