/// Small updates of a prior in training: their gradients, what is written, and that the file is the trained model.
#include "training/lora_trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "checkpoint/lora.h"
#include "denoiser/maskgit_transformer.h"
#include "nn/layers.h"
#include "prior/prior.h"
#include "runtime/error.h"
#include "support/scratch.h"
#include "training/prior_trainer.h"

namespace tessera {
namespace lora_training_test {

namespace fs = std::filesystem;

constexpr std::int64_t kCodes = 5;

/// Grids of one code each, captions that name it, and labels.
TokenData pictures(std::int64_t count, std::int64_t codes) {
  const std::vector<std::string> names = {"grey", "red", "green", "blue", "white"};
  TokenData made;
  std::vector<torch::Tensor> grids;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto code = i % codes;
    grids.push_back(torch::full({2, 2}, code, torch::kInt64));
    made.conditions.train_captions.push_back("a " + names[static_cast<std::size_t>(code)] + " square");
    made.conditions.train_labels.push_back(code);
  }
  made.train = torch::stack(grids);
  made.validation = made.train.narrow(0, 0, std::min<std::int64_t>(count, 5));
  made.conditions.validation_captions = made.conditions.train_captions;
  made.conditions.validation_captions.resize(static_cast<std::size_t>(made.validation.size(0)));
  made.conditions.validation_labels = made.conditions.train_labels;
  made.conditions.validation_labels.resize(static_cast<std::size_t>(made.validation.size(0)));
  made.conditions.classes = codes;
  made.codebook_size = kCodes;
  made.key = "squares";
  return made;
}

PriorRecipe small_prior(const std::string& condition) {
  PriorRecipe recipe;
  recipe.condition = condition;
  recipe.text_width = 16;
  recipe.text_layers = 1;
  recipe.text_length = 8;
  recipe.text_merges = 40;
  recipe.layers = 1;
  recipe.heads = 2;
  recipe.width = 32;
  recipe.total_steps = condition == "none" ? 4 : 12;
  recipe.steps = 20;
  recipe.batch_size = 8;
  recipe.learning_rate = 3e-3;
  recipe.warmup = 5;
  recipe.ema_decay = 0.5;
  recipe.precision = "float32";
  return recipe;
}

/// A bundle with a prior that has had a short training.
fs::path small_model(const std::string& name, const PriorRecipe& recipe) {
  const auto folder = testing::scratch_folder(name);
  const auto task = make_prior_training(recipe, pictures(15, kCodes), folder, {});
  for (std::int64_t step = 0; step < recipe.steps; ++step) (void)task->step(step);
  task->write_bundle(recipe.steps);
  return folder;
}

LoraRecipe small_lora() {
  LoraRecipe recipe;
  recipe.rank = 3;
  recipe.steps = 60;
  recipe.batch_size = 4;
  recipe.learning_rate = 2e-2;
  recipe.warmup = 0;
  recipe.null_rate = 0;
  recipe.precision = "float32";
  return recipe;
}

/// The negative log-likelihood of all of a bundle's masked cells being code 3, in nats a cell, without a condition or
/// with "a blue square".
double surprise(const Bundle& bundle) {
  const torch::NoGradGuard no_grad;
  Prior prior(bundle, "model", {}, {});
  PromptOptions asked;
  if (prior.facts().condition() == "text") asked.prompt = "a blue square";
  asked.guidance_scale = 1;
  const auto evaluator = prior.denoiser().begin({prior.condition_for(asked)});
  Look look;
  look.tokens = torch::full({1, 4}, kCodes, torch::kInt64);
  look.rows = torch::arange(4);
  look.times = torch::full({1}, prior.facts().total_steps, torch::kInt64);
  const auto logits = evaluator->logits(look).to(torch::kFloat64).reshape({4, -1});
  return -torch::log_softmax(logits, -1).select(1, 3).mean().item<double>();
}

NetworkFacts of_classes(std::int64_t classes) {
  NetworkFacts network;
  network.classes = classes;
  return network;
}

TEST(LoraTraining, WritesAFileThatIsTheTrainedModel) {
  for (const char* condition : {"text", "class", "none"}) {
    SCOPED_TRACE(condition);
    const auto model = small_model(std::string("lora-of-") + condition, small_prior(condition));
    const auto before = load_bundle(model);
    auto recipe = small_lora();
    recipe.text_encoder = true;
    if (std::string(condition) == "text") recipe.caption = "a blue square";
    auto data = pictures(1, 1);  // one picture, of code 3
    data.train.fill_(3);
    data.validation = data.train.narrow(0, 0, 0);
    tell_pictures(recipe, recipe.prior(before, model.string()), of_classes(kCodes), data);
    const auto file = model / "style.safetensors";
    const auto task = make_lora_training(recipe, before, model, data, file);
    for (std::int64_t step = 0; step < recipe.steps; ++step) (void)task->step(step);
    task->write_bundle(recipe.steps);
    auto merged = load_bundle(model);
    for (const auto& [name, tensor] : before.denoiser->tensors)
      EXPECT_TRUE(tensor.equal(merged.denoiser->tensors.at(name))) << name << ": the model itself is as it was";
    EXPECT_GE(apply_lora(merged, {file, 1}), 5);
    EXPECT_LT(surprise(merged), 0.2) << "from " << surprise(before);
    EXPECT_GT(surprise(before), 0.8);
    // The state of the run, taken up by a new one, writes the same bytes.
    TensorMap state;
    task->save_state(state);
    const auto again = make_lora_training(recipe, before, model, data, model / "again.safetensors");
    again->load_state(state);
    again->write_bundle(recipe.steps);
    auto twice = load_bundle(model);
    (void)apply_lora(twice, {model / "again.safetensors", 1});
    for (const auto& [name, tensor] : merged.denoiser->tensors)
      EXPECT_TRUE(tensor.equal(twice.denoiser->tensors.at(name))) << name;
    EXPECT_EQ(surprise(merged), surprise(twice));
    fs::remove_all(model);
  }
}

/// One product, so that its gradient can be written down: logits of a cell are W e(token).
class OneProduct : public PriorNetworks {
 public:
  explicit OneProduct(torch::Tensor inputs) : inputs_(std::move(inputs)), layer_(inputs_.size(1), kCodes, false) {
    const torch::NoGradGuard no_grad;
    layer_->weight.normal_();
  }
  Parameters parameters() const override { return layer_->named_parameters(); }
  std::vector<std::string> products() const override { return {"weight"}; }
  void to(torch::Device) override {}
  void train(bool) override {}
  void seed_dropout(std::uint64_t) override {}
  torch::Tensor logits(const torch::Tensor&, const torch::Tensor&, const ToldRows&, const torch::Tensor&) override {
    return layer_->forward(inputs_);
  }
  std::shared_ptr<Denoiser> denoiser() override { return nullptr; }
  std::vector<Condition> conditions(const ToldRows&) override { return {}; }
  void put_into(Bundle&) const override {}

 private:
  torch::Tensor inputs_;  // [N, in]
  Linear layer_;
};

TEST(LoraTraining, GradientsAreThoseOfTheProductsInFloat64) {
  torch::manual_seed(5);
  const auto inputs = torch::randn({11, 7}), targets = torch::randint(0, kCodes, {11});
  auto base = std::make_unique<OneProduct>(inputs);
  const auto weight = base->parameters().front().value().detach().clone().to(torch::kFloat64);
  LoraOptions options;
  options.rank = 3;
  options.alpha = 2;
  const auto made = LoraNetworks::over(std::move(base), options, 9);
  auto own = made.trained->parameters();
  ASSERT_EQ(own.size(), 2u);
  {
    const torch::NoGradGuard no_grad;
    own["weight.lora_B.weight"].normal_();
  }
  for (int call = 0; call < 2; ++call) {  // the second adds to the first, as any gradient does
    torch::nn::functional::cross_entropy(made.trained->logits({}, {}, {}), targets).backward();
    const auto down = own["weight.lora_A.weight"].detach().to(torch::kFloat64).requires_grad_();
    const auto up = own["weight.lora_B.weight"].detach().to(torch::kFloat64).requires_grad_();
    const auto x = inputs.to(torch::kFloat64);  // peft: x W^T + alpha / rank (x A^T) B^T
    const auto y = x.mm(weight.t()) + 2.0 / 3.0 * x.mm(down.t()).mm(up.t());
    const auto wanted = torch::autograd::grad({torch::nn::functional::cross_entropy(y, targets)}, {down, up});
    const double times = call + 1;
    EXPECT_TRUE(torch::allclose(own["weight.lora_A.weight"].grad().to(torch::kFloat64), times * wanted[0], 1e-4, 1e-6));
    EXPECT_TRUE(torch::allclose(own["weight.lora_B.weight"].grad().to(torch::kFloat64), times * wanted[1], 1e-4, 1e-6));
  }
}

TEST(LoraTraining, ReleasedNetworksLearnThroughTheirProducts) {
  const auto folder = testing::scratch_folder("lora-of-maskgit");
  MaskGitOptions options;
  options.codebook_size = kCodes;
  options.grid = {2, 2};
  options.layers = 2;
  options.heads = 2;
  options.head_width = 16;
  options.width = 32;
  options.hidden = 64;
  options.classes = 3;
  torch::manual_seed(4);
  MaskGitTransformer network(options);
  {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network->parameters()) parameter.normal_(0, 0.1);
  }
  Bundle bundle;
  bundle.denoiser = BundlePart{options.to_config(), network->state()};
  bundle.scheduler = nlohmann::json{{"_class_name", "TesseraProcess"},
                                    {"tessera", {{"format", 1}, {"process", "absorbing"}, {"total_steps", 4}}}};
  save_bundle(folder, bundle);
  auto recipe = small_lora();
  recipe.label = 2;
  auto data = pictures(1, 1);
  data.train.fill_(3);
  data.validation = data.train.narrow(0, 0, 0);
  const auto loaded = load_bundle(folder);
  tell_pictures(recipe, recipe.prior(loaded, folder.string()), of_classes(3), data);
  const auto task = make_lora_training(recipe, loaded, folder, data, folder / "style.safetensors");
  for (std::int64_t step = 0; step < recipe.steps; ++step) (void)task->step(step);
  task->write_bundle(recipe.steps);
  auto merged = load_bundle(folder);
  (void)apply_lora(merged, {folder / "style.safetensors", 1});
  const torch::NoGradGuard no_grad;
  Prior prior(merged, "merged", {}, {});
  PromptOptions asked;
  asked.label = 2;
  asked.guidance_scale = 1;
  Look look;
  look.tokens = torch::full({1, 4}, kCodes, torch::kInt64);
  look.rows = torch::arange(4);
  const auto logits = prior.denoiser().begin({prior.condition_for(asked)})->logits(look).reshape({4, -1});
  EXPECT_GT(torch::softmax(logits, -1).select(1, 3).min().item<double>(), 0.8);
  fs::remove_all(folder);
}

TEST(LoraTraining, PicturesOfAClassAreTheModelsClassOfThatName) {
  const auto model = small_model("lora-classes", small_prior("class"));
  const auto recipe = small_lora();
  const auto prior = recipe.prior(load_bundle(model), model.string());
  auto network = of_classes(3);
  network.class_names = {"cat", "dog", "emu"};
  auto data = pictures(4, 2);
  data.conditions.class_names = {"dog", "emu"};
  data.conditions.train_labels = {0, 1, -1, 0};
  data.conditions.validation_labels = {1, 1};
  tell_pictures(recipe, prior, network, data);
  EXPECT_EQ(data.conditions.train_labels, (std::vector<std::int64_t>{1, 2, -1, 1}));
  EXPECT_EQ(data.conditions.validation_labels, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(data.conditions.classes, 3);
  fs::remove_all(model);
}

TEST(LoraTraining, WhatDoesNotFitIsNamed) {
  const auto model = small_model("lora-refused", small_prior("class"));
  const auto bundle = load_bundle(model);
  const auto message = [&](const LoraRecipe& recipe) -> std::string {
    auto data = pictures(4, 2);
    try {
      tell_pictures(recipe, recipe.prior(bundle, model.string()), of_classes(kCodes), data);
      (void)make_lora_training(recipe, bundle, model, data, model / "x.safetensors");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  auto recipe = small_lora();
  EXPECT_EQ(message(recipe), "no error");
  recipe.label = 9;
  EXPECT_EQ(message(recipe), "label: 9, expected less than 5, the model's classes");
  recipe.label = -1;
  recipe.caption = "a red square";
  EXPECT_EQ(message(recipe), "caption: the model is told class, expected one that is told a text");
  recipe.caption.clear();
  recipe.targets = "nowhere";
  EXPECT_NE(message(recipe).find("targets 'nowhere': no layer of the model has such a name"), std::string::npos);
  recipe.targets.clear();
  recipe.rank = 0;
  EXPECT_EQ(message(recipe), "recipe: rank 0, expected 1 to 1024");
  fs::remove_all(model);
}

}  // namespace lora_training_test
}  // namespace tessera
