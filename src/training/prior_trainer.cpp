#include "training/prior_trainer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "checkpoint/bundle.h"
#include "diffusion/absorbing.h"
#include "diffusion/likelihood.h"
#include "diffusion/time_sampler.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "sampling/fill.h"
#include "sampling/registry.h"
#include "training/adam.h"
#include "training/codec_trainer.h"
#include "training/model_card.h"
#include "training/prior_fields.h"
#include "training/recipe.h"
#include "training/row_order.h"
#include "training/take_matching.h"
#include "training/time_sampler_state.h"

namespace tessera {
namespace {

constexpr std::int64_t kPreviewSteps = 24;
constexpr std::int64_t kTimeBuckets = 16;  // of the curve of the loss by time step

TransformerOptions transformer_options(const PriorRecipe& recipe, const TokenData& data) {
  TransformerOptions options;
  options.kind = recipe.prior == "absorbing" ? TransformerKind::bidirectional : TransformerKind::autoregressive;
  options.codebook_size = data.codebook_size;
  options.grid = {data.train.size(1), data.train.size(2)};
  options.layers = recipe.layers;
  options.heads = recipe.heads;
  options.width = recipe.width;
  options.dropout = recipe.dropout;
  options.validate();
  return options;
}

/// What validation measures on some grids.
struct Likelihood {
  double bits_per_token = 0;
  double standard_error = 0;         // over grids
  std::vector<double> bits_by_time;  // cross-entropy a masked cell, by bucket of t / T; empty: autoregressive
};

class PriorTraining : public TrainingTask {
 public:
  PriorTraining(const PriorRecipe& recipe, const TokenData& data, std::filesystem::path bundle, SampleReview review,
                torch::Device device)
      : recipe_(recipe),
        data_(data),
        bundle_(std::move(bundle)),
        review_(std::move(review)),
        process_(data.codebook_size, recipe.total_steps, mask_schedule_from(recipe.mask_schedule)),
        times_(recipe.total_steps) {
    const auto start = recipe.initialisation == "framework" ? Initialisation::framework : Initialisation::small_normal;
    const auto options = transformer_options(recipe, data);
    model_ = Transformer(options, start, static_cast<Seed>(recipe.seed));
    if (!recipe.start_from.empty()) {
      const auto given = load_bundle(recipe.start_from);
      require(given.denoiser.has_value(), "start_from: {}: the bundle holds no prior (transformer/)",
              recipe.start_from);
      auto weights = model_->state();
      const auto taken = take_matching(weights, given.denoiser->tensors);
      require(taken.taken > 0, "start_from: {}: none of its {} tensors fits this prior", recipe.start_from,
              given.denoiser->tensors.size());
      model_->load(weights, recipe.start_from);
      log().info("prior: {}", taken.text(recipe.start_from));
    }
    average_ = Transformer(options, Initialisation::none);
    average_->eval();
    for (auto network : {model_, average_}) {
      network->set_precision(training_precision(recipe.precision, device));
      network->to(device);
    }
    adam_ = std::make_unique<Adam>(model_->named_parameters(), recipe.adam());
    log().info("prior: {} transformer of {} parameters over {}x{} cells of {} codes", recipe.prior,
               model_->parameter_count(), options.grid.h, options.grid.w, options.codebook_size);
  }

  std::string name() const override { return "prior"; }
  std::string unit() const override { return "images"; }
  double units_per_step() const override { return static_cast<double>(recipe_.batch_size); }
  bool plan_steps(std::int64_t /*step*/, std::int64_t total) override {
    recipe_.steps = total;
    return true;
  }
  nlohmann::json recipe() const override {
    auto copy = recipe_;
    return described(copy.fields());
  }

  /// What was used, for the card.
  nlohmann::json record() const {
    auto copy = recipe_;
    ConditionalRecipe plain;
    return described(used_fields(copy, plain));
  }

  Metrics step(std::int64_t step) override;
  std::optional<Judgement> validate(std::int64_t step, Recorder& recorder) override;
  void save_state(TensorMap& into) const override;
  void load_state(const TensorMap& from) override;
  void write_bundle(std::int64_t step) override;

 private:
  /// The fields' values, and the data that they were used on.
  nlohmann::json described(const Fields& fields) const {
    auto object = to_json(fields);
    object["data_key"] = data_.key;
    if (data_.count > 0) object["data_count"] = data_.count;
    return object;
  }
  bool absorbing() const { return recipe_.prior == "absorbing"; }
  torch::Tensor absorbing_loss(const torch::Tensor& x0, std::int64_t step, Metrics& metrics);
  Likelihood measure(Transformer& network, const torch::Tensor& grids);
  Likelihood measure_absorbing(Transformer& network, const torch::Tensor& x0);
  /// The weights that the last validation found better.
  Transformer& chosen() { return averaged_is_better_ ? average_ : model_; }

  PriorRecipe recipe_;
  TokenData data_;
  std::filesystem::path bundle_;
  SampleReview review_;
  AbsorbingProcess process_;
  TimeSampler times_;
  Transformer model_{nullptr}, average_{nullptr};
  std::unique_ptr<Adam> adam_;
  Metrics figures_;
  bool averaged_is_better_ = true;
};

torch::Tensor PriorTraining::absorbing_loss(const torch::Tensor& x0, std::int64_t step, Metrics& metrics) {
  const auto seed = static_cast<Seed>(recipe_.seed);
  const auto at = static_cast<std::uint32_t>(step);
  const auto times = times_.sample(time_sampling_from(recipe_.time_sampling), x0.size(0), seed, 0, at);
  const auto noised = process_.q_sample(x0, times.t, seed, 0, at);
  const auto rows = rows_of(noised.changed);
  const auto logits = model_->logits_at(noised.tokens, rows).to(torch::kFloat32);
  const auto losses = training_loss(loss_kind_from(recipe_.loss), masked_cross_entropy_at(logits, x0, rows),
                                    noised.changed, times.t, times.p_t, recipe_.total_steps);
  times_.update(times.t, losses);
  metrics["bound"] = losses.vb.detach().mean().item<double>();
  return losses.mean();
}

Metrics PriorTraining::step(std::int64_t step) {
  model_->train();
  model_->seed_dropout(
      RandomStream(static_cast<Seed>(recipe_.seed), Purpose::dropout, 0, static_cast<std::uint32_t>(step)).bits(0));
  const auto rows = batch_rows(data_.train.size(0), recipe_.batch_size, static_cast<Seed>(recipe_.seed), step,
                               recipe_.sampling == "replacement");
  const auto x0 = data_.train.index_select(0, rows).flatten(1).to(torch::kInt64);
  Metrics metrics;
  torch::Tensor loss;
  if (absorbing()) {
    loss = absorbing_loss(x0, step, metrics);
  } else {
    const auto logits = model_->forward(x0.slice(1, 0, x0.size(1) - 1)).to(torch::kFloat32);
    loss = torch::nn::functional::cross_entropy(logits.flatten(0, 1), x0.flatten().to(logits.device())) /
           std::numbers::ln2;
  }
  metrics["loss"] = loss.item<double>();
  require(std::isfinite(metrics["loss"]), "prior: the loss is {} at step {}", metrics["loss"], step);
  loss.backward();
  const double rate =
      learning_rate_at(step, recipe_.learning_rate, recipe_.warmup, recipe_.steps, recipe_.final_learning_rate);
  metrics["gradient_norm"] = adam_->step(rate);
  return metrics;
}

Likelihood PriorTraining::measure_absorbing(Transformer& network, const torch::Tensor& x0) {
  // Stratified: each grid sees one time step in each of S equal strata of 1..T, each term weighted by T / S.
  const std::int64_t T = recipe_.total_steps, cells = x0.size(1);
  const std::int64_t strata = recipe_.validation_terms > 0 ? std::min(recipe_.validation_terms, T) : T;
  auto total = torch::zeros({x0.size(0)}, torch::kFloat64);
  std::vector<double> bits(kTimeBuckets, 0), masked(kTimeBuckets, 0);
  for (std::int64_t stratum = 0; stratum < strata; ++stratum) {
    for (std::int64_t start = 0; start < x0.size(0); start += recipe_.batch_size) {
      const auto part = x0.slice(0, start, std::min(start + recipe_.batch_size, x0.size(0)));
      auto t = torch::empty({part.size(0)}, torch::kInt64);
      const RandomStream random(static_cast<Seed>(recipe_.seed) + 1, Purpose::training_times,
                                static_cast<std::uint64_t>(start), static_cast<std::uint32_t>(stratum));
      for (std::int64_t i = 0; i < part.size(0); ++i) {
        const auto first = stratum * T / strata, last = (stratum + 1) * T / strata;
        t[i] = first + 1 +
               static_cast<std::int64_t>(
                   random.below(static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(last - first)));
      }
      const auto noised = process_.q_sample(part, t, static_cast<Seed>(recipe_.seed) + 1,
                                            static_cast<std::uint64_t>(start), static_cast<std::uint32_t>(stratum));
      const auto rows = rows_of(noised.changed);
      if (rows.numel() == 0) continue;
      const auto nats = masked_cross_entropy_at(network->logits_at(noised.tokens, rows).to(torch::kFloat32), part, rows)
                            .to(torch::kCPU, torch::kFloat64);
      total.slice(0, start, start + part.size(0)) += nats / t * (static_cast<double>(T) / static_cast<double>(strata));
      const auto counts = noised.changed.sum(1);
      for (std::int64_t i = 0; i < part.size(0); ++i) {
        const auto bucket = static_cast<std::size_t>((t[i].item<std::int64_t>() - 1) * kTimeBuckets / T);
        bits[bucket] += nats[i].item<double>() / std::numbers::ln2;
        masked[bucket] += counts[i].item<double>();
      }
    }
  }
  Likelihood result;
  const auto each = total / std::numbers::ln2 / static_cast<double>(cells);
  result.bits_per_token = each.mean().item<double>();
  if (each.size(0) > 1)
    result.standard_error = each.std().item<double>() / std::sqrt(static_cast<double>(each.size(0)));
  for (std::size_t i = 0; i < bits.size(); ++i) result.bits_by_time.push_back(masked[i] > 0 ? bits[i] / masked[i] : 0);
  return result;
}

Likelihood PriorTraining::measure(Transformer& network, const torch::Tensor& grids) {
  const torch::NoGradGuard no_grad;
  const auto x0 = grids.index_select(0, recipe_.grids_to_measure(grids.size(0))).flatten(1).to(torch::kInt64);
  network->eval();
  if (absorbing()) return measure_absorbing(network, x0);
  std::vector<torch::Tensor> nats;
  for (std::int64_t start = 0; start < x0.size(0); start += recipe_.batch_size) {
    const auto part = x0.slice(0, start, std::min(start + recipe_.batch_size, x0.size(0)));
    const auto logits = network->forward(part.slice(1, 0, part.size(1) - 1)).to(torch::kCPU);
    nats.push_back(autoregressive_nll(logits, part).to(torch::kFloat64));
  }
  const auto each = torch::cat(nats) / std::numbers::ln2 / static_cast<double>(x0.size(1));
  Likelihood result;
  result.bits_per_token = each.mean().item<double>();
  if (each.size(0) > 1)
    result.standard_error = each.std().item<double>() / std::sqrt(static_cast<double>(each.size(0)));
  return result;
}

std::optional<Judgement> PriorTraining::validate(std::int64_t step, Recorder& recorder) {
  average_->load(adam_->averaged(), "averaged prior");
  const bool has_held_out = data_.validation.size(0) > 0;
  const auto& grids = has_held_out ? data_.validation : data_.train;
  const auto averaged = measure(average_, grids);
  auto held_out = averaged;
  figures_.clear();
  if (adam_->has_average()) {
    const auto plain = measure(model_, grids);
    const WeightsCompared compared{averaged.bits_per_token, plain.bits_per_token};
    averaged_is_better_ = compared.averaged_is_better();
    if (!averaged_is_better_) held_out = plain;
    if (has_held_out) compared.add_to(figures_);
  }
  const auto seen = measure(chosen(), data_.train);  // the gap between the two shows memorisation
  figures_["train_bits_per_token"] = seen.bits_per_token;
  if (has_held_out) {
    figures_["validation_bits_per_token"] = held_out.bits_per_token;
    figures_["validation_bits_per_token_standard_error"] = held_out.standard_error;
  }
  recorder.scalars(step, figures_);
  if (absorbing()) {
    if (has_held_out) recorder.series(step, "validation_bits_by_time", held_out.bits_by_time);
    recorder.series(step, "train_bits_by_time", seen.bits_by_time);
    const auto history = times_.loss_history.contiguous();
    recorder.series(step, "training_loss_by_time",
                    std::vector<double>(history.data_ptr<float>() + 1, history.data_ptr<float>() + history.numel()));
  }
  if (has_held_out) {
    log().info(
        "prior: step {}: {:.4f} (se {:.4f}) validation bits per token, {:.4f} on as many training grids ({} weights)",
        step, held_out.bits_per_token, held_out.standard_error, seen.bits_per_token,
        averaged_is_better_ ? "averaged" : "plain");
  } else {
    log().info("prior: step {}: {:.4f} bits per token on training grids (none are held out)", step,
               seen.bits_per_token);
  }
  const auto wanted = review_.count();
  if (wanted == 0) return std::nullopt;
  FillOptions options;
  // As a bundle of such a prior suggests to sample it: ancestral samples of a short training say little.
  if (const auto* sampler = suggested_sampler(!absorbing())) options.sampler = sampler->name;
  options.steps = std::min(kPreviewSteps, recipe_.total_steps);
  options.seed = static_cast<Seed>(recipe_.seed);
  options.total_steps = recipe_.total_steps;
  const Extent grid{data_.train.size(1), data_.train.size(2)};
  std::vector<torch::Tensor> made;
  for (std::int64_t first = 0; first < wanted; first += recipe_.batch_size) {
    options.first_image = static_cast<std::uint64_t>(first);
    const auto part = TokenGrid::all_masked(std::min(recipe_.batch_size, wanted - first), grid, data_.codebook_size);
    made.push_back(fill(part, *chosen(), options).grid.codes());
  }
  return review_(step, TokenGrid(torch::cat(made), data_.codebook_size), recorder);
}

void PriorTraining::save_state(TensorMap& into) const {
  for (const auto& [name, tensor] : model_->state()) into["model." + name] = tensor;
  adam_->save("adam.", into);
  save_times(times_, into);
}

void PriorTraining::load_state(const TensorMap& from) {
  TensorMap model;
  for (const auto& [name, tensor] : from) {
    if (name.starts_with("model.")) model[name.substr(6)] = tensor;
  }
  model_->load(model, "training state");
  adam_->load("adam.", from);
  load_times(times_, from);
}

void PriorTraining::write_bundle(std::int64_t step) {
  average_->load(adam_->averaged(), "averaged prior");
  auto& network = chosen();
  ModelCard card;
  card.part = "prior";
  card.description =
      fmt::format("{} transformer of {} layers, {} heads, width {}, {} parameters; {} steps of {} grids; {} weights",
                  recipe_.prior, recipe_.layers, recipe_.heads, recipe_.width, network->parameter_count(), step,
                  recipe_.batch_size, averaged_is_better_ && adam_->has_average() ? "averaged" : "plain");
  card.figures = figures_;
  card.recipe = record();
  const nlohmann::json scheduler = {{"_class_name", "TesseraProcess"},
                                    {"tessera",
                                     {{"format", 1},
                                      {"process", recipe_.prior},
                                      {"total_steps", recipe_.total_steps},
                                      {"mask_schedule", recipe_.mask_schedule}}}};
  write_prior_bundle(bundle_, network->options().to_config(), scheduler, network->state(), card);
}

}  // namespace

std::unique_ptr<TrainingTask> make_prior_training(const PriorRecipe& recipe, const TokenData& data,
                                                  const std::filesystem::path& bundle, SampleReview review,
                                                  torch::Device device) {
  recipe.validate();
  require(data.train.dim() == 3 && data.train.size(0) > 0, "prior: expected training grids [n, h, w]");
  require(data.validation.dim() == 3, "prior: expected validation grids [m, h, w]");
  return std::make_unique<PriorTraining>(recipe, data, bundle, std::move(review), device);
}

}  // namespace tessera
