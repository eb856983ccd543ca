#include "denoiser/code_frequencies.h"

#include <limits>

#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "nn/layers.h"
#include "runtime/error.h"

namespace tessera {

void CodeFrequenciesOptions::validate() const {
  require(codebook_size >= 1 && codebook_size <= 1 << 20,
          "code frequencies: codebook_size is {}, expected 1 to 1048576", codebook_size);
  require(grid.h >= 1 && grid.h <= 1 << 16 && grid.w >= 1 && grid.w <= (1 << 16) / grid.h,
          "code frequencies: a grid of {}x{}, expected 1 to 65536 cells", grid.h, grid.w);
}

nlohmann::json CodeFrequenciesOptions::to_config() const {
  return {
      {"_class_name", "TesseraCodeFrequencies"},
      {"tessera", {{"format", 1}, {"codebook_size", codebook_size}, {"grid", {grid.h, grid.w}}, {"by_cell", by_cell}}}};
}

CodeFrequenciesOptions CodeFrequenciesOptions::from_config(const nlohmann::json& config) {
  CodeFrequenciesOptions options;
  try {
    const auto& own = config.at("tessera");
    const auto format = own.at("format").get<std::int64_t>();
    require(format == 1, "code frequencies config: format {}, expected 1", format);
    options.codebook_size = own.at("codebook_size").get<std::int64_t>();
    const auto& grid = own.at("grid");
    require(grid.is_array() && grid.size() == 2, "code frequencies config: grid is {}, expected [h, w]", grid.dump());
    options.grid = {grid[0].get<std::int64_t>(), grid[1].get<std::int64_t>()};
    options.by_cell = own.value("by_cell", false);
  } catch (const nlohmann::json::exception& error) {
    fail("code frequencies config: {}", error.what());
  }
  options.validate();
  return options;
}

torch::Tensor log_frequencies(const torch::Tensor& tokens, const CodeFrequenciesOptions& options, double smoothing) {
  options.validate();
  const auto codes = options.codebook_size;
  require(tokens.dim() == 2 && tokens.size(1) == options.grid.cells() && tokens.scalar_type() == torch::kInt64,
          "code frequencies: tokens are {}, expected [N, {}] int64", shape_text(tokens), options.grid.cells());
  const auto least = tokens.numel() == 0 ? 0 : tokens.min().item<std::int64_t>();
  const auto most = tokens.numel() == 0 ? 0 : tokens.max().item<std::int64_t>();
  require(least >= 0 && most < codes, "code frequencies: tokens from {} to {}, expected 0 to {}", least, most,
          codes - 1);
  const auto row = options.by_cell ? torch::arange(options.grid.cells()) : torch::zeros({1}, torch::kInt64);
  const auto counts = torch::bincount((tokens + row * codes).flatten(), {}, options.rows() * codes)
                          .to(torch::kFloat64)
                          .view({options.rows(), codes});
  const auto weights = counts + smoothing;
  require(weights.sum(1).min().item<double>() > 0, "code frequencies: no grids and no smoothing, expected either");
  return weights.log() - weights.sum(1, true).log();
}

CodeFrequenciesImpl::CodeFrequenciesImpl(const CodeFrequenciesOptions& options) : options_(options) {
  options_.validate();
  logits_ = register_parameter("log_probabilities", new_parameter({options_.rows(), options_.codebook_size}));
}

torch::Tensor CodeFrequenciesImpl::log_probabilities() const {
  const torch::NoGradGuard no_grad;
  const auto never = logits_ == std::numeric_limits<float>::lowest();
  return torch::log_softmax(logits_.to(torch::kFloat64), -1)
      .masked_fill(never, -std::numeric_limits<double>::infinity());
}

namespace {

class CodeFrequenciesEvaluator : public Evaluator {
 public:
  explicit CodeFrequenciesEvaluator(torch::Tensor logits) : logits_(std::move(logits)) {}

  torch::Tensor logits(const Look& look) override {
    const auto rows = logits_.size(0);
    return logits_.index_select(0, torch::remainder(look.rows, rows).to(logits_.device()));
  }

 private:
  torch::Tensor logits_;  // [1 or L, K]
};

NetworkFacts facts_of_frequencies(const nlohmann::json& config) {
  const auto options = CodeFrequenciesOptions::from_config(config);
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = facts.heads = facts.width = 1;
  return facts;
}

std::shared_ptr<Denoiser> load_frequencies(const NetworkInput& input) {
  const auto options = CodeFrequenciesOptions::from_config(input.config);
  match_network<CodeFrequencies>(options, input.tensors, input.where);
  CodeFrequencies network(options);
  network->load(input.tensors, input.where);
  network->eval();
  network->to(input.device);
  return network.ptr();
}

}  // namespace

std::unique_ptr<Evaluator> CodeFrequenciesImpl::begin(const std::vector<Condition>& conditions) {
  for (const auto& condition : conditions) check_condition(condition, 0, 0);
  return std::make_unique<CodeFrequenciesEvaluator>(logits_.detach());
}

NetworkEntry code_frequencies_network() {
  return {"code-frequencies", "how often each code is, whatever its neighbours; no condition", "TesseraCodeFrequencies",
          facts_of_frequencies, load_frequencies};
}

}  // namespace tessera
