// Halton-MaskGIT's network as a denoiser, and its configuration.
#include <map>

#include "denoiser/guided_denoiser.h"
#include "denoiser/guided_rows.h"
#include "denoiser/maskgit_transformer.h"
#include "denoiser/networks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr const char* kMaskGitClass = "HaltonMaskGitTransformer";

torch::Tensor mix_of_maskgit(const torch::Tensor& unconditional, const torch::Tensor& conditional,
                             const torch::Tensor& scale) {
  return torch::addcmul(unconditional, scale, conditional - unconditional);
}

class MaskGitEvaluator : public ContextEvaluator {
 public:
  MaskGitEvaluator(MaskGitTransformer network, std::vector<Condition> conditions)
      : network_(std::move(network)), conditions_(std::move(conditions)) {
    std::vector<std::int64_t> known;
    for (const auto& condition : conditions_) {
      for (const auto label : {condition.null_label, condition.label}) {
        if (place_.emplace(label, static_cast<std::int64_t>(known.size())).second) known.push_back(label);
      }
    }
    const torch::NoGradGuard no_grad;
    classes_ = network_->read(torch::tensor(known));
  }

  torch::Tensor logits(const Look& look) override { return look_at(look, std::nullopt); }
  torch::Tensor logits_in_context(const Look& look, ContextUse use) override { return look_at(look, use); }

 private:
  torch::Tensor look_at(const Look& look, std::optional<ContextUse> use) {
    const auto evaluate = [&](const Halves& halves, const torch::Tensor& at) {
      std::vector<std::int64_t> told;
      for (std::size_t i = 0; i < halves.rows.size(); ++i) {
        const auto& condition = conditions_[static_cast<std::size_t>(halves.conditions[i])];
        told.push_back(place_.at(i < halves.nulls ? condition.null_label : condition.label));
      }
      const auto rows = torch::tensor(halves.rows).to(look.tokens.device());
      const torch::NoGradGuard no_grad;
      auto context = contexts_.pass_of(look, use, told, {network_->options().registers});
      return network_->forward(look.tokens.index_select(0, rows), classes_, torch::tensor(told), at,
                               context ? &*context : nullptr);
    };
    const auto all = guided_look(look, conditions_, evaluate, mix_of_maskgit);
    return all.narrow(1, 0, network_->options().codebook_size);  // without MASK
  }

  MaskGitTransformer network_;
  std::vector<Condition> conditions_;
  std::map<std::int64_t, std::int64_t> place_;  // of each label among the classes read
  MaskGitClasses classes_;
  KeptContexts contexts_;
};

NetworkFacts facts_of_maskgit(const nlohmann::json& config) {
  const auto options = MaskGitOptions::from_config(config);
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = options.layers;
  facts.heads = options.heads;
  facts.width = options.width;
  facts.classes = options.classes;
  return facts;
}

std::shared_ptr<Denoiser> load_maskgit_denoiser(const NetworkInput& input) {
  auto network = load_maskgit(input.config, input.tensors, input.where, input.loading);
  network->set_precision(input.precision);
  network->to(input.device);
  return std::make_shared<MaskGitDenoiser>(network);
}

}  // namespace

std::unique_ptr<Evaluator> MaskGitDenoiser::begin(const std::vector<Condition>& conditions) {
  auto own = conditions.empty() ? std::vector<Condition>{Condition{}} : conditions;
  for (const auto& condition : own) check_condition(condition, network_->options().classes, 0);
  return std::make_unique<MaskGitEvaluator>(network_, std::move(own));
}

void MaskGitOptions::validate() const {
  const auto check = [](const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
    require(value >= least && value <= most, "denoiser: {} is {}, expected {} to {}", field, value, least, most);
  };
  check("codebook size", codebook_size, 1, 1 << 20);
  check("grid height", grid.h, 1, 1 << 12);
  check("grid width", grid.w, 1, 1 << 12);
  check("layers", layers, 1, 512);
  check("heads", heads, 1, 512);
  check("head width", head_width, 1, 4096);
  check("width", width, 1, 1 << 16);
  check("hidden", hidden, 1, 1 << 18);
  check("classes", classes, 1, 1 << 20);
  check("registers", registers, 0, 1 << 12);
}

nlohmann::json MaskGitOptions::to_config() const {
  return {{"_class_name", kMaskGitClass},
          {"tessera",
           {{"format", 1},
            {"kind", "maskgit"},
            {"codebook_size", codebook_size},
            {"grid", {grid.h, grid.w}},
            {"layers", layers},
            {"heads", heads},
            {"head_width", head_width},
            {"width", width},
            {"hidden", hidden},
            {"classes", classes},
            {"registers", registers}}}};
}

MaskGitOptions MaskGitOptions::from_config(const nlohmann::json& config) {
  MaskGitOptions options;
  try {
    const auto& own = config.at("tessera");
    const auto read = [&](const char* field, std::int64_t& value) { value = own.at(field).get<std::int64_t>(); };
    read("codebook_size", options.codebook_size);
    options.grid = {own.at("grid").at(0).get<std::int64_t>(), own.at("grid").at(1).get<std::int64_t>()};
    read("layers", options.layers);
    read("heads", options.heads);
    read("head_width", options.head_width);
    read("width", options.width);
    read("hidden", options.hidden);
    read("classes", options.classes);
    read("registers", options.registers);
  } catch (const nlohmann::json::exception& error) {
    fail("denoiser config: {}", error.what());
  }
  options.validate();
  return options;
}

NetworkEntry maskgit_network() {
  return {"maskgit", "Halton-MaskGIT's: bidirectional, its norms set by a class", kMaskGitClass, facts_of_maskgit,
          load_maskgit_denoiser};
}

}  // namespace tessera
