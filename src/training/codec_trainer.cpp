#include "training/codec_trainer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "checkpoint/torch_archive.h"
#include "codec/codec.h"
#include "codec/diff_augment.h"
#include "codec/discriminator.h"
#include "codec/feature_distance.h"
#include "codec/perceptual.h"
#include "data/batch_loader.h"
#include "image/contact_sheet.h"
#include "kernels/ops/device.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/adam.h"
#include "training/batch_shards.h"
#include "training/codebook_care.h"
#include "training/model_card.h"
#include "training/recipe.h"
#include "training/shard_buffers.h"
#include "training/take_matching.h"

namespace tessera {
namespace {

constexpr std::int64_t kValidationImages = 256;  // looked at during training; all of them at the end
constexpr std::int64_t kPreviewImages = 16;

TensorMap load_weights_file(const std::string& path) {
  return path.ends_with(".safetensors") ? load_safetensors(path) : load_torch_archive(path).tensors();
}

/// null: none. Says a feature network's faults before the training begins.
std::unique_ptr<PerceptualLoss> make_perceptual(const CodecRecipe& recipe, Precision precision) {
  const auto term = recipe.perceptual_term();
  if (recipe.perceptual_term_weight() == 0) return nullptr;
  if (term == "edges") return std::make_unique<EdgePyramidLoss>();
  if (term == "lpips") {
    return std::make_unique<Lpips>(load_weights_file(recipe.lpips_vgg), load_weights_file(recipe.lpips_heads),
                                   precision);
  }
  auto backbone = term == "squeezenet" ? shipped_backbone(term, precision) : load_backbone(term, precision);
  const auto& description = backbone.description();
  require(description.taps() > 0, "{}: no layer has a tap, expected at least one for a perceptual term", term);
  require(recipe.image_size >= description.smallest_side(), "{}: needs pictures of {} pixels a side, these have {}",
          term, description.smallest_side(), recipe.image_size);
  return std::make_unique<FeatureDistance>(std::move(backbone), recipe.codec_options().pixel_range);
}

AdamOptions adam_options(const CodecRecipe& recipe) {
  AdamOptions options;
  options.beta1 = 0.9;
  options.clip_norm = recipe.clip_norm;
  options.ema_decay = recipe.ema_decay;
  options.ema_warmup = recipe.ema_warmup;
  return options;
}

void set_trainable(torch::nn::Module& module, bool on) {
  for (auto& parameter : module.parameters()) parameter.requires_grad_(on);
}

constexpr double kSpoiled = 1.15;       // times the best distance: the run is being ruined
constexpr double kRetreatFactor = 0.5;  // of the adversarial weight, each time the run is taken back
constexpr std::int64_t kMostRetreats = 3;

/// How well held-out pictures come back; means over pictures.
struct Reconstruction {
  double psnr = 0;        // dB
  double l1 = 0;          // of values in 0..1
  double perceptual = 0;  // of the recipe's term
  double loss = 0;        // the reconstruction loss that is trained, without codebook and discriminator
  CodebookUse use;
};

/// When the discriminator learns and when its term counts, in steps. An untrained discriminator's gradient ruins a
/// codec that was good, so it learns alone first, and then its weight rises.
class AdversarialSchedule {
 public:
  AdversarialSchedule() = default;
  explicit AdversarialSchedule(const CodecRecipe& recipe)
      : counts_from_(recipe.adversarial_from()),
        lead_(static_cast<std::int64_t>(recipe.disc_lead * static_cast<double>(recipe.steps))),
        ramp_(static_cast<std::int64_t>(recipe.disc_ramp * static_cast<double>(recipe.steps))) {}
  bool counts(std::int64_t step) const { return step >= counts_from_; }
  /// Without a lead from the step after the first that counts, as the releases do.
  bool learns(std::int64_t step) const { return step > counts_from_ - lead_; }
  double share(std::int64_t step) const {
    return ramp_ == 0 ? 1 : std::min(1.0, static_cast<double>(step - counts_from_ + 1) / static_cast<double>(ramp_));
  }
  std::int64_t full_from() const { return counts_from_ + ramp_; }

 private:
  std::int64_t counts_from_ = 0, lead_ = 0, ramp_ = 0;
};

class CodecTraining : public TrainingTask {
 public:
  CodecTraining(const CodecRecipe& recipe, const Dataset& data, std::filesystem::path bundle, torch::Device device,
                std::shared_ptr<const Ranks> ranks)
      : recipe_(recipe),
        data_(data),
        bundle_(std::move(bundle)),
        shards_(std::move(ranks), recipe.batch_size, recipe.sharing),
        loader_(make_loader(recipe, data, shards_.own_rows())) {
    torch::manual_seed(static_cast<std::uint64_t>(recipe.seed));
    codec_ = Codec(recipe.codec_options());
    if (!recipe.start_from.empty()) begin_from_bundle();
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
    if (perceptual_) perceptual_->to(device);
    codec_->to(device);
    average_->to(device);
    adam_ = std::make_unique<Adam>(trained_parameters(), adam_options(recipe), shards_.ranks_of_optimizer());
    if (recipe.adversarial) {
      discriminator_ =
          Discriminator(DiscriminatorOptions{3, recipe.discriminator_channels, recipe.discriminator_layers});
      discriminator_->set_precision(precision);
      discriminator_->to(device);
      auto options = adam_options(recipe);
      options.ema_decay = 0;
      discriminator_adam_ =
          std::make_unique<Adam>(discriminator_->named_parameters(), options, shards_.ranks_of_optimizer());
    }
    schedule_ = AdversarialSchedule(recipe);
    care_ = std::make_unique<CodebookCare>(recipe.codebook_size, recipe.decoder_only ? 0 : recipe.reseed_every,
                                           recipe.steps, static_cast<Seed>(recipe.seed));
    log().info("codec: {} parameters, {}x{} pixels to {}x{} cells of {} codes; perceptual term: {}; {} activations",
               parameter_count(), recipe.image_size, recipe.image_size, codec_->options().grid().h,
               codec_->options().grid().w, recipe.codebook_size, perceptual_name(), name_of(precision));
  }

  std::string name() const override { return "codec"; }
  std::string unit() const override { return "images"; }
  double units_per_step() const override { return static_cast<double>(recipe_.batch_size); }

  nlohmann::json recipe() const override {
    auto copy = recipe_;
    auto object = to_json(copy.fields());
    object["data_key"] = data_.key();
    object["data_count"] = data_.size();
    return object;
  }

  Metrics step(std::int64_t step) override;
  std::optional<Judgement> validate(std::int64_t step, Recorder& recorder) override;
  bool plan_steps(std::int64_t step, std::int64_t total) override {
    // The discriminator's start is part of a run's length: it does not move once its training is near.
    if (recipe_.adversarial && schedule_.learns(step + step / 2)) return false;
    recipe_.steps = total;
    schedule_ = AdversarialSchedule(recipe_);
    care_->new_total(total);
    return true;
  }
  bool may_go_back() const override { return recipe_.adversarial; }
  bool wants_to_go_back(double best, double now) const override;
  void went_back() override;
  void gather_state() override {
    adam_->gather();
    if (discriminator_adam_) discriminator_adam_->gather();
  }
  void measure_together(std::int64_t step) override;
  void save_state(TensorMap& into) const override;
  void load_state(const TensorMap& from) override;
  void write_bundle(std::int64_t step) override;

 private:
  static std::unique_ptr<BatchLoader> make_loader(const CodecRecipe& recipe, const Dataset& data,
                                                  const LeafRange& rows) {
    BatchOptions options;
    options.batch_size = recipe.batch_size;
    options.seed = static_cast<Seed>(recipe.seed);
    options.flip = recipe.flip;
    options.crop_scale = recipe.crop_scale;
    options.first_row = rows.begin;
    options.rows = rows.size();
    return std::make_unique<BatchLoader>(data, Split::train, options);
  }

  std::int64_t parameter_count() const {
    std::int64_t count = 0;
    for (const auto& parameter : codec_->parameters()) count += parameter.numel();
    return count;
  }

  torch::OrderedDict<std::string, torch::Tensor> trained_parameters() const {
    auto all = codec_->named_parameters();
    if (!recipe_.decoder_only) return all;
    torch::OrderedDict<std::string, torch::Tensor> chosen;
    for (auto& item : all) {
      const bool decodes = item.key().starts_with("decoder.") || item.key().starts_with("post_quant_conv.");
      item.value().requires_grad_(decodes);
      if (decodes) chosen.insert(item.key(), item.value());
    }
    return chosen;
  }

  std::string perceptual_name() const { return perceptual_ ? perceptual_->name() : "none"; }

  void begin_from_bundle();
  void start_codebook();
  void update_average();
  /// The weights that the last validation found better.
  Codec& chosen() { return averaged_is_better_ ? average_ : codec_; }
  bool has_held_out() const { return !data_.split(Split::validation).empty(); }
  Reconstruction measure(Codec& codec, const std::vector<std::int64_t>& pictures);
  /// Pictures, each beside its reconstruction.
  Image preview_of(Codec& codec, std::vector<std::int64_t> pictures);
  /// In: images of a shard.
  torch::Tensor augment(const torch::Tensor& images, std::int64_t step, std::uint64_t stream,
                        std::int64_t shard) const {
    if (!recipe_.diff_aug) return images;
    return diff_augment(
        images, draw_augmentation(images.size(0), images.size(2), images.size(3), static_cast<Seed>(recipe_.seed), step,
                                  stream, shard * shards_.rows_each()));
  }

  /// A shard on its way through a step.
  struct ShardPass {
    CodecPass pass;
    torch::Tensor reconstruction_loss;  // with the perceptual term
    torch::Tensor fake;                 // what the discriminator sees; undefined: nothing
    torch::Tensor generator_loss;       // undefined: the adversarial term does not count yet
  };
  ShardPass pass_of(const torch::Tensor& bytes, std::int64_t step, std::int64_t shard, ShardBuffers* discriminator,
                    Metrics& metrics);
  torch::Tensor adversarial_weight(std::vector<ShardPass>& passes, std::int64_t step) const;
  double train_discriminator(const std::vector<ShardPass>& passes, std::int64_t step, double rate,
                             ShardBuffers& buffers);
  void care_for_codebook(const std::vector<ShardPass>& passes, std::int64_t step, Metrics& metrics);

  CodecRecipe recipe_;
  Dataset data_;
  std::filesystem::path bundle_;
  BatchShards shards_;
  std::unique_ptr<BatchLoader> loader_;
  Codec codec_{nullptr}, average_{nullptr};
  Discriminator discriminator_{nullptr};
  std::unique_ptr<PerceptualLoss> perceptual_;
  std::unique_ptr<Adam> adam_, discriminator_adam_;
  std::unique_ptr<CodebookCare> care_;
  AdversarialSchedule schedule_;
  /// What all ranks have measured of the present weights.
  struct Measured {
    std::vector<std::int64_t> pictures;
    Reconstruction plain;
    std::optional<Reconstruction> averaged;
  };
  Measured measured_;
  Metrics figures_;                       // of the last validation
  bool averaged_is_better_ = true;        // found there
  bool codebook_taken_over_ = false;      // from start_from
  std::int64_t discriminator_steps_ = 0;  // updates that the discriminator has had
  std::int64_t retreats_ = 0;             // times the run was taken back
};

void CodecTraining::begin_from_bundle() {
  const auto given = load_bundle(recipe_.start_from);
  require(given.codec.has_value(), "start_from: {}: the bundle holds no codec (vqvae/)", recipe_.start_from);
  auto weights = codec_->weights();
  const auto taken = take_matching(weights, given.codec->tensors);
  require(taken.taken > 0, "start_from: {}: none of its {} tensors fits this codec", recipe_.start_from,
          given.codec->tensors.size());
  codec_->load(weights, recipe_.start_from);
  codebook_taken_over_ = taken.anew.empty() || std::none_of(taken.anew.begin(), taken.anew.end(), [](const auto& name) {
                           return name.starts_with("quantize");
                         });
  for (const auto& name : taken.anew) {
    require(!recipe_.decoder_only || name.starts_with("decoder."),
            "decoder_only: {}: its '{}' does not fit this codec, expected the same encoder and codes",
            recipe_.start_from, name);
  }
  log().info("codec: {}", taken.text(recipe_.start_from));
}

void CodecTraining::start_codebook() {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> seen;
  std::int64_t rows = 0;
  for (std::int64_t batch = 0; rows < 32 * recipe_.codebook_size && batch < 64; ++batch) {
    const auto images = loader_->batch(batch).images;
    std::vector<torch::Tensor> own;
    for (auto shard = shards_.own().begin; shard < shards_.own().end; ++shard) {
      const auto pixels = codec_->to_network_range(shards_.rows_of(images, shard).to(codec_->device()));
      own.push_back(codec_->quantizer->candidates(codec_->latents(pixels)));
    }
    seen.push_back(shards_.all_rows(torch::cat(own)));
    rows += seen.back().size(0);
  }
  auto centres = kmeans(torch::cat(seen), recipe_.codebook_size, static_cast<Seed>(recipe_.seed), 10);
  shards_.ranks().broadcast(centres);
  codec_->quantizer->replace_rows(torch::arange(recipe_.codebook_size).to(codec_->device()), centres);
}

CodecTraining::ShardPass CodecTraining::pass_of(const torch::Tensor& bytes, std::int64_t step, std::int64_t shard,
                                                ShardBuffers* discriminator, Metrics& metrics) {
  ShardPass made;
  QuantizerContext context{step, static_cast<Seed>(recipe_.seed)};
  context.first_row = shard * shards_.rows_each();
  context.follows = false;
  auto& pass = made.pass;
  pass = recipe_.decoder_only ? codec_->decoder_pass(bytes) : codec_->train_pass(bytes, context);
  const auto difference = pass.reconstruction - pass.target;
  made.reconstruction_loss = recipe_.reconstruction_loss == "l1" ? difference.abs().mean() : difference.square().mean();
  metrics["reconstruction"] = made.reconstruction_loss.item<double>();
  if (perceptual_) {
    const auto perceptual = perceptual_->distance(pass.target, pass.reconstruction).mean();
    metrics["perceptual"] = perceptual.item<double>();
    made.reconstruction_loss = made.reconstruction_loss + recipe_.perceptual_term_weight() * perceptual;
  }
  metrics["codebook"] = pass.quantizer_loss.item<double>();
  if (discriminator == nullptr) return made;
  made.fake = augment(pass.reconstruction, step, 0, shard);
  if (schedule_.counts(step)) {
    set_trainable(*discriminator_, false);  // the generator's loss is to move the codec alone
    made.generator_loss = -discriminator->during(shard, [&] { return discriminator_->forward(made.fake); }).mean();
    metrics["generator"] = made.generator_loss.item<double>();
  }
  return made;
}

/// Of the whole batch: the same for all its shards.
torch::Tensor CodecTraining::adversarial_weight(std::vector<ShardPass>& passes, std::int64_t step) const {
  const auto last_layer = codec_->decoder->last_layer();
  torch::Tensor weight;
  if (shards_.count() == 1) {
    weight =
        adaptive_weight(passes[0].reconstruction_loss, passes[0].generator_loss, last_layer, recipe_.disc_weight_max);
  } else {
    const auto gradients = shards_.mean([&](std::int64_t shard) {
      const auto& pass = passes[static_cast<std::size_t>(shard - shards_.own().begin)];
      return last_layer_gradients(pass.reconstruction_loss, pass.generator_loss, last_layer);
    });
    weight = adaptive_weight(gradients, recipe_.disc_weight_max);
  }
  return weight * (schedule_.share(step) * std::pow(kRetreatFactor, static_cast<double>(retreats_)));
}

/// Out: its loss.
double CodecTraining::train_discriminator(const std::vector<ShardPass>& passes, std::int64_t step, double rate,
                                          ShardBuffers& buffers) {
  ++discriminator_steps_;
  set_trainable(*discriminator_, true);
  const auto loss_of = [&](std::int64_t shard, Metrics&) {
    const auto& made = passes[static_cast<std::size_t>(shard - shards_.own().begin)];
    const auto look = [&](const torch::Tensor& images) {
      return buffers.during(shard, [&] { return discriminator_->forward(images); });
    };
    const auto real_logits = look(augment(made.pass.target, step, 1, shard));
    const auto fake_logits = look(made.fake.detach());
    return hinge_loss(real_logits, fake_logits);
  };
  const double own =
      recipe_.discriminator_learning_rate > 0 ? recipe_.discriminator_learning_rate : recipe_.learning_rate;
  const auto metrics = shards_.minimise(*discriminator_adam_, loss_of, own * rate / recipe_.learning_rate,
                                        "discriminator", "codec: the discriminator's loss", step);
  return metrics.at("discriminator");
}

void CodecTraining::care_for_codebook(const std::vector<ShardPass>& passes, std::int64_t step, Metrics& metrics) {
  std::vector<torch::Tensor> indices, latents;
  for (const auto& made : passes) {
    indices.push_back(made.pass.indices);
    latents.push_back(made.pass.latents.detach());
  }
  if (passes.front().pass.seen.defined()) {
    codec_->quantizer->follow(shards_.sum(
        [&](std::int64_t shard) { return passes[static_cast<std::size_t>(shard - shards_.own().begin)].pass.seen; }));
  }
  const auto all_indices = shards_.all_rows(torch::cat(indices));
  metrics["perplexity"] = codebook_use(all_indices, recipe_.codebook_size).perplexity;
  auto own_latents = torch::cat(latents);
  care_->after_step(step, all_indices, *codec_->quantizer,
                    care_->reseeds(step) ? shards_.all_rows(own_latents) : own_latents);
  metrics["codes_in_use"] = static_cast<double>(care_->codes_in_use());
}

Metrics CodecTraining::step(std::int64_t step) {
  const double rate =
      learning_rate_at(step, recipe_.learning_rate, recipe_.warmup, recipe_.steps, recipe_.final_learning_rate);
  codec_->train();
  const bool has_codebook = codebook_taken_over_ || recipe_.quantizer == "gumbel";
  if (step == 0 && recipe_.kmeans_start && !has_codebook) start_codebook();
  const auto images = loader_->batch(step).images;
  const bool discriminates = recipe_.adversarial && schedule_.learns(step);
  const bool counts = recipe_.adversarial && schedule_.counts(step);
  std::optional<ShardBuffers> buffers;
  if (discriminates || counts) {
    discriminator_->train();
    buffers.emplace(*discriminator_, shards_);
  }

  std::vector<ShardPass> passes;
  std::vector<Metrics> figures;
  const auto pass_next = [&](std::int64_t shard) {
    passes.push_back(
        pass_of(shards_.rows_of(images, shard), step, shard, buffers ? &*buffers : nullptr, figures.emplace_back()));
  };
  torch::Tensor weight;
  if (counts) {  // it asks for all of the batch before any loss is known
    for (auto shard = shards_.own().begin; shard < shards_.own().end; ++shard) pass_next(shard);
    weight = adversarial_weight(passes, step);
  }
  const auto loss_of = [&](std::int64_t shard, Metrics& metrics) {
    if (!counts) pass_next(shard);
    const auto at = static_cast<std::size_t>(shard - shards_.own().begin);
    metrics = figures[at];
    const auto& made = passes[at];
    const auto loss = made.reconstruction_loss + made.pass.quantizer_loss;
    return counts ? loss + weight * made.generator_loss : loss;
  };
  auto metrics = shards_.minimise(*adam_, loss_of, rate, "loss", "codec: the loss", step);
  if (counts) metrics["adversarial_weight"] = weight.item<double>();
  if (discriminates) metrics["discriminator"] = train_discriminator(passes, step, rate, *buffers);
  if (buffers) buffers->finish();
  care_for_codebook(passes, step, metrics);
  return metrics;
}

void CodecTraining::update_average() {
  auto weights = codec_->weights();
  for (auto& [name, tensor] : adam_->averaged()) weights[name] = tensor;
  average_->load(weights, "averaged codec");
}

Reconstruction CodecTraining::measure(Codec& codec, const std::vector<std::int64_t>& pictures) {
  const torch::NoGradGuard no_grad;
  codec->eval();
  const auto count = static_cast<std::int64_t>(pictures.size());
  const auto rows = shards_.made_together(count, recipe_.batch_size, [&](std::int64_t begin, std::int64_t end) {
    const auto images = data_.images(torch::tensor(std::vector(pictures.begin() + begin, pictures.begin() + end)));
    const auto grid = codec->encode(images);
    const auto decoded = codec->decode(grid);
    const auto error = (decoded.to(torch::kFloat64) - images.to(torch::kFloat64)) / 255.0;
    const auto mean = [](const torch::Tensor& of) { return of.mean({1, 2, 3}); };
    auto perceptual = torch::zeros({end - begin}, torch::kFloat64);
    if (perceptual_) {
      const auto target = codec->to_network_range(images.to(codec->device())),
                 output = codec->to_network_range(decoded.to(codec->device()));
      perceptual = perceptual_->distance(target, output).flatten().to(torch::kCPU, torch::kFloat64);
    }
    const auto figures =
        torch::stack({-10.0 * torch::log10(mean(error.square()).clamp_min(1e-10)), mean(error.abs()),
                      mean(recipe_.reconstruction_loss == "l1" ? error.abs() : error.square()), perceptual},
                     1);
    return std::vector<torch::Tensor>{figures, grid.codes()};
  });
  const auto means = rows[0].mean(0);
  Reconstruction found;
  found.psnr = means[0].item<double>();
  found.l1 = means[1].item<double>();
  found.perceptual = means[3].item<double>();
  found.loss = means[2].item<double>() + recipe_.perceptual_term_weight() * found.perceptual;
  found.use = codebook_use(rows[1], recipe_.codebook_size);
  return found;
}

Image CodecTraining::preview_of(Codec& codec, std::vector<std::int64_t> pictures) {
  const torch::NoGradGuard no_grad;
  codec->eval();
  if (static_cast<std::int64_t>(pictures.size()) > kPreviewImages) pictures.resize(kPreviewImages);
  const auto images = data_.images(torch::tensor(pictures));
  const auto decoded = codec->decode(codec->encode(images));
  std::vector<Image> sheet;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    sheet.push_back(to_image(images[i]));
    sheet.push_back(to_image(decoded[i]));
  }
  return contact_sheet(sheet, {8, 2, {}});
}

void CodecTraining::measure_together(std::int64_t step) {
  measured_ = {};
  measured_.pictures = data_.split(has_held_out() ? Split::validation : Split::train);
  const bool at_end = step >= recipe_.steps && has_held_out();
  if (!at_end && static_cast<std::int64_t>(measured_.pictures.size()) > kValidationImages)
    measured_.pictures.resize(kValidationImages);
  update_average();
  measured_.plain = measure(codec_, measured_.pictures);
  averaged_is_better_ = false;
  if (adam_->has_average()) {
    measured_.averaged = measure(average_, measured_.pictures);
    averaged_is_better_ = measured_.averaged->loss <= measured_.plain.loss;
  }
}

std::optional<Judgement> CodecTraining::validate(std::int64_t step, Recorder& recorder) {
  const auto& [pictures, plain, averaged] = measured_;
  const auto& best = averaged_is_better_ ? *averaged : plain;
  if (averaged) {
    figures_["psnr_db_of_averaged_weights"] = averaged->psnr;
    figures_["psnr_db_of_plain_weights"] = plain.psnr;
  }
  const std::string of =
      has_held_out() ? "validation_" : "training_";  // a figure of nothing held out is none of held out
  figures_[of + "psnr_db"] = best.psnr;
  figures_[of + "l1"] = best.l1;
  figures_[of + "distance"] = best.loss;
  if (perceptual_) figures_[of + "perceptual"] = best.perceptual;
  figures_[of + "images"] = static_cast<double>(pictures.size());
  figures_[of + "perplexity"] = best.use.perplexity;
  figures_[of + "codes_used"] = static_cast<double>(best.use.used);
  recorder.scalars(step, figures_);
  recorder.image(step, "reconstructions", preview_of(chosen(), pictures));
  log().info(
      "codec: step {}: {:.2f} dB PSNR, distance {:.4f} on {} {} ({} weights), {} of {} codes used there, "
      "perplexity {:.1f}",
      step, best.psnr, best.loss, pictures.size(),
      has_held_out() ? "held-out pictures" : "training pictures (none are held out)",
      averaged_is_better_ ? "averaged" : "plain", best.use.used, recipe_.codebook_size, best.use.perplexity);
  if (!has_held_out()) return std::nullopt;
  // The adversarial term costs some of the distance that it is there to improve on: its weights are compared among
  // themselves.
  return Judgement{best.loss, recipe_.adversarial && step > schedule_.full_from() ? 1 : 0};
}

bool CodecTraining::wants_to_go_back(double best, double now) const {
  return recipe_.adversarial && discriminator_steps_ > 0 && retreats_ < kMostRetreats && now > kSpoiled * best;
}

void CodecTraining::went_back() {
  ++retreats_;
  log().warn(
      "codec: held-out reconstructions got worse by more than {:.0f} % under the discriminator: its term counts {} "
      "as much from here on",
      100 * (kSpoiled - 1), std::pow(kRetreatFactor, static_cast<double>(retreats_)));
}

void CodecTraining::save_state(TensorMap& into) const {
  for (const auto& [name, tensor] : codec_->training_state()) into["model." + name] = tensor;
  adam_->save("adam.", into);
  if (discriminator_) {
    for (const auto& [name, tensor] : discriminator_->weights()) into["discriminator." + name] = tensor;
    discriminator_adam_->save("discriminator_adam.", into);
  }
  into["codebook_care"] = care_->state();
  into["adversarial_counts"] = torch::tensor({discriminator_steps_, retreats_}, torch::kInt64);
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
  const auto counts = from.find("adversarial_counts");
  require(counts != from.end() && counts->second.numel() == 2, "training state: 'adversarial_counts' is missing");
  discriminator_steps_ = counts->second[0].item<std::int64_t>();
  retreats_ = counts->second[1].item<std::int64_t>();
}

void CodecTraining::write_bundle(std::int64_t step) {
  if (averaged_is_better_) update_average();
  auto& codec = chosen();
  ModelCard card;
  card.part = "codec";
  card.description = fmt::format(
      "{} at {}x{} pixels, {}x{} cells of {} codes ({} quantizer), {} steps of {} pictures; perceptual term: {}; {}; "
      "{} "
      "weights",
      discriminator_steps_ > 0 ? "VQGAN" : "VQ-VAE", recipe_.image_size, recipe_.image_size, codec->options().grid().h,
      codec->options().grid().w, recipe_.codebook_size, recipe_.quantizer, step, recipe_.batch_size, perceptual_name(),
      discriminator_steps_ > 0 ? fmt::format("PatchGAN discriminator for {} steps", discriminator_steps_)
                               : std::string("no discriminator was trained"),
      averaged_is_better_ ? "averaged" : "plain");
  card.figures = figures_;
  card.recipe = recipe();
  write_codec_bundle(bundle_, to_json(codec->options()), codec->weights(), card);
}

}  // namespace

Precision training_precision(const std::string& name, torch::Device device) {
  if (name == "float32") return Precision::float32;
  if (name == "bfloat16") return Precision::bfloat16;
  require(name == "auto", "precision '{}': expected one of auto, float32, bfloat16", name);
  return has_bfloat16(device) ? Precision::bfloat16 : Precision::float32;
}

std::unique_ptr<TrainingTask> make_codec_training(const CodecRecipe& recipe, const Dataset& data,
                                                  const std::filesystem::path& bundle, torch::Device device,
                                                  std::shared_ptr<const Ranks> ranks) {
  recipe.validate();
  require(data.image_size() == recipe.image_size, "{} pixel data for a codec of {}", data.image_size(),
          recipe.image_size);
  return std::make_unique<CodecTraining>(recipe, data, bundle, device, std::move(ranks));
}

}  // namespace tessera
