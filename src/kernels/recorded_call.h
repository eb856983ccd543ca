/// One call of a network, recorded once on a GPU and replayed (CUDA graphs): a denoiser's evaluation is some three
/// hundred short kernels, and launching them one by one takes longer than computing them.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <vector>

namespace tessera {

/// Belongs to a network. Not for use by several threads at once.
class RecordedCall {
 public:
  using Body = std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs)>;

  RecordedCall();
  ~RecordedCall();
  RecordedCall(const RecordedCall&) = delete;
  RecordedCall& operator=(const RecordedCall&) = delete;

  /// Whether calls of a network with this weight are recorded: on a GPU, without gradients. busy: the network does
  /// something else than computing its outputs.
  static bool applies(const torch::Tensor& weight, bool busy) {
    return weight.is_cuda() && !torch::GradMode::is_enabled() && !busy;
  }

  /// body(inputs), where applies() is true. The third call with inputs of the same shapes is recorded and later ones
  /// replay it, so body must be a function of its inputs and the weights alone and ask nothing of the host.
  /// inputs: on one device; undefined ones stay so. witness: a weight that is written whenever any is, so that another
  /// version of it means another recording.
  torch::Tensor operator()(const std::vector<torch::Tensor>& inputs, const torch::Tensor& witness, const Body& body);
  /// Drops the recordings; to be called where layers are told to keep their weights in another form.
  void forget();

 private:
  struct Entry;
  std::vector<std::unique_ptr<Entry>> entries_;  // by time of use, the latest last
};

}  // namespace tessera
