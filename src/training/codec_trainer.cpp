#include "training/codec_trainer.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "checkpoint/torch_archive.h"
#include "codec/codec.h"
#include "codec/diff_augment.h"
#include "codec/discriminator.h"
#include "codec/perceptual.h"
#include "data/batch_loader.h"
#include "image/contact_sheet.h"
#include "kernels/device.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/adam.h"
#include "training/codebook_care.h"
#include "training/model_card.h"
#include "training/recipe.h"

namespace tessera {
namespace {

constexpr std::int64_t kValidationImages = 256;  // looked at during training; all of them at the end
constexpr std::int64_t kPreviewImages = 16;

TensorMap load_weights_file(const std::string& path) {
  return path.ends_with(".safetensors") ? load_safetensors(path) : load_torch_archive(path).tensors();
}

std::unique_ptr<PerceptualLoss> make_perceptual(const CodecRecipe& recipe, Precision precision) {
  if (recipe.lpips_vgg.empty()) return std::make_unique<EdgePyramidLoss>();
  return std::make_unique<Lpips>(load_weights_file(recipe.lpips_vgg), load_weights_file(recipe.lpips_heads), precision);
}

AdamOptions adam_options(const CodecRecipe& recipe) {
  AdamOptions options;
  options.beta1 = 0.9;
  options.clip_norm = recipe.clip_norm;
  options.ema_decay = recipe.ema_decay;
  return options;
}

void set_trainable(torch::nn::Module& module, bool on) {
  for (auto& parameter : module.parameters()) parameter.requires_grad_(on);
}

class CodecTraining : public TrainingTask {
 public:
  CodecTraining(const CodecRecipe& recipe, const Dataset& data, std::filesystem::path bundle, torch::Device device)
      : recipe_(recipe), data_(data), bundle_(std::move(bundle)), loader_(make_loader(recipe, data)) {
    torch::manual_seed(static_cast<std::uint64_t>(recipe.seed));
    codec_ = Codec(recipe.codec_options());
    if (!recipe.start_from.empty()) {
      const auto given = load_bundle(recipe.start_from);
      require(given.codec.has_value(), "start_from: {}: the bundle holds no codec (vqvae/)", recipe.start_from);
      codec_->load(given.codec->tensors, recipe.start_from);
    }
    average_ = Codec(recipe.codec_options());
    average_->eval();
    const auto precision = training_precision(recipe.precision, device);
    codec_->set_precision(precision);
    average_->set_precision(precision);
    if (auto* gumbel = dynamic_cast<GumbelQuantizerImpl*>(codec_->quantizer.get())) {
      gumbel->kl_weight = recipe.gumbel_kl_weight;
      gumbel->straight_through = recipe.gumbel_straight_through;
    }
    perceptual_ = make_perceptual(recipe, precision);
    perceptual_->to(device);
    codec_->to(device);
    average_->to(device);
    adam_ = std::make_unique<Adam>(codec_->named_parameters(), adam_options(recipe));
    if (recipe.adversarial) {
      discriminator_ =
          Discriminator(DiscriminatorOptions{3, recipe.discriminator_channels, recipe.discriminator_layers});
      discriminator_->set_precision(precision);
      discriminator_->to(device);
      auto options = adam_options(recipe);
      options.ema_decay = 0;
      discriminator_adam_ = std::make_unique<Adam>(discriminator_->named_parameters(), options);
    }
    care_ = std::make_unique<CodebookCare>(recipe.codebook_size, recipe.reseed_every, recipe.steps,
                                           static_cast<Seed>(recipe.seed));
    log().info("codec: {} parameters, {}x{} pixels to {}x{} cells of {} codes; perceptual term: {}; {} activations",
               parameter_count(), recipe.image_size, recipe.image_size, codec_->options().grid().h,
               codec_->options().grid().w, recipe.codebook_size, perceptual_->name(), name_of(precision));
  }

  std::string name() const override { return "codec"; }
  std::string unit() const override { return "images"; }
  double units_per_step() const override { return static_cast<double>(recipe_.batch_size); }

  nlohmann::json recipe() const override {
    auto copy = recipe_;
    auto object = to_json(copy.fields());
    object["data_key"] = data_.key();
    return object;
  }

  Metrics step(std::int64_t step) override;
  void validate(std::int64_t step, Recorder& recorder) override;
  void save_state(TensorMap& into) const override;
  void load_state(const TensorMap& from) override;
  void write_bundle(std::int64_t step) override;

 private:
  static std::unique_ptr<BatchLoader> make_loader(const CodecRecipe& recipe, const Dataset& data) {
    BatchOptions options;
    options.batch_size = recipe.batch_size;
    options.seed = static_cast<Seed>(recipe.seed);
    options.flip = recipe.flip;
    options.crop_scale = recipe.crop_scale;
    return std::make_unique<BatchLoader>(data, Split::train, options);
  }

  std::int64_t parameter_count() const {
    std::int64_t count = 0;
    for (const auto& parameter : codec_->parameters()) count += parameter.numel();
    return count;
  }

  void start_codebook();
  void update_average();
  torch::Tensor augment(const torch::Tensor& images, std::int64_t step, std::uint64_t stream) const {
    if (!recipe_.diff_aug) return images;
    return diff_augment(images, draw_augmentation(images.size(0), images.size(2), images.size(3),
                                                  static_cast<Seed>(recipe_.seed), step, stream));
  }

  CodecRecipe recipe_;
  Dataset data_;
  std::filesystem::path bundle_;
  std::unique_ptr<BatchLoader> loader_;
  Codec codec_{nullptr}, average_{nullptr};
  Discriminator discriminator_{nullptr};
  std::unique_ptr<PerceptualLoss> perceptual_;
  std::unique_ptr<Adam> adam_, discriminator_adam_;
  std::unique_ptr<CodebookCare> care_;
  Metrics figures_;  // of the last validation
};

void CodecTraining::start_codebook() {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> seen;
  std::int64_t rows = 0;
  for (std::int64_t batch = 0; rows < 32 * recipe_.codebook_size && batch < 64; ++batch) {
    const auto pixels = codec_->to_network_range(loader_->batch(batch).images.to(codec_->device()));
    seen.push_back(codec_->quantizer->candidates(codec_->latents(pixels)));
    rows += seen.back().size(0);
  }
  const auto centres = kmeans(torch::cat(seen), recipe_.codebook_size, static_cast<Seed>(recipe_.seed), 10);
  codec_->quantizer->replace_rows(torch::arange(recipe_.codebook_size).to(codec_->device()), centres);
}

Metrics CodecTraining::step(std::int64_t step) {
  const double rate =
      learning_rate_at(step, recipe_.learning_rate, recipe_.warmup, recipe_.steps, recipe_.final_learning_rate);
  codec_->train();
  const bool has_codebook = !recipe_.start_from.empty() || recipe_.quantizer == "gumbel";
  if (step == 0 && recipe_.kmeans_start && !has_codebook) start_codebook();
  const auto batch = loader_->batch(step);
  const auto pass = codec_->train_pass(batch.images, {step, static_cast<Seed>(recipe_.seed)});

  Metrics metrics;
  const auto difference = pass.reconstruction - pass.target;
  auto reconstruction_loss = recipe_.reconstruction_loss == "l1" ? difference.abs().mean() : difference.square().mean();
  metrics["reconstruction"] = reconstruction_loss.item<double>();
  if (recipe_.perceptual_weight > 0) {
    const auto perceptual = perceptual_->distance(pass.target, pass.reconstruction).mean();
    metrics["perceptual"] = perceptual.item<double>();
    reconstruction_loss = reconstruction_loss + recipe_.perceptual_weight * perceptual;
  }
  auto loss = reconstruction_loss + pass.quantizer_loss;
  torch::Tensor fake;
  if (recipe_.adversarial && step >= recipe_.disc_start_step) {
    discriminator_->train();
    fake = augment(pass.reconstruction, step, 0);
    set_trainable(*discriminator_, false);  // the generator's loss is to move the codec alone
    const auto generator_loss = -discriminator_->forward(fake).mean();
    const auto weight =
        adaptive_weight(reconstruction_loss, generator_loss, codec_->decoder->last_layer(), recipe_.disc_weight_max);
    loss = loss + weight * generator_loss;
    metrics["generator"] = generator_loss.item<double>();
    metrics["adversarial_weight"] = weight.item<double>();
  }
  const double total = loss.item<double>();
  require(std::isfinite(total), "codec: the loss is {} at step {}", total, step);
  metrics["loss"] = total;
  metrics["codebook"] = pass.quantizer_loss.item<double>();
  const auto use = codebook_use(pass.indices, recipe_.codebook_size);
  metrics["perplexity"] = use.perplexity;

  loss.backward();
  metrics["gradient_norm"] = adam_->step(rate);
  if (recipe_.adversarial && step > recipe_.disc_start_step) {
    set_trainable(*discriminator_, true);
    const auto real_logits = discriminator_->forward(augment(pass.target, step, 1));
    const auto fake_logits = discriminator_->forward(fake.detach());
    const auto discriminator_loss = hinge_loss(real_logits, fake_logits);
    metrics["discriminator"] = discriminator_loss.item<double>();
    require(std::isfinite(metrics["discriminator"]), "codec: the discriminator's loss is {} at step {}",
            metrics["discriminator"], step);
    discriminator_loss.backward();
    const double own =
        recipe_.discriminator_learning_rate > 0 ? recipe_.discriminator_learning_rate : recipe_.learning_rate;
    discriminator_adam_->step(own * rate / recipe_.learning_rate);
  }
  care_->after_step(step, pass.indices, *codec_->quantizer, pass.latents);
  metrics["codes_in_use"] = static_cast<double>(care_->codes_in_use());
  return metrics;
}

void CodecTraining::update_average() {
  auto weights = codec_->weights();
  for (auto& [name, tensor] : adam_->averaged()) weights[name] = tensor;
  average_->load(weights, "averaged codec");
}

void CodecTraining::validate(std::int64_t step, Recorder& recorder) {
  const auto& held_out = data_.split(data_.split(Split::validation).empty() ? Split::train : Split::validation);
  const bool at_end = step >= recipe_.steps;
  const auto count = at_end ? static_cast<std::int64_t>(held_out.size())
                            : std::min<std::int64_t>(kValidationImages, static_cast<std::int64_t>(held_out.size()));
  update_average();
  double psnr = 0, l1 = 0;
  std::vector<torch::Tensor> codes;
  std::vector<Image> sheet;
  for (std::int64_t start = 0; start < count; start += recipe_.batch_size) {
    const auto end = std::min(start + recipe_.batch_size, count);
    const std::vector<std::int64_t> picked(held_out.begin() + start, held_out.begin() + end);
    const auto images = data_.images().index_select(0, torch::tensor(picked));
    const auto grid = average_->encode(images);
    const auto decoded = average_->decode(grid);
    const auto error = (decoded.to(torch::kFloat64) - images.to(torch::kFloat64)) / 255.0;
    psnr += (-10.0 * torch::log10(error.square().mean({1, 2, 3}).clamp_min(1e-10))).sum().item<double>();
    l1 += error.abs().mean({1, 2, 3}).sum().item<double>();
    codes.push_back(grid.codes());
    for (std::int64_t i = 0; i < end - start && static_cast<std::int64_t>(sheet.size()) < 2 * kPreviewImages; ++i) {
      sheet.push_back(to_image(images[i]));
      sheet.push_back(to_image(decoded[i]));
    }
  }
  const auto use = codebook_use(torch::cat(codes), recipe_.codebook_size);
  const auto images = static_cast<double>(count);
  figures_ = {{"validation_psnr_db", psnr / images},
              {"validation_l1", l1 / images},
              {"validation_images", images},
              {"validation_perplexity", use.perplexity},
              {"validation_codes_used", static_cast<double>(use.used)}};
  recorder.scalars(step, figures_);
  recorder.image(step, "reconstructions", contact_sheet(sheet, {8, 2, {}}));
  log().info("codec: step {}: {:.2f} dB PSNR on {} held-out pictures, {} of {} codes used there, perplexity {:.1f}",
             step, psnr / images, count, use.used, recipe_.codebook_size, use.perplexity);
}

void CodecTraining::save_state(TensorMap& into) const {
  for (const auto& [name, tensor] : codec_->training_state()) into["model." + name] = tensor;
  adam_->save("adam.", into);
  if (discriminator_) {
    for (const auto& [name, tensor] : discriminator_->weights()) into["discriminator." + name] = tensor;
    discriminator_adam_->save("discriminator_adam.", into);
  }
  into["codebook_care"] = care_->state();
}

void CodecTraining::load_state(const TensorMap& from) {
  const auto part = [&](const std::string& prefix) {
    TensorMap map;
    for (const auto& [name, tensor] : from) {
      if (name.starts_with(prefix)) map[name.substr(prefix.size())] = tensor;
    }
    return map;
  };
  codec_->load(part("model."), "training state");
  adam_->load("adam.", from);
  if (discriminator_) {
    discriminator_->load(part("discriminator."), "training state");
    discriminator_adam_->load("discriminator_adam.", from);
  }
  const auto care = from.find("codebook_care");
  require(care != from.end(), "training state: 'codebook_care' is missing");
  care_->restore(care->second);
}

void CodecTraining::write_bundle(std::int64_t step) {
  update_average();
  ModelCard card;
  card.part = "codec";
  card.description = fmt::format(
      "{} at {}x{} pixels, {}x{} cells of {} codes ({} quantiser), {} steps of {} pictures; perceptual term: {}; {}",
      recipe_.adversarial ? "VQGAN" : "VQ-VAE", recipe_.image_size, recipe_.image_size, average_->options().grid().h,
      average_->options().grid().w, recipe_.codebook_size, recipe_.quantizer, step, recipe_.batch_size,
      recipe_.perceptual_weight > 0 ? perceptual_->name() : "none",
      recipe_.adversarial ? "PatchGAN discriminator" : "no discriminator");
  card.figures = figures_;
  card.recipe = recipe();
  write_codec_bundle(bundle_, to_json(average_->options()), average_->weights(), card);
}

}  // namespace

Precision training_precision(const std::string& name, torch::Device device) {
  if (name == "float32") return Precision::float32;
  if (name == "bfloat16") return Precision::bfloat16;
  require(name == "auto", "precision '{}': expected one of auto, float32, bfloat16", name);
  return has_bfloat16(device) ? Precision::bfloat16 : Precision::float32;
}

std::unique_ptr<TrainingTask> make_codec_training(const CodecRecipe& recipe, const Dataset& data,
                                                  const std::filesystem::path& bundle, torch::Device device) {
  recipe.validate();
  require(data.image_size() == recipe.image_size, "{} pixel data for a codec of {}", data.image_size(),
          recipe.image_size);
  return std::make_unique<CodecTraining>(recipe, data, bundle, device);
}

}  // namespace tessera
