/// The networks of released models in training, as far as small updates of them are trained (training/lora_networks.h):
/// aMUSEd's, told a text, and Halton-MaskGIT's, told a class. Neither sees a time.
#include "training/released_networks.h"

#include <nlohmann/json.hpp>

#include "denoiser/guided_denoiser.h"
#include "denoiser/maskgit_transformer.h"
#include "denoiser/networks.h"
#include "denoiser/uvit.h"
#include "prior/text_condition.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"

namespace tessera {
namespace {

/// What the two have in common: their weights come from the bundle and go back with its configuration.
template <typename Network>
class ReleasedNetworks : public PriorNetworks {
 public:
  ReleasedNetworks(Network network, nlohmann::json config, Precision precision)
      : network_(std::move(network)), config_(std::move(config)) {
    network_->set_precision(precision);
  }

  Parameters parameters() const override {
    Parameters all;
    for (const auto& item : network_->named_parameters()) all.insert("denoiser." + item.key(), item.value());
    return all;
  }
  std::vector<std::string> products() const override { return products_of(*network_.ptr(), "denoiser."); }
  void to(torch::Device device) override { network_->to(device); }
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t /*bits*/) override {}
  void put_into(Bundle& bundle) const override { bundle.denoiser = BundlePart{config_, network_->state()}; }

 protected:
  Network network_;

 private:
  nlohmann::json config_;
};

/// Classes alone. arXiv:2503.17076.
class MaskGitNetworks : public ReleasedNetworks<MaskGitTransformer> {
 public:
  MaskGitNetworks(const Bundle& start, const std::string& where, Precision precision)
      : ReleasedNetworks(load_maskgit(start.denoiser->config, start.denoiser->tensors, where, WeightLoading::copy),
                         start.denoiser->config, precision) {}

  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor&, const ToldRows& told,
                       const torch::Tensor& rows) override {
    const auto all = network_->forward(tokens, classes_of(told, tokens.size(0)), rows);
    return all.narrow(-1, 0, network_->options().codebook_size);  // without MASK
  }
  std::shared_ptr<Denoiser> denoiser() override { return std::make_shared<MaskGitDenoiser>(network_); }
  std::vector<Condition> conditions(const ToldRows& told) override {
    std::vector<Condition> conditions(told.is_told() ? static_cast<std::size_t>(told.dropped.size(0)) : 0);
    for (std::size_t i = 0; i < conditions.size(); ++i)
      conditions[i].label = told.labels[static_cast<std::int64_t>(i)].item<std::int64_t>();
    return conditions;
  }

 private:
  static torch::Tensor classes_of(const ToldRows& told, std::int64_t count) {
    return told.labels.defined() ? told.labels.masked_fill(told.dropped, -1) : torch::full({count}, -1, torch::kInt64);
  }
};

/// Texts by the bundle's encoder, which stays as it is. arXiv:2401.01808.
class UVitNetworks : public ReleasedNetworks<UVit> {
 public:
  UVitNetworks(const Bundle& start, const std::string& where, Precision precision)
      : ReleasedNetworks(load_uvit(start.denoiser->config, start.denoiser->tensors, where, WeightLoading::copy),
                         start.denoiser->config, precision),
        text_(TextCondition::load(start, where)) {
    text_.encoder()->set_precision(precision);
    for (const auto& item : text_.encoder()->named_parameters()) item.value().set_requires_grad(false);
    const auto none = text_.null_text();
    null_states_ = none.states;
    null_pooled_ = none.pooled;
  }

  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor&, const ToldRows& told,
                       const torch::Tensor& rows) override {
    const auto& options = network_->options();
    const auto count = tokens.size(0);
    const auto texts = encoded(told);
    const auto read = network_->read(texts.states, texts.pooled, options.own_micro().expand({count, 5}));
    const auto grids = tokens.view({count, options.grid.h, options.grid.w});
    const auto logits = network_->forward(grids, read, torch::arange(count), rows);
    return rows.defined() ? logits : logits.view({count, -1, logits.size(-1)});
  }
  std::shared_ptr<Denoiser> denoiser() override {
    return std::make_shared<UVitDenoiser>(network_, Condition{}, network_->options().grid);
  }
  std::vector<Condition> conditions(const ToldRows& told) override {
    const auto texts = encoded(told);
    std::vector<Condition> conditions(static_cast<std::size_t>(texts.states.size(0)));
    for (std::size_t i = 0; i < conditions.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      conditions[i].states = texts.states[row];
      conditions[i].pooled = texts.pooled[row];
      conditions[i].null_states = null_states_;
      conditions[i].null_pooled = null_pooled_;
    }
    return conditions;
  }

 private:
  /// states [N, P, width], pooled [N, projection]; rows that are told nothing have the empty text's. As
  /// TextCondition::encoded.
  EncodedText encoded(const ToldRows& told) {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> layers;
    const auto last = text_.encoder()->forward(told.ids, &layers);
    const auto states = layers[layers.size() - 2], pooled = text_.encoder()->pooled(told.ids, last);
    return {torch::where(told.dropped.view({-1, 1, 1}), null_states_.unsqueeze(0), states),
            torch::where(told.dropped.view({-1, 1}), null_pooled_.unsqueeze(0), pooled)};
  }

  TextCondition text_;
  torch::Tensor null_states_, null_pooled_;
};

}  // namespace

std::unique_ptr<PriorNetworks> make_released_networks(const Bundle& start, const std::string& where,
                                                      const std::string& precision) {
  const auto& name = network_of(start.denoiser->config, where).name;
  const auto rounded = training_precision(precision, torch::kCPU);
  if (name == "maskgit") return std::make_unique<MaskGitNetworks>(start, where, rounded);
  if (name == "uvit") return std::make_unique<UVitNetworks>(start, where, rounded);
  return nullptr;
}

}  // namespace tessera
