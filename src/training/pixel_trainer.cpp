#include "training/pixel_trainer.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "checkpoint/bundle.h"
#include "codec/codec.h"
#include "data/batch_loader.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/adam.h"
#include "training/batch_shards.h"
#include "training/codec_trainer.h"
#include "training/model_card.h"
#include "training/recipe.h"

namespace tessera {
namespace {

constexpr std::int64_t kImagesLookedAt = 128;
constexpr double kFirstLogSigma = -2;  // deviation 0.14 of the range: where an untrained head starts

/// Bits a dimension of the Gaussian's density, with pixels counted in [0, 1].
torch::Tensor bits_per_dimension(Codec codec, const torch::Tensor& target, const torch::Tensor& quantized) {
  const auto [mean, log_sigma] = codec->decoder->distribution(codec->before_decoder(quantized));
  // (x - mean)^2 directly: the logarithm of the release has no gradient where the two are equal.
  const auto nats =
      0.5 * (target - mean).square() * torch::exp(-2 * log_sigma) + log_sigma + 0.5 * std::log(2 * std::numbers::pi);
  const double range = codec->options().pixel_range == PixelRange::symmetric ? 1 : 0;  // there [0, 1] is half as wide
  return nats.mean() / std::numbers::ln2 - range;
}

/// The codec of a bundle with a head, which keeps the weights that are there.
Codec codec_with_head(const std::filesystem::path& model) {
  const auto bundle = load_bundle(model);
  require(bundle.codec.has_value(), "{}: the bundle holds no codec (vqvae/)", model.string());
  auto options = codec_options_from_json(bundle.codec->config);
  const bool had = options.logsigma_head;
  options.logsigma_head = true;
  Codec codec(options);
  auto weights = bundle.codec->tensors;
  if (!had) {
    const torch::NoGradGuard no_grad;
    for (const auto& [name, tensor] : codec->weights()) {
      if (!name.starts_with("decoder.logsigma.")) continue;
      const bool last = name.starts_with("decoder.logsigma.2.");
      weights[name] = !last ? tensor.clone() : torch::full_like(tensor, name.ends_with(".bias") ? kFirstLogSigma : 0.0);
    }
  }
  codec->load(weights, (model / "vqvae").string());
  return codec;
}

class PixelTraining : public TrainingTask {
 public:
  PixelTraining(const PixelRecipe& recipe, const Dataset& data, const std::filesystem::path& model,
                std::filesystem::path bundle, torch::Device device, std::shared_ptr<const Ranks> ranks)
      : recipe_(recipe),
        data_(data),
        bundle_(std::move(bundle)),
        shards_(std::move(ranks), recipe.batch_size, recipe.sharing) {
    torch::manual_seed(static_cast<std::uint64_t>(recipe.seed));
    codec_ = codec_with_head(model);
    require(data.image_size() == codec_->options().image_size, "{} pixel data for a codec of {}", data.image_size(),
            codec_->options().image_size);
    codec_->set_precision(training_precision(recipe.precision, device));
    codec_->to(device);
    BatchOptions batches;
    batches.batch_size = recipe.batch_size;
    batches.seed = static_cast<Seed>(recipe.seed);
    batches.first_row = shards_.own_rows().begin;
    batches.rows = shards_.own_rows().size();
    loader_ = std::make_unique<BatchLoader>(data, Split::train, batches);
    AdamOptions adam;
    adam.clip_norm = recipe.clip_norm;
    adam.ema_decay = recipe.ema_decay;
    torch::OrderedDict<std::string, torch::Tensor> trained;
    for (const auto& item : codec_->named_parameters()) {
      if (item.key().starts_with("decoder.")) trained.insert(item.key(), item.value());
    }
    adam_ = std::make_unique<Adam>(trained, adam, shards_.ranks_of_optimizer());
  }

  std::string name() const override { return "pixels"; }
  std::string unit() const override { return "images"; }
  double units_per_step() const override { return static_cast<double>(recipe_.batch_size); }
  nlohmann::json recipe() const override {
    auto copy = recipe_;
    auto object = to_json(copy.fields());
    object["data_key"] = data_.key();
    return object;
  }

  Metrics step(std::int64_t step) override {
    codec_->train();
    const auto images = loader_->batch(step).images;
    const auto loss_of = [&](std::int64_t shard, Metrics&) {
      const auto [target, quantized] = prepared(shards_.rows_of(images, shard));
      return bits_per_dimension(codec_, target, quantized);
    };
    const double rate =
        learning_rate_at(step, recipe_.learning_rate, recipe_.warmup, recipe_.steps, recipe_.final_learning_rate);
    return shards_.minimise(*adam_, loss_of, rate, "loss", "pixels: the loss", step);
  }

  std::optional<Judgement> validate(std::int64_t step, Recorder& recorder) override {
    const torch::NoGradGuard no_grad;
    const auto& held_out = data_.split(data_.split(Split::validation).empty() ? Split::train : Split::validation);
    const auto count = std::min<std::int64_t>(kImagesLookedAt, static_cast<std::int64_t>(held_out.size()));
    const auto now = put_averaged();
    codec_->eval();
    double total = 0;
    for (std::int64_t start = 0; start < count; start += recipe_.batch_size) {
      const auto end = std::min(start + recipe_.batch_size, count);
      const auto picked = torch::tensor(std::vector<std::int64_t>(held_out.begin() + start, held_out.begin() + end));
      const auto [target, quantized] = prepared(data_.images(picked));
      total += bits_per_dimension(codec_, target, quantized).item<double>() * static_cast<double>(end - start);
    }
    codec_->load(now, "plain weights");
    figures_ = {{"validation_pixel_density_bits_per_dimension", total / static_cast<double>(count)}};
    recorder.scalars(step, figures_);
    log().info(
        "pixels: step {}: {:.4f} bits a dimension (density of byte/255, without the prior) on {} held-out pictures",
        step, total / static_cast<double>(count), count);
    return std::nullopt;
  }

  void gather_state() override { adam_->gather(); }
  void save_state(TensorMap& into) const override {
    for (const auto& [name, tensor] : codec_->training_state()) into["model." + name] = tensor;
    adam_->save("adam.", into);
  }

  void load_state(const TensorMap& from) override {
    TensorMap weights;
    for (const auto& [name, tensor] : from) {
      if (name.starts_with("model.")) weights[name.substr(6)] = tensor;
    }
    codec_->load(weights, "training state");
    adam_->load("adam.", from);
  }

  void write_bundle(std::int64_t step) override {
    ModelCard card;
    card.part = "pixels";
    card.description =
        fmt::format("Gaussian head on the decoder: {} steps of {} pictures; encoder and codebook unchanged", step,
                    recipe_.batch_size);
    card.figures = figures_;
    card.recipe = recipe();
    const auto now = put_averaged();
    write_codec_bundle(bundle_, to_json(codec_->options()), codec_->weights(), card);
    codec_->load(now, "plain weights");
  }

 private:
  /// Network-range pixels and their quantised latents, without gradients: only the decoder learns.
  std::pair<torch::Tensor, torch::Tensor> prepared(const torch::Tensor& bytes) {
    const torch::NoGradGuard no_grad;
    const auto target = codec_->to_network_range(bytes.to(codec_->device()));
    return {target, codec_->quantizer->embed(codec_->quantizer->codes(codec_->latents(target)))};
  }
  /// Puts the averaged weights in; returns a copy of the plain ones.
  TensorMap put_averaged() {
    TensorMap plain, averaged = codec_->weights();
    for (const auto& [name, tensor] : averaged) plain[name] = tensor.clone();
    for (const auto& [name, tensor] : adam_->averaged()) averaged[name] = tensor;
    codec_->load(averaged, "averaged weights");
    return plain;
  }

  PixelRecipe recipe_;
  Dataset data_;
  std::filesystem::path bundle_;
  BatchShards shards_;
  Codec codec_{nullptr};
  std::unique_ptr<BatchLoader> loader_;
  std::unique_ptr<Adam> adam_;
  Metrics figures_;
};

}  // namespace

Fields PixelRecipe::fields() {
  return {{"steps", "updates in all", &steps},
          {"batch_size", "pictures an update", &batch_size},
          sharing.shards_field(),
          sharing.gradient_type_field(),
          {"learning_rate", "of Adam", &learning_rate},
          {"warmup", "steps of linear warm-up", &warmup},
          {"final_learning_rate", "fraction of the learning rate reached at the end by a cosine; 1: constant",
           &final_learning_rate},
          {"clip_norm", "largest gradient norm; 0 disables", &clip_norm},
          {"ema_decay", "of the averaged weights that the bundle gets; 0: the plain ones", &ema_decay},
          {"validation_fraction", "of the pictures held out, as for the codec", &validation_fraction},
          {"background", "colour under transparent pixels", &background},
          {"seed", "of batches and the head's start; the split's too", &seed},
          {"precision", "auto, float32 or bfloat16 (activations; weights stay float32)", &precision}};
}

void PixelRecipe::validate() const {
  require(steps >= 1, "recipe: steps {}, expected 1 or more", steps);
  require(batch_size >= 1, "recipe: batch_size {}, expected 1 or more", batch_size);
  sharing.validate(batch_size);
  require(learning_rate > 0, "recipe: learning_rate {}, expected a positive number", learning_rate);
  require(ema_decay >= 0 && ema_decay < 1, "recipe: ema_decay {}, expected 0 up to below 1", ema_decay);
  (void)training_precision(precision);
}

std::unique_ptr<TrainingTask> make_pixel_training(const PixelRecipe& recipe, const Dataset& data,
                                                  const std::filesystem::path& model,
                                                  const std::filesystem::path& bundle, torch::Device device,
                                                  std::shared_ptr<const Ranks> ranks) {
  recipe.validate();
  return std::make_unique<PixelTraining>(recipe, data, model, bundle, device, std::move(ranks));
}

}  // namespace tessera
