#include "training/lora_trainer.h"

#include "denoiser/class_names.h"
#include "prior/prior.h"
#include "runtime/error.h"
#include "training/prior_trainer.h"
#include "training/recipe.h"
#include "training/released_networks.h"

namespace tessera {
namespace {

/// The networks of the bundle, whoever made them.
std::unique_ptr<PriorNetworks> networks_of(const PriorNetworksInput& input) {
  const auto& recipe = input.recipe;
  if (auto released = make_released_networks(*input.start, recipe.start_from, recipe.precision)) return released;
  return make_prior_networks(input).trained;
}

void write_lora(const std::vector<LoraLayer>& layers, const LoraRecipe& recipe, const std::filesystem::path& file) {
  TensorMap tensors;
  for (const auto& layer : layers) {
    const auto name = layer.part + "." + layer.name.substr(0, layer.name.rfind(".weight"));
    tensors[name + ".lora_A.weight"] = layer.down.contiguous();
    tensors[name + ".lora_B.weight"] = layer.up.contiguous();
    if (recipe.alpha > 0 && recipe.alpha != static_cast<double>(recipe.rank))
      tensors[name + ".alpha"] = torch::full({1}, recipe.alpha);
  }
  auto copy = recipe;
  save_safetensors(file, tensors, {{"format", "pt"}, {"recipe", to_json(copy.fields()).dump()}});
}

}  // namespace

void tell_pictures(const LoraRecipe& recipe, const PriorRecipe& prior, const NetworkFacts& network, TokenData& data) {
  auto& told = data.conditions;
  if (!recipe.caption.empty() && !prior.has_text())
    throw UsageError(fmt::format("caption: the model is told {}, expected one that is told a text", prior.condition));
  if (recipe.label >= 0 && !prior.has_classes())
    throw UsageError(fmt::format("label: the model is told {}, expected one that is told a class", prior.condition));
  if (!recipe.caption.empty()) {
    told.train_captions.assign(static_cast<std::size_t>(data.train.size(0)), recipe.caption);
    told.validation_captions.assign(static_cast<std::size_t>(data.validation.size(0)), recipe.caption);
    told.more_train_captions.clear();
  }
  if (!prior.has_classes()) return;
  if (recipe.label >= 0 || told.train_labels.empty()) {
    if (recipe.label >= network.classes)
      throw UsageError(
          fmt::format("label: {}, expected less than {}, the model's classes", recipe.label, network.classes));
    told.train_labels.assign(static_cast<std::size_t>(data.train.size(0)), recipe.label);
    told.validation_labels.assign(static_cast<std::size_t>(data.validation.size(0)), recipe.label);
  } else {
    for (auto* labels : {&told.train_labels, &told.validation_labels})
      *labels = labels_for_model(*labels, told.class_names, network.class_names, network.classes, "the pictures");
  }
  told.classes = network.classes;
  told.class_names = network.class_names;
}

std::unique_ptr<TrainingTask> make_lora_training(const LoraRecipe& recipe, const Bundle& model,
                                                 const std::filesystem::path& model_folder, const TokenData& data,
                                                 const std::filesystem::path& file) {
  recipe.validate();
  auto prior = recipe.prior(model, model_folder.string());
  choose_defaults(prior, data);
  PriorTrainingKind kind;
  kind.name = "lora";
  kind.networks = [recipe](const PriorNetworksInput& input) {
    return LoraNetworks::over(networks_of(input), recipe.options(), static_cast<Seed>(recipe.seed));
  };
  kind.write = [recipe, file](PriorNetworks& chosen) {
    write_lora(dynamic_cast<LoraNetworks&>(chosen).layers(), recipe, file);
  };
  kind.recipe = [recipe] {
    auto copy = recipe;
    return to_json(copy.fields());
  };
  return make_prior_training(prior, data, file.parent_path(), {}, torch::kCPU, nullptr, std::move(kind));
}

}  // namespace tessera
