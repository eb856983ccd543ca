/// A prior's networks as they are, with a small update beside each of their products: W + alpha / rank * B A, where
/// only A [rank, in] and B [out, rank] are trained. Hu et al., LoRA, arXiv:2106.09685, section 4.1.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/lora.h"
#include "runtime/random.h"
#include "training/prior_networks.h"

namespace tessera {

struct LoraOptions {
  std::int64_t rank = 8;
  double alpha = 0;      // 0: the rank
  std::string targets;   // words with commas between them: layers whose names hold one; empty: every product
  bool of_text = false;  // the text encoder's products, too

  /// alpha / rank.
  double scale() const { return alpha > 0 ? alpha / static_cast<double>(rank) : 1; }
};

class LoraNetworks : public PriorNetworks {
 public:
  /// Two of them over one set of networks, which hold the merged weights of the one that was asked last: what is
  /// trained and its average. A is uniform within 1 / sqrt(in), B zero, as peft has them. Throws UsageError where
  /// `targets` names no layer.
  static MadeNetworks over(std::unique_ptr<PriorNetworks> networks, const LoraOptions& options, Seed seed);

  Parameters parameters() const override;
  std::vector<std::string> products() const override { return {}; }  // updates of updates are none
  void to(torch::Device device) override;
  void train(bool training) override;
  void seed_dropout(std::uint64_t bits) override;
  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor& times, const ToldRows& told,
                       const torch::Tensor& rows = {}) override;
  torch::Tensor logits_in_order(const torch::Tensor& tokens, const ToldRows& told) override;
  std::shared_ptr<Denoiser> denoiser() override;
  std::vector<Condition> conditions(const ToldRows& told) override;
  void put_into(Bundle& bundle) const override;

  /// The updates as files have them, on the CPU.
  std::vector<LoraLayer> layers() const;

 private:
  struct Update {
    std::size_t product = 0;  // of the shared ones
    torch::Tensor down, up;   // A [rank, in], B [out, rank]
  };
  struct Shared;

  LoraNetworks(std::shared_ptr<Shared> shared, bool trained, Seed seed);
  /// Makes the networks' weights those of this one's updates.
  void merge() const;

  std::shared_ptr<Shared> shared_;
  std::vector<Update> updates_;
};

}  // namespace tessera
