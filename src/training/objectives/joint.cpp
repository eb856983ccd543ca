/// Masked words and codes of one sequence. Each grid is one of three questions: its codes given all words, its words
/// given all codes, or both partly; how many places of a side are masked is uniform, as in the any-order loss
/// (arXiv:2110.02037, equation 5) with the weight of mean prediction (MLM) on each side.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numbers>

#include "diffusion/absorbing.h"
#include "training/objectives.h"

namespace tessera {
namespace {

enum Cell : std::uint32_t { kQuestion = 0, kCodesMasked = 1, kWordsMasked = 2 };  // of a row's stream

/// `count` [N] places of each row, the lowest of uniforms [N, P]; bool.
torch::Tensor lowest(const torch::Tensor& uniforms, const torch::Tensor& count) {
  const auto order = std::get<1>(uniforms.sort(1));
  return std::get<1>(order.sort(1)) < count.unsqueeze(1);
}

class JointObjective : public PriorObjective {
 public:
  explicit JointObjective(const ObjectiveInput& input)
      : recipe_(input.recipe),
        codes_(input.data.codebook_size),
        cells_(input.data.train.size(1) * input.data.train.size(2)),
        chain_(codes_, cells_, MaskSchedule::fixed) {}

  Loss loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, const BatchRows& part,
            Metrics& metrics) override {
    const auto count = x0.size(0), words = told.ids.size(1);
    auto codes_masked = torch::zeros({count}, torch::kInt64), words_masked = torch::zeros({count}, torch::kInt64);
    for (std::int64_t row = 0; row < count; ++row) {
      const RandomStream random(static_cast<Seed>(recipe_.seed), Purpose::training_times,
                                static_cast<std::uint64_t>(part.first + row), static_cast<std::uint32_t>(part.step));
      const auto question = random.below(kQuestion, 3);
      const auto some = [&](Cell cell, std::int64_t most) {
        return 1 + static_cast<std::int64_t>(random.below(cell, static_cast<std::uint64_t>(most)));
      };
      if (question != 1) codes_masked[row] = some(kCodesMasked, cells_);
      if (question != 0) words_masked[row] = some(kWordsMasked, words - 1);
    }
    const auto seed = static_cast<Seed>(recipe_.seed);
    const auto uniforms = uniform_rows(seed, Purpose::training_masks, static_cast<std::uint64_t>(part.first),
                                       static_cast<std::uint32_t>(part.step), count, words + cells_);
    auto open_words = lowest(uniforms.slice(1, 1, words), words_masked);  // the start is always known
    open_words = torch::cat({torch::zeros({count, 1}, torch::kBool), open_words}, 1);
    const auto open_codes = lowest(uniforms.slice(1, words), codes_masked);
    // A row that is told nothing has its words masked, but is not asked for them.
    const auto vocabulary = networks.vocabulary();
    const auto seen_words = told.ids.masked_fill(open_words | told.dropped.unsqueeze(1), vocabulary);
    const auto seen_codes = x0.masked_fill(open_codes, codes_);
    const auto asked_words = open_words & ~told.dropped.unsqueeze(1);
    const auto places = torch::cat({asked_words, open_codes}, 1).flatten().nonzero().flatten();
    const auto logits = networks.sequence_logits(seen_words, seen_codes, places).to(torch::kFloat32);
    const auto device = logits.device();
    const auto column = places.remainder(words + cells_), row = torch::div(places, words + cells_, "floor");
    const auto mean_of = [&](bool of_words, const torch::Tensor& x, const torch::Tensor& open) {
      const auto own = (of_words ? column < words : column >= words).nonzero().flatten();
      if (own.numel() == 0) return logits.sum() * 0;
      const auto rows = row.index_select(0, own);
      const auto truth = x.masked_select(open).to(device);
      const auto each = torch::nn::functional::cross_entropy(
          logits.index_select(0, own.to(device)).narrow(1, of_words ? codes_ : 0, of_words ? vocabulary : codes_),
          truth, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
      const auto weight = 1 / open.sum(1).clamp_min(1).index_select(0, rows).to(torch::kFloat32);
      return (each * weight.to(device)).sum() / (static_cast<double>(count) * std::numbers::ln2);
    };
    const auto of_codes = mean_of(false, x0, open_codes), of_words = mean_of(true, told.ids, asked_words);
    metrics["loss_of_codes"] = of_codes.item<double>();
    metrics["loss_of_words"] = of_words.item<double>();
    return {of_codes + of_words, {}};
  }

  /// The codes' bound, given the words.
  GridNats measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                   std::int64_t first) const override {
    auto options = validation_bound(recipe_);
    std::vector<torch::Tensor> nats;
    torch::Tensor shares;
    for (std::int64_t start = 0; start < x0.size(0); start += options.batch) {
      const auto part = x0.slice(0, start, std::min(start + options.batch, x0.size(0)));
      const auto own = told.slice(start, start + part.size(0));
      // All of the part's grids come in one call, in their order.
      const LogitsAt denoise = [&](const torch::Tensor& tokens, const torch::Tensor& rows) {
        return networks.logits(tokens, {}, own, rows);
      };
      const auto found = estimate_bound(chain_, denoise, part, options, static_cast<std::uint64_t>(first + start));
      nats.push_back(found.nats);
      shares = shares.defined() ? shares + found.share_sums : found.share_sums;
    }
    return {torch::cat(nats), shares};
  }

  std::int64_t total_steps() const override { return cells_; }
  nlohmann::json scheduler() const override { return process_config(default_process().name, codes_, cells_); }

 private:
  PriorRecipe recipe_;
  std::int64_t codes_, cells_;
  AbsorbingProcess chain_;
};

}  // namespace

ObjectiveEntry joint_objective() {
  return {"joint",
          "masked words and codes of one sequence",
          [](const PriorRecipe& recipe) { return recipe.prior == "joint"; },
          [](const PriorRecipe& recipe) { return "the " + recipe.prior + " prior"; },
          [](const PriorRecipe&) -> std::vector<std::string> {
            return {"prior",       "initialisation", "null_rate",       "keyword_rate",
                    "text_length", "text_merges",    "validation_terms"};
          },
          [](const ObjectiveInput& input) -> std::unique_ptr<PriorObjective> {
            return std::make_unique<JointObjective>(input);
          }};
}

}  // namespace tessera
