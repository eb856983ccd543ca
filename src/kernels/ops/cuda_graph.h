/// One call of a network, recorded once on a GPU and replayed (CUDA graphs): a denoiser's evaluation is some three
/// hundred short kernels, and launching them one by one takes longer than computing them.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace tessera {

/// Belongs to a network; calls of several threads wait for each other.
class CudaGraph {
 public:
  using Tensors = std::vector<torch::Tensor>;
  using Body = std::function<torch::Tensor(const Tensors& inputs)>;

  CudaGraph();
  ~CudaGraph();
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// Whether calls of a network with this weight are recorded: on a GPU, without gradients. otherwise: the call is one
  /// that must not be.
  static bool applies(const torch::Tensor& weight, bool otherwise) {
    return weight.is_cuda() && !torch::GradMode::is_enabled() && !otherwise;
  }

  /// body(inputs), where applies() is true. The third call with inputs of the same shapes is recorded and later ones
  /// replay it, so body must be a function of its inputs and the weights alone and ask nothing of the host. What cannot
  /// be recorded, for want of memory say, is called as it is.
  /// inputs: on one device; undefined ones stay so. witnesses: weights of which one is written whenever any weight is;
  /// another version of them drops all recordings.
  torch::Tensor operator()(const Tensors& inputs, const Tensors& witnesses, const Body& body);
  /// Drops the recordings; to be called where layers are told to keep their weights in another form.
  void forget();

 private:
  struct Entry;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Entry>> entries_;  // by time of use, the latest last
  std::vector<std::int64_t> weights_;            // addresses and versions of the witnesses
};

}  // namespace tessera
