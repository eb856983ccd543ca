#include "training/conditional_trainer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "checkpoint/bundle.h"
#include "denoiser/conditional_start.h"
#include "denoiser/guided_denoiser.h"
#include "diffusion/objective.h"
#include "diffusion/time_sampler.h"
#include "pipeline/process_config.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "sampling/fill.h"
#include "text/clip_text_encoder.h"
#include "text/learn_merges.h"
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

constexpr std::int64_t kPreviewSteps = 25;
constexpr std::int64_t kValidationTimes = 16;  // strata of 1..T for the bound
constexpr std::int64_t kTextHead = 64;         // features of a head of the text encoder

/// The networks that are trained together; two of these are the trained and the averaged weights.
struct Networks {
  ConditionalTransformer denoiser{nullptr};
  ClipTextEncoder text{nullptr};
  torch::Tensor null_embedding;  // [P, C]

  torch::OrderedDict<std::string, torch::Tensor> parameters() const {
    torch::OrderedDict<std::string, torch::Tensor> all;
    for (const auto& item : denoiser->named_parameters()) all.insert("denoiser." + item.key(), item.value());
    if (text.is_empty()) return all;
    for (const auto& item : text->named_parameters()) all.insert("text." + item.key(), item.value());
    all.insert("null_embedding", null_embedding);
    return all;
  }
  void to(torch::Device device) {
    denoiser->to(device);
    if (text.is_empty()) return;
    text->to(device);
    null_embedding = null_embedding.detach().to(device).requires_grad_();
  }
  void load(const TensorMap& tensors) {
    const torch::NoGradGuard no_grad;
    for (auto& item : parameters()) {
      const auto found = tensors.find(item.key());
      require(found != tensors.end() && found->second.sizes() == item.value().sizes(),
              "training state: '{}' is missing or has another shape", item.key());
      item.value().copy_(found->second);
    }
  }
};

class ConditionalTraining : public TrainingTask {
 public:
  ConditionalTraining(const PriorRecipe& recipe, const ConditionalRecipe& conditional, const TokenData& data,
                      const ConditionData& conditions, std::filesystem::path bundle, SampleReview review,
                      torch::Device device)
      : recipe_(recipe),
        conditional_(conditional),
        data_(data),
        conditions_(conditions),
        bundle_(std::move(bundle)),
        review_(std::move(review)),
        device_(device),
        process_(
            make_process(scheduler(), data.codebook_size, recipe.total_steps, conditions.codebook, "recipe").process),
        times_(recipe.total_steps) {
    if (!recipe.start_from.empty()) {
      start_ = load_bundle(recipe.start_from);
      require(start_->denoiser.has_value(), "start_from: {}: the bundle holds no prior (transformer/)",
              recipe.start_from);
    }
    if (has_text()) {
      auto captions = conditions.train_captions;
      for (const auto& more : conditions.more_train_captions) {
        first_more_.push_back(static_cast<std::int64_t>(captions.size()));
        captions.insert(captions.end(), more.begin(), more.end());
      }
      first_more_.push_back(static_cast<std::int64_t>(captions.size()));
      // A text encoder that is taken over knows the words of its own tokenizer.
      const bool has_own = start_ && start_->text_encoder && !start_->tokenizer.empty();
      tokenizer_ = std::make_unique<ClipTokenizer>(has_own ? ClipTokenizer::load(start_->tokenizer)
                                                           : learn_tokenizer(captions, conditional.text_merges));
      train_ids_ = ids_of(captions);
      validation_ids_ = ids_of(conditions.validation_captions);
    }
    const auto seed = static_cast<Seed>(recipe.seed);
    model_ = make_networks();
    average_ = make_networks();
    model_.denoiser->initialise(seed);
    if (has_text()) {
      model_.text->initialise(seed + 1);
      const torch::NoGradGuard no_grad;
      model_.null_embedding.normal_(0, 1 / std::sqrt(static_cast<double>(conditional.text_width)),
                                    at::detail::createCPUGenerator(seed + 2));
    }
    if (start_) begin_from_bundle();
    start_.reset();
    average_.denoiser->eval();
    model_.to(device);
    average_.to(device);
    adam_ = std::make_unique<Adam>(model_.parameters(), recipe.adam());
    log().info("prior: {} process, condition {}, {} parameters", conditional.process, conditional.condition,
               model_.denoiser->parameter_count() + (has_text() ? model_.text->parameter_count() : 0));
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
    auto own = conditional_;
    auto fields = copy.fields();
    for (const auto& field : own.fields()) fields.push_back(field);
    return described(fields);
  }

  /// What was used, for the card.
  nlohmann::json record() const {
    auto copy = recipe_;
    auto own = conditional_;
    return described(used_fields(copy, own));
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
  bool has_text() const { return conditional_.condition == "text"; }
  bool has_classes() const { return conditional_.condition == "class"; }
  nlohmann::json scheduler() const {
    return {{"_class_name", conditional_.process == "mask-and-replace" ? "VQDiffusionScheduler" : "TesseraProcess"},
            {"num_train_timesteps", recipe_.total_steps},
            {"num_vec_classes", data_.codebook_size + 1},
            {"tessera", {{"format", 1}, {"process", conditional_.process}, {"total_steps", recipe_.total_steps}}}};
  }
  Networks make_networks() const;
  void begin_from_bundle();
  torch::Tensor ids_of(const std::vector<std::string>& captions) const;
  torch::Tensor drawn_captions(const torch::Tensor& rows, std::int64_t step) const;
  ConditionBatch condition_of(Networks& networks, const torch::Tensor& rows, bool validation, std::int64_t step) const;
  double measure(Networks& networks, const torch::Tensor& grids, bool validation);
  /// The weights that the last validation found better.
  Networks& chosen() { return averaged_is_better_ ? average_ : model_; }

  PriorRecipe recipe_;
  ConditionalRecipe conditional_;
  TokenData data_;
  ConditionData conditions_;
  std::filesystem::path bundle_;
  SampleReview review_;
  std::optional<Bundle> start_;  // what the weights start from, until they have
  torch::Device device_;
  std::shared_ptr<const Process> process_;
  TimeSampler times_;
  std::unique_ptr<ClipTokenizer> tokenizer_;
  torch::Tensor train_ids_, validation_ids_;  // [n + further captions, P], [m, P]
  std::vector<std::int64_t> first_more_;      // by training grid: where its further captions begin; one more at the end
  Networks model_, average_;
  std::unique_ptr<Adam> adam_;
  Metrics figures_;
  bool averaged_is_better_ = true;
};

Networks ConditionalTraining::make_networks() const {
  Networks networks;
  ConditionalOptions options;
  options.codebook_size = data_.codebook_size;
  options.grid = {data_.train.size(1), data_.train.size(2)};
  options.layers = recipe_.layers;
  options.heads = recipe_.heads;
  require(recipe_.width % recipe_.heads == 0, "recipe: width {}, expected a multiple of heads ({})", recipe_.width,
          recipe_.heads);
  options.head_width = recipe_.width / recipe_.heads;
  options.total_steps = recipe_.total_steps;
  options.condition_width = has_text() ? conditional_.text_width : 0;
  options.classes = has_classes() ? conditions_.classes : 0;
  options.dropout = recipe_.dropout;
  // The exact GELU is part of the product before it (linear_gelu); the published x sigmoid(1.702 x) is passes of its
  // own.
  options.exact_gelu = !start_ || !is_conditional_config(start_->denoiser->config) ||
                       ConditionalOptions::from_config(start_->denoiser->config).exact_gelu;
  networks.denoiser = ConditionalTransformer(options);
  networks.denoiser->set_precision(training_precision(recipe_.precision, device_));
  if (!has_text()) return networks;
  ClipTextOptions text;
  text.vocabulary = tokenizer_->vocabulary_size();
  text.length = conditional_.text_length;
  text.width = conditional_.text_width;
  text.layers = conditional_.text_layers;
  text.heads = std::max<std::int64_t>(1, conditional_.text_width / kTextHead);
  text.hidden = 4 * conditional_.text_width;
  text.exact_gelu =
      !start_ || !start_->text_encoder || ClipTextOptions::from_config(start_->text_encoder->config).exact_gelu;
  networks.text = ClipTextEncoder(text);
  networks.text->set_precision(training_precision(recipe_.precision, device_));
  networks.null_embedding = torch::zeros({text.length, text.width}).requires_grad_();
  return networks;
}

void ConditionalTraining::begin_from_bundle() {
  const auto& given = *start_->denoiser;
  if (is_conditional_config(given.config)) {
    auto weights = model_.denoiser->state();
    auto taken = take_matching(weights, given.tensors);
    require(taken.taken > 0, "start_from: {}: none of its {} tensors fits this prior", recipe_.start_from,
            given.tensors.size());
    model_.denoiser->load(weights, recipe_.start_from);
    log().info("prior: {}", taken.text(recipe_.start_from));
    if (!has_text() || !start_->text_encoder) return;
    weights = model_.text->state();
    taken = take_matching(weights, start_->text_encoder->tensors);
    model_.text->load(weights, recipe_.start_from);
    log().info("text encoder: {}", taken.text(recipe_.start_from));
    if (!start_->null_condition) return;
    const auto& null_states = start_->null_condition->tensors.at("embeddings");
    const torch::NoGradGuard no_grad;
    if (null_states.sizes() == model_.null_embedding.sizes()) model_.null_embedding.copy_(null_states);
    return;
  }
  start_from_prior(model_.denoiser, TransformerOptions::from_config(given.config), given.tensors, recipe_.start_from);
}

torch::Tensor ConditionalTraining::ids_of(const std::vector<std::string>& captions) const {
  auto ids = torch::empty({static_cast<std::int64_t>(captions.size()), conditional_.text_length}, torch::kInt64);
  for (std::size_t i = 0; i < captions.size(); ++i) {
    ids[static_cast<std::int64_t>(i)] =
        torch::tensor(tokenizer_->encode_padded(captions[i], conditional_.text_length).ids);
  }
  return ids;
}

/// The caption of each row at a step, as a place in train_ids_.
torch::Tensor ConditionalTraining::drawn_captions(const torch::Tensor& rows, std::int64_t step) const {
  constexpr std::uint32_t kCaptionCell = 1;  // the row's stream gives its cell 0 to whether the condition is dropped
  if (first_more_.size() < 2) return rows;
  auto drawn = rows.clone();
  for (std::int64_t row = 0; row < rows.size(0); ++row) {
    const auto grid = static_cast<std::size_t>(rows[row].item<std::int64_t>());
    const auto more = first_more_[grid + 1] - first_more_[grid];
    if (more == 0) continue;
    const RandomStream stream(static_cast<Seed>(recipe_.seed), Purpose::dropout, static_cast<std::uint64_t>(row) + 1,
                              static_cast<std::uint32_t>(step));
    const auto draw = static_cast<std::int64_t>(stream.below(kCaptionCell, static_cast<std::uint64_t>(more) + 1));
    if (draw > 0) drawn[row] = first_more_[grid] + draw - 1;
  }
  return drawn;
}

/// step >= 0: in training, where some rows lose their condition.
ConditionBatch ConditionalTraining::condition_of(Networks& networks, const torch::Tensor& rows, bool validation,
                                                 std::int64_t step) const {
  ConditionBatch condition;
  const auto count = rows.size(0);
  auto dropped = torch::zeros({count}, torch::kBool);
  for (std::int64_t row = 0; step >= 0 && row < count; ++row) {
    const RandomStream stream(static_cast<Seed>(recipe_.seed), Purpose::dropout, static_cast<std::uint64_t>(row) + 1,
                              static_cast<std::uint32_t>(step));
    dropped.data_ptr<bool>()[row] = stream.uniform(0) < conditional_.null_rate;
  }
  if (has_text()) {
    const auto& ids = validation ? validation_ids_ : train_ids_;
    const auto chosen = validation || step < 0 ? rows : drawn_captions(rows, step);
    const auto states = unit_positions(networks.text->forward(ids.index_select(0, chosen)));
    condition.states = torch::where(dropped.view({-1, 1, 1}).to(device_), networks.null_embedding.unsqueeze(0), states);
  }
  if (has_classes()) {
    const auto labels = torch::tensor(validation ? conditions_.validation_labels : conditions_.train_labels);
    condition.classes = labels.index_select(0, rows).masked_fill(dropped, -1);
  }
  return condition;
}

Metrics ConditionalTraining::step(std::int64_t step) {
  const auto seed = static_cast<Seed>(recipe_.seed);
  const auto key = static_cast<std::uint32_t>(step);
  model_.denoiser->train();
  model_.denoiser->seed_dropout(RandomStream(seed, Purpose::dropout, 0, key).bits(0));
  const auto rows = batch_rows(data_.train.size(0), recipe_.batch_size, seed, step, recipe_.sampling == "replacement");
  const auto x0 = data_.train.index_select(0, rows).flatten(1).to(torch::kInt64);
  const auto times = times_.sample(time_sampling_from(recipe_.time_sampling), x0.size(0), seed, 0, key);
  const auto uniforms = uniform_rows(seed, Purpose::training_masks, 0, key, x0.size(0), x0.size(1));
  const auto xt = process_->q_sample(x0, times.t, uniforms).tokens;
  // Mirrored pictures follow the others and have their captions.
  const auto of = rows % (has_text()      ? static_cast<std::int64_t>(conditions_.train_captions.size())
                          : has_classes() ? static_cast<std::int64_t>(conditions_.train_labels.size())
                                          : data_.train.size(0));
  const auto logits = model_.denoiser->forward(xt, times.t, condition_of(model_, of, false, step));
  ObjectiveOptions options;
  options.auxiliary_weight = conditional_.auxiliary_weight;
  const auto terms = objective_sums(*process_, options, x0.to(device_), xt.to(device_), logits, times.t, times.p_t);
  const auto loss = terms.mean();
  times_.update(times.t, {terms.loss, terms.bound});
  Metrics metrics;
  metrics["loss"] = loss.item<double>();
  const auto bits = static_cast<double>(recipe_.total_steps) / (std::numbers::ln2 * static_cast<double>(x0.size(1)));
  metrics["bound"] = terms.bound.detach().mean().item<double>() * bits;
  require(std::isfinite(metrics["loss"]), "prior: the loss is {} at step {}", metrics["loss"], step);
  loss.backward();
  const double rate =
      learning_rate_at(step, recipe_.learning_rate, recipe_.warmup, recipe_.steps, recipe_.final_learning_rate);
  metrics["gradient_norm"] = adam_->step(rate);
  return metrics;
}

double ConditionalTraining::measure(Networks& networks, const torch::Tensor& grids, bool validation) {
  // One time in each stratum of 1..T; the mean of the bound's terms, times T, in bits a token.
  const torch::NoGradGuard no_grad;
  networks.denoiser->eval();
  const auto rows = recipe_.grids_to_measure(grids.size(0));
  const auto count = rows.size(0);
  const auto seed = static_cast<Seed>(recipe_.seed) + 1;
  const auto strata = std::min(kValidationTimes, recipe_.total_steps);
  double sum = 0;
  for (std::int64_t start = 0; start < count; start += recipe_.batch_size) {
    const auto last = std::min(count, start + recipe_.batch_size);
    const auto part = rows.slice(0, start, last);
    const auto x0 = grids.index_select(0, part).flatten(1).to(torch::kInt64);
    const auto condition = condition_of(networks, part, validation, -1);
    for (std::int64_t stratum = 0; stratum < strata; ++stratum) {
      const RandomStream random(seed, Purpose::training_times, static_cast<std::uint64_t>(start),
                                static_cast<std::uint32_t>(stratum));
      const auto low = stratum * recipe_.total_steps / strata, high = (stratum + 1) * recipe_.total_steps / strata;
      const auto t = torch::full(
          {x0.size(0)}, low + 1 + static_cast<std::int64_t>(random.below(0, static_cast<std::uint64_t>(high - low))),
          torch::kInt64);
      const auto uniforms = uniform_rows(seed, Purpose::training_masks, static_cast<std::uint64_t>(start),
                                         static_cast<std::uint32_t>(stratum), x0.size(0), x0.size(1));
      const auto xt = process_->q_sample(x0, t, uniforms).tokens;
      const auto logits = networks.denoiser->forward(xt, t, condition);
      const auto even = torch::ones({x0.size(0)});
      sum += objective_sums(*process_, {}, x0.to(device_), xt.to(device_), logits, t, even).bound.sum().item<double>();
    }
  }
  const auto cells = grids.size(1) * grids.size(2);
  return sum * static_cast<double>(recipe_.total_steps) /
         (std::numbers::ln2 * static_cast<double>(count * strata * cells));
}

std::optional<Judgement> ConditionalTraining::validate(std::int64_t step, Recorder& recorder) {
  average_.load(adam_->averaged());
  const bool held_out = data_.validation.size(0) > 0;
  const auto& grids = held_out ? data_.validation : data_.train;
  auto bits = measure(average_, grids, held_out);
  figures_.clear();
  if (adam_->has_average()) {
    const WeightsCompared compared{bits, measure(model_, grids, held_out)};
    averaged_is_better_ = compared.averaged_is_better();
    bits = std::min(bits, compared.plain);
    if (held_out) compared.add_to(figures_);
  }
  figures_["train_bits_per_token"] = measure(chosen(), data_.train, false);
  if (held_out) figures_["validation_bits_per_token"] = bits;
  recorder.scalars(step, figures_);
  if (held_out) {
    log().info("prior: step {}: {:.4f} validation bits per token, {:.4f} on training grids ({} weights)", step, bits,
               figures_["train_bits_per_token"], averaged_is_better_ ? "averaged" : "plain");
  } else {
    log().info("prior: step {}: {:.4f} bits per token on training grids (none are held out)", step,
               figures_["train_bits_per_token"]);
  }
  const auto wanted = review_.count();
  if (wanted == 0) return std::nullopt;
  const torch::NoGradGuard no_grad;
  const Extent grid{data_.train.size(1), data_.train.size(2)};
  auto& networks = chosen();
  GuidedDenoiser denoiser(networks.denoiser);
  FillOptions options;
  options.steps = std::min(kPreviewSteps, recipe_.total_steps);
  options.seed = static_cast<Seed>(recipe_.seed);
  options.process = process_;
  const auto available = held_out ? data_.validation.size(0) : data_.train.size(0);
  const auto told = condition_of(networks, torch::arange(wanted) % available, held_out, -1);
  for (std::int64_t i = 0; i < wanted; ++i) {
    Condition condition;
    if (has_text()) {
      condition.states = told.states[i];
      condition.null_states = networks.null_embedding;
    }
    if (has_classes()) condition.label = told.classes[i].item<std::int64_t>();
    options.conditions.push_back(condition);
  }
  const auto made = fill(TokenGrid::all_masked(wanted, grid, data_.codebook_size), denoiser, options).grid;
  return review_(step, made, recorder);
}

void ConditionalTraining::save_state(TensorMap& into) const {
  for (const auto& item : model_.parameters()) into["model." + item.key()] = item.value().detach();
  adam_->save("adam.", into);
  save_times(times_, into);
}

void ConditionalTraining::load_state(const TensorMap& from) {
  TensorMap model;
  for (const auto& [name, tensor] : from) {
    if (name.starts_with("model.")) model[name.substr(6)] = tensor;
  }
  model_.load(model);
  adam_->load("adam.", from);
  load_times(times_, from);
}

void ConditionalTraining::write_bundle(std::int64_t step) {
  average_.load(adam_->averaged());
  auto& networks = chosen();
  ModelCard card;
  card.part = "prior";
  card.description = fmt::format(
      "{} process of {} steps, condition {}: {} layers, {} heads, width {}, {} parameters; {} steps of {} grids; {} "
      "weights",
      conditional_.process, recipe_.total_steps, conditional_.condition, recipe_.layers, recipe_.heads, recipe_.width,
      networks.denoiser->parameter_count(), step, recipe_.batch_size,
      averaged_is_better_ && adam_->has_average() ? "averaged" : "plain");
  card.figures = figures_;
  card.recipe = record();
  write_prior_bundle(bundle_, networks.denoiser->options().to_config(), scheduler(), networks.denoiser->state(), card);
  auto bundle = load_bundle(bundle_);
  bundle.text_encoder.reset();
  bundle.null_condition.reset();
  bundle.tokenizer.clear();
  if (has_text()) {
    tokenizer_->save(bundle_ / "tokenizer");
    bundle.tokenizer = bundle_ / "tokenizer";
    bundle.text_encoder = BundlePart{networks.text->options().to_config(), networks.text->state()};
    bundle.null_condition = BundlePart{{{"_class_name", "LearnedClassifierFreeSamplingEmbeddings"},
                                        {"learnable", true},
                                        {"hidden_size", conditional_.text_width},
                                        {"length", conditional_.text_length}},
                                       {{"embeddings", networks.null_embedding.detach()}}};
  }
  save_bundle(bundle_, bundle);
}

}  // namespace

Fields ConditionalRecipe::fields() {
  return {
      {"process", "absorbing, gaussian, mask-and-replace, nearest-embedding or uniform", &process},
      {"condition", "none, text (captions) or class (labels)", &condition},
      {"null_rate", "part of the pictures trained without their condition, for guidance", &null_rate},
      {"auxiliary_weight", "of the cross-entropy of x_0; 0 disables", &auxiliary_weight},
      {"text_width", "of the text encoder that is trained along", &text_width},
      {"text_layers", "of the text encoder", &text_layers},
      {"text_length", "tokens of a caption that are read", &text_length},
      {"text_merges", "byte pairs that the tokenizer learns from the captions", &text_merges},
  };
}

void ConditionalRecipe::validate() const {
  const auto names = processes().names();
  require(std::find(names.begin(), names.end(), process) != names.end(), "recipe: process '{}': expected one of {}",
          process, fmt::join(names, ", "));
  require(condition == "none" || condition == "text" || condition == "class",
          "recipe: condition '{}': expected one of none, text, class", condition);
  require(null_rate >= 0 && null_rate < 1, "recipe: null_rate {}, expected 0 up to below 1", null_rate);
  require(auxiliary_weight >= 0, "recipe: auxiliary_weight {}, expected 0 or more", auxiliary_weight);
  require(text_merges >= 0 && text_merges <= 50000, "recipe: text_merges {}, expected 0 to 50000", text_merges);
  require(text_length >= 3 && text_length <= 1024, "recipe: text_length {}, expected 3 to 1024", text_length);
}

void inherit_architecture(PriorRecipe& recipe, ConditionalRecipe& conditional) {
  if (recipe.start_from.empty()) return;
  const auto bundle = load_bundle(recipe.start_from);
  require(bundle.denoiser.has_value(), "start_from: {}: the bundle holds no prior (transformer/)", recipe.start_from);
  const auto& config = bundle.denoiser->config;
  if (!is_conditional_config(config)) {
    const auto given = TransformerOptions::from_config(config);
    recipe.prior = given.kind == TransformerKind::bidirectional ? "absorbing" : "autoregressive";
    recipe.layers = given.layers;
    recipe.heads = given.heads;
    recipe.width = given.width;
    return;
  }
  const auto given = ConditionalOptions::from_config(config);
  recipe.layers = given.layers;
  recipe.heads = given.heads;
  recipe.width = given.width();
  recipe.total_steps = given.total_steps;
  conditional.condition = given.condition_width > 0 ? "text" : given.classes > 0 ? "class" : "none";
  if (bundle.scheduler) {
    const auto own = bundle.scheduler->value("tessera", nlohmann::json::object());
    conditional.process = own.value("process", conditional.process);
  }
  if (!bundle.text_encoder) return;
  const auto text = ClipTextOptions::from_config(bundle.text_encoder->config);
  conditional.text_width = text.width;
  conditional.text_layers = text.layers;
  conditional.text_length = text.length;
}

std::unique_ptr<TrainingTask> make_conditional_training(const PriorRecipe& recipe, const ConditionalRecipe& conditional,
                                                        const TokenData& data, const ConditionData& conditions,
                                                        const std::filesystem::path& bundle, SampleReview review,
                                                        torch::Device device) {
  recipe.validate();
  conditional.validate();
  require(data.train.dim() == 3 && data.train.size(0) > 0, "prior: expected training grids [n, h, w]");
  if (conditional.condition == "text") {
    require(!conditions.train_captions.empty(), "condition text: the pictures have no captions (metadata.jsonl)");
  }
  if (conditional.condition == "class") {
    require(conditions.classes > 0, "condition class: the pictures have no labels (folders or metadata.jsonl)");
  }
  return std::make_unique<ConditionalTraining>(recipe, conditional, data, conditions, bundle, std::move(review),
                                               device);
}

}  // namespace tessera
