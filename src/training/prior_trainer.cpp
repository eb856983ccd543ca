#include "training/prior_trainer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "denoiser/class_names.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "sampling/fill.h"
#include "sampling/registry.h"
#include "training/adam.h"
#include "training/batch_shards.h"
#include "training/codec_trainer.h"
#include "training/model_card.h"
#include "training/objectives.h"
#include "training/prior_fields.h"
#include "training/recipe.h"
#include "training/row_order.h"
#include "training/shared_state.h"

namespace tessera {
namespace {

constexpr std::int64_t kPreviewSteps = 24;

/// Likelihoods of the averaged weights and of the plain ones on the same held-out grids, bits a token.
struct WeightsCompared {
  double averaged = 0, plain = 0;
  bool averaged_is_better() const { return averaged <= plain; }
  void add_to(Metrics& figures) const {
    figures["validation_bits_of_averaged_weights"] = averaged;
    figures["validation_bits_of_plain_weights"] = plain;
  }
};

/// What a training starts from; none where the recipe names nothing.
std::optional<Bundle> start_of(const PriorRecipe& recipe) {
  if (recipe.start_from.empty()) return std::nullopt;
  return load_bundle(recipe.start_from);
}

/// What is taken over knows the words of its own tokenizer.
std::optional<ClipTokenizer> tokenizer_of(const std::optional<Bundle>& start) {
  if (!start || start->tokenizer.empty()) return std::nullopt;
  return ClipTokenizer::load(start->tokenizer);
}

class PriorTraining : public TrainingTask {
 public:
  PriorTraining(const PriorRecipe& recipe, const TokenData& data, std::filesystem::path bundle, SampleReview review,
                torch::Device device, std::shared_ptr<const Ranks> ranks, PriorTrainingKind kind)
      : recipe_(recipe),
        data_(data),
        bundle_(std::move(bundle)),
        review_(std::move(review)),
        kind_(std::move(kind)),
        shards_(std::move(ranks), recipe.batch_size, recipe.sharing) {
    const auto start = start_of(recipe);
    told_ = std::make_unique<ConditionSource>(recipe, data, tokenizer_of(start));
    objective_ = objective_of(recipe).make({recipe_, data_});
    const auto make = kind_.networks ? kind_.networks : make_prior_networks;
    auto made = make({recipe_, data_, told_->tokenizer(), start ? &*start : nullptr, device});
    model_ = std::move(made.trained);
    average_ = std::move(made.average);
    model_->to(device);
    average_->to(device);
    adam_ = std::make_unique<Adam>(model_->parameters(), recipe.adam(), shards_.ranks_of_optimizer());
    log().info("prior: {}; {} parameters over {}x{} cells of {} codes", objective_of(recipe).called(recipe),
               model_->parameter_count(), grid().h, grid().w, data.codebook_size);
  }

  std::string name() const override { return kind_.name; }
  std::string unit() const override { return "images"; }
  double units_per_step() const override { return static_cast<double>(recipe_.batch_size); }
  bool plan_steps(std::int64_t /*step*/, std::int64_t total) override {
    recipe_.steps = total;
    return true;
  }
  /// The fields that are used, and the data that they are used on.
  nlohmann::json recipe() const override {
    auto copy = recipe_;
    auto object = kind_.recipe ? kind_.recipe() : to_json(used_fields(copy));
    object["data_key"] = data_.key;
    if (data_.count > 0) object["data_count"] = data_.count;
    return object;
  }

  Metrics step(std::int64_t step) override;
  std::optional<Judgement> validate(std::int64_t step, Recorder& recorder) override;
  void gather_state() override { adam_->gather(); }
  void measure_together(std::int64_t step) override;
  void save_state(TensorMap& into) const override;
  void load_state(const TensorMap& from) override;
  void write_bundle(std::int64_t step) override;

 private:
  Extent grid() const { return {data_.train.size(1), data_.train.size(2)}; }
  bool has_held_out() const { return data_.validation.size(0) > 0; }
  GridLikelihood measure(PriorNetworks& networks, bool held_out);
  /// Bits per token that its own condition saves a grid, beside the one of another grid under the same draws; nothing
  /// where grids have no condition.
  std::optional<double> gain_of_condition(PriorNetworks& networks, bool held_out, double bits_per_token);
  TokenGrid sampled(std::int64_t count);
  /// In: what each of these grids is told.
  GridLikelihood measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told);
  /// One line for the card.
  std::string description(std::int64_t step);
  /// The weights that the last validation found better.
  PriorNetworks& chosen() { return averaged_is_better_ ? *average_ : *model_; }

  PriorRecipe recipe_;
  TokenData data_;
  std::filesystem::path bundle_;
  SampleReview review_;
  PriorTrainingKind kind_;
  BatchShards shards_;
  std::unique_ptr<ConditionSource> told_;
  std::unique_ptr<PriorObjective> objective_;
  std::unique_ptr<PriorNetworks> model_, average_;
  std::unique_ptr<Adam> adam_;
  /// What all ranks have measured of the present weights.
  struct Measured {
    GridLikelihood judged, seen;  // the better weights on held-out (else training) grids, and on training grids
    std::optional<WeightsCompared> compared;
    std::optional<double> gain;
    std::optional<TokenGrid> samples;
  };
  Measured measured_;
  Metrics figures_;
  bool averaged_is_better_ = true;
};

Metrics PriorTraining::step(std::int64_t step) {
  const auto seed = static_cast<Seed>(recipe_.seed);
  model_->train(true);
  const RandomStream dropout(seed, Purpose::dropout, 0, static_cast<std::uint32_t>(step));
  const auto batch = batch_rows(data_.train.size(0), recipe_.batch_size, seed, step, recipe_.sampling == "replacement");
  std::vector<torch::Tensor> seen;
  const auto loss_of = [&](std::int64_t shard, Metrics& metrics) {
    const BatchRows part{step, shard * shards_.rows_each()};
    const auto rows = batch.slice(0, part.first, part.first + shards_.rows_each());
    model_->seed_dropout(dropout.bits(static_cast<std::uint32_t>(shard)));
    const auto x0 = data_.train.index_select(0, rows).flatten(1).to(torch::kInt64);
    auto loss = objective_->loss(*model_, x0, told_->at_step(rows, step), part, metrics);
    if (loss.seen.defined()) seen.push_back(std::move(loss.seen));
    return loss.value;
  };
  const double rate =
      learning_rate_at(step, recipe_.learning_rate, recipe_.warmup, recipe_.steps, recipe_.final_learning_rate);
  const auto metrics = shards_.minimise(*adam_, loss_of, rate, "loss", "prior: the loss", step);
  if (!seen.empty()) objective_->after_step(shards_.all_rows(torch::cat(seen)));
  return metrics;
}

GridLikelihood PriorTraining::measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told) {
  const torch::NoGradGuard no_grad;
  networks.train(false);
  const auto made = shards_.made_together(x0.size(0), recipe_.batch_size, [&](std::int64_t begin, std::int64_t end) {
    const auto found = objective_->measure(networks, x0.slice(0, begin, end), told.slice(begin, end), begin);
    std::vector<torch::Tensor> rows = {found.nats};
    if (found.share_sums.defined()) rows.push_back(found.share_sums.unsqueeze(0));
    return rows;
  });
  return likelihood_of({made[0], made.size() > 1 ? made[1].sum(0) : torch::Tensor()}, x0.size(1));
}

GridLikelihood PriorTraining::measure(PriorNetworks& networks, bool held_out) {
  const auto& grids = held_out ? data_.validation : data_.train;
  const auto rows = recipe_.grids_to_measure(grids.size(0));
  return measure(networks, grids.index_select(0, rows).flatten(1).to(torch::kInt64), told_->as_given(rows, held_out));
}

std::optional<double> PriorTraining::gain_of_condition(PriorNetworks& networks, bool held_out, double bits_per_token) {
  const auto& grids = held_out ? data_.validation : data_.train;
  const auto rows = recipe_.grids_to_measure(grids.size(0));
  const auto told = told_->as_given(rows, held_out);
  if (!told.is_told() || rows.size(0) < 2) return std::nullopt;
  const auto x0 = grids.index_select(0, rows).flatten(1).to(torch::kInt64);
  return measure(networks, x0, told.rotated()).bits_per_token - bits_per_token;
}

void PriorTraining::measure_together(std::int64_t /*step*/) {
  average_->load(adam_->averaged());
  const bool held_out = has_held_out();
  measured_ = {};
  measured_.judged = measure(*average_, held_out);
  if (adam_->has_average()) {
    const auto plain = measure(*model_, held_out);
    measured_.compared = {measured_.judged.bits_per_token, plain.bits_per_token};
    averaged_is_better_ = measured_.compared->averaged_is_better();
    if (!averaged_is_better_) measured_.judged = plain;
  }
  measured_.seen = measure(chosen(), false);  // the gap between the two shows memorisation
  const auto& of_told = held_out ? measured_.judged : measured_.seen;
  measured_.gain = gain_of_condition(chosen(), held_out, of_told.bits_per_token);
  const auto wanted = number_of_first(shards_.ranks(), review_.count());  // who looks at them is rank 0
  if (wanted > 0) measured_.samples = sampled(wanted);
}

std::optional<Judgement> PriorTraining::validate(std::int64_t step, Recorder& recorder) {
  const bool held_out = has_held_out();
  const auto& [judged, seen, compared, gain, samples] = measured_;
  figures_.clear();
  if (compared && held_out) compared->add_to(figures_);
  figures_["train_bits_per_token"] = seen.bits_per_token;
  if (held_out) {
    figures_["validation_bits_per_token"] = judged.bits_per_token;
    figures_["validation_bits_per_token_standard_error"] = judged.standard_error;
  }
  if (gain) figures_["bits_saved_by_own_condition"] = *gain;
  recorder.scalars(step, figures_);
  if (held_out && !judged.bits_by_share.empty())
    recorder.series(step, "validation_bits_by_share_masked", judged.bits_by_share);
  if (!seen.bits_by_share.empty()) recorder.series(step, "train_bits_by_share_masked", seen.bits_by_share);
  if (const auto by_time = objective_->loss_by_time(); !by_time.empty())
    recorder.series(step, "training_loss_by_time", by_time);
  if (held_out) {
    log().info(
        "prior: step {}: {:.4f} (se {:.4f}) validation bits per token, {:.4f} on as many training grids ({} weights)",
        step, judged.bits_per_token, judged.standard_error, seen.bits_per_token,
        averaged_is_better_ ? "averaged" : "plain");
  } else {
    log().info("prior: step {}: {:.4f} bits per token on training grids (none are held out)", step,
               seen.bits_per_token);
  }
  if (gain) log().info("prior: step {}: its own condition saves a grid {:.4f} bits per token", step, *gain);
  return samples ? review_(step, *samples, recorder) : std::nullopt;
}

/// Grids of the chosen weights, each told what a held-out (else a training) picture is.
TokenGrid PriorTraining::sampled(std::int64_t count) {
  const torch::NoGradGuard no_grad;
  const auto denoiser = chosen().denoiser();
  FillOptions options;
  options.process = objective_->process();
  // As a bundle of such a prior suggests to sample it: ancestral samples of a short training say little.
  if (const auto* sampler = suggested_sampler(denoiser->is_autoregressive()); sampler && !denoiser->sees_time())
    options.sampler = sampler->name;
  options.total_steps = objective_->total_steps();
  options.steps = std::min(kPreviewSteps, options.total_steps);
  options.seed = static_cast<Seed>(recipe_.seed);
  const auto available = has_held_out() ? data_.validation.size(0) : data_.train.size(0);
  const auto made = shards_.made_together(count, recipe_.batch_size, [&](std::int64_t first, std::int64_t last) {
    options.first_image = static_cast<std::uint64_t>(first);
    options.conditions = chosen().conditions(told_->as_given(torch::arange(first, last) % available, has_held_out()));
    const auto grids = TokenGrid::all_masked(last - first, grid(), data_.codebook_size);
    return std::vector<torch::Tensor>{fill(grids, *denoiser, options).grid.codes()};
  });
  return {made.front(), data_.codebook_size};
}

void PriorTraining::save_state(TensorMap& into) const {
  for (const auto& item : model_->parameters()) into["model." + item.key()] = item.value().detach();
  adam_->save("adam.", into);
  objective_->save_state(into);
}

void PriorTraining::load_state(const TensorMap& from) {
  TensorMap model;
  for (const auto& [name, tensor] : from) {
    if (name.starts_with("model.")) model[name.substr(6)] = tensor;
  }
  model_->load(model);
  adam_->load("adam.", from);
  objective_->load_state(from);
}

std::string PriorTraining::description(std::int64_t step) {
  const auto called = objective_of(recipe_).called(recipe_);
  if (trained_priors().at(recipe_.prior).counts)
    return fmt::format("{}, counted in {} grids", called, data_.train.size(0));
  std::string size = fmt::format("{} layers, ", recipe_.layers);
  if (unused_field("heads", recipe_).empty()) size += fmt::format("{} heads, ", recipe_.heads);
  return fmt::format("{}: {}width {}, {} parameters; {} steps of {} grids; {} weights", called, size, recipe_.width,
                     model_->parameter_count(), step, recipe_.batch_size,
                     averaged_is_better_ && adam_->has_average() ? "averaged" : "plain");
}

void PriorTraining::write_bundle(std::int64_t step) {
  average_->load(adam_->averaged());
  if (kind_.write) {
    kind_.write(chosen());
    return;
  }
  ModelCard card;
  card.part = "prior";
  card.description = description(step);
  card.figures = figures_;
  card.recipe = recipe();
  // Beside the run: the bundle's own words stay those that its index records until all parts are exchanged.
  const auto words = bundle_ / "training" / "prior" / "tokenizer";
  if (const auto* tokenizer = told_->tokenizer()) tokenizer->save(words);
  write_prior_bundle(bundle_, card, [&](Bundle& bundle) {
    bundle.scheduler = objective_->scheduler();
    bundle.text_encoder.reset();
    bundle.null_condition.reset();
    bundle.tokenizer.clear();
    if (told_->tokenizer()) bundle.tokenizer = words;
    chosen().put_into(bundle);
    if (recipe_.has_classes()) put_class_names(data_.conditions.class_names, bundle.denoiser->config);
  });
}

}  // namespace

std::unique_ptr<TrainingTask> make_prior_training(const PriorRecipe& recipe, const TokenData& data,
                                                  const std::filesystem::path& bundle, SampleReview review,
                                                  torch::Device device, std::shared_ptr<const Ranks> ranks,
                                                  PriorTrainingKind kind) {
  recipe.validate();
  require(data.train.dim() == 3 && data.train.size(0) > 0, "prior: expected training grids [n, h, w]");
  require(data.validation.dim() == 3, "prior: expected validation grids [m, h, w]");
  return std::make_unique<PriorTraining>(recipe, data, bundle, std::move(review), device, std::move(ranks),
                                         std::move(kind));
}

}  // namespace tessera
