/// Halton-MaskGIT against the numbers that the original computes: its network, its two samplers with their own random
/// numbers, and the same model under Tessera's samplers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "codec/codec.h"
#include "denoiser/maskgit_transformer.h"
#include "import/importers.h"
#include "sampling/fill.h"
#include "sampling/halton.h"
#include "sampling/redraw.h"
#include "sampling/registry.h"
#include "support/fixtures.h"

namespace tessera {
namespace halton_maskgit_parity_test {

using testing::FixtureCase;

struct Model {
  MaskGitTransformer network{nullptr};
  Codec codec{nullptr};
  std::int64_t codes = 0, side = 0;  // K, n
};

Model model_of(const FixtureCase& fixture) {
  ImportOptions options;
  options.heads = fixture.hyperparameters().at("heads").get<std::int64_t>();
  const auto imported = import_checkpoint(fixture.checkpoint(), options);
  EXPECT_EQ(imported.importer, "halton-maskgit");
  Model model;
  model.network = load_maskgit(imported.denoiser->config, imported.denoiser->tensors, fixture.name());
  model.codes = model.network->options().codebook_size;
  model.side = model.network->options().grid.h;
  const auto& vq = fixture.description.at("vq");
  const auto folder = fixture.folder / vq.at("folder").get<std::string>();
  const auto codec = import_checkpoint(folder / vq.at("file").get<std::string>());
  model.codec = Codec(codec_options_from_json(codec.codec->config));
  model.codec->load(codec.codec->tensors, fixture.name());
  model.codec->eval();
  return model;
}

Condition told(std::int64_t label, double scale) {
  Condition condition;
  condition.label = label;
  condition.scale = scale;
  return condition;
}

torch::Tensor dropped(const torch::Tensor& labels, const torch::Tensor& drop) {
  return torch::where(drop.to(torch::kBool), torch::full_like(labels, -1), labels);
}

void expect_network(const FixtureCase& fixture, Model& model) {
  const torch::NoGradGuard no_grad;
  const auto& labels = fixture.tensor("labels");
  const auto tokens = fixture.tensor("tokens").flatten(1);
  const auto classes = dropped(labels, fixture.tensor("drop_label"));
  TensorMap inner;
  model.network->record(&inner);
  const auto logits = model.network->forward(tokens, classes);
  model.network->record(nullptr);
  EXPECT_TRUE(fixture.matches("logits", logits));
  for (const char* name : {"embedded", "block0_attention", "block0_mlp", "block0_out", "transformer_out", "normed"})
    EXPECT_TRUE(fixture.matches(name, inner.at(name)));
  EXPECT_TRUE(fixture.matches("logits_conditional", model.network->forward(tokens, labels)));
  EXPECT_TRUE(fixture.matches("logits_unconditional", model.network->forward(tokens, torch::full_like(labels, -1))));
  // Some cells alone.
  const auto rows = torch::arange(0, tokens.numel(), 3);
  const auto some = model.network->forward(tokens, classes, rows);
  EXPECT_LT((some - logits.flatten(0, 1).index_select(0, rows)).abs().max().item<double>(), 1e-4);
}

void expect_guidance(const FixtureCase& fixture, Model& model) {
  const auto w = fixture.description.at("settings").at("guidance_w").get<double>();
  const auto& labels = fixture.tensor("labels");
  const auto tokens = fixture.tensor("tokens").flatten(1);
  std::vector<Condition> conditions;
  for (std::int64_t n = 0; n < labels.size(0); ++n) conditions.push_back(told(labels[n].item<std::int64_t>(), 1 + w));
  MaskGitDenoiser denoiser(model.network);
  const auto logits = denoiser.begin(conditions)->logits({tokens, torch::arange(tokens.numel())});
  ASSERT_EQ(logits.size(1), model.codes) << "MASK is not among what is drawn";
  const auto want = fixture.tensor("logits_guided").flatten(0, 1).narrow(1, 0, model.codes);
  EXPECT_LT((logits - want).abs().max().item<double>(), 5e-4);
  const auto factor = fixture.description.at("settings").at("softmax_temperature").get<double>();
  // Without MASK the codes keep their proportions.
  const auto all = fixture.tensor("probs_guided").flatten(0, 1).narrow(1, 0, model.codes);
  const auto own = torch::softmax(logits * factor, -1);
  EXPECT_LT((own - all / all.sum(-1, true)).abs().max().item<double>(), 2e-4);
}

void expect_training(const FixtureCase& fixture, Model& model) {
  const auto tokens = fixture.tensor("masked_arccos").flatten(1), clean = fixture.tensor("clean").flatten();
  const auto classes = dropped(fixture.tensor("labels"), fixture.tensor("drop_label"));
  const auto loss_of = [&] {
    const auto logits = model.network->forward(tokens, classes);
    return torch::nn::functional::cross_entropy(logits.flatten(0, 1), clean);
  };
  const auto loss = loss_of();
  EXPECT_TRUE(fixture.matches("train_loss", loss.reshape({1})));
  loss.backward();
  double squared = 0;
  for (const auto& item : model.network->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    squared += item.value().grad().to(torch::kFloat64).square().sum().item<double>();
  }
  ASSERT_GT(squared, 0);
  // Along the gradient the loss rises by its square.
  const double step = 1e-2 / std::sqrt(squared);
  const torch::NoGradGuard no_grad;
  const auto moved = [&](double by) {
    for (auto& parameter : model.network->parameters()) parameter.add_(parameter.grad(), by);
    return loss_of().item<double>();
  };
  const double up = moved(step), down = moved(-2 * step);
  moved(step);
  EXPECT_NEAR((up - down) / (2 * step * squared), 1, 0.02);
  model.network->zero_grad();
}

std::vector<std::int64_t> order_of(std::int64_t side) {
  std::vector<std::int64_t> cells(static_cast<std::size_t>(side * side));
  std::iota(cells.begin(), cells.end(), std::int64_t{0});
  const auto scores =
      orders().at("halton").score({{side, side}, cells, nullptr, nullptr, 0, {0, Purpose::draw_tokens}});
  std::sort(cells.begin(), cells.end(),
            [&](auto a, auto b) { return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)]; });
  return cells;
}

void expect_plans(const FixtureCase& fixture) {
  const auto& settings = fixture.description.at("settings");
  for (const auto& size : settings.at("halton_sizes")) {
    const auto side = size.get<std::int64_t>();
    const auto& want = fixture.tensor(fmt::format("halton_order_{}", side));
    const auto own = torch::tensor(order_of(side)).narrow(0, 0, want.size(0));  // the original may miss the last cells
    EXPECT_TRUE(torch::stack({torch::div(own, side, "floor"), own % side}, 1).equal(want)) << side;
  }
  for (const auto& each : settings.at("halton_schedules")) {
    const auto steps = each.at(0).get<std::int64_t>(), side = each.at(1).get<std::int64_t>();
    const auto& want = fixture.tensor(fmt::format("halton_known_after_step_s{}_n{}", steps, side));
    EXPECT_TRUE(torch::tensor(halton_filled(side * side, steps)).equal(want.clamp_max(side * side))) << steps;
  }
  for (const auto& each : settings.at("confidence_schedules")) {
    const auto mode = each.at(0).get<std::string>();
    const auto steps = each.at(1).get<std::int64_t>(), side = each.at(2).get<std::int64_t>();
    const auto& want = fixture.tensor(fmt::format("confidence_keep_{}_s{}_n{}", mode, steps, side));
    EXPECT_TRUE(torch::tensor(redraw_filled(mode, side * side, steps)).equal(want)) << mode;
  }
}

/// A run of the original, its settings and its random numbers.
struct Run {
  const FixtureCase& fixture;
  Model& model;
  std::string name;
  nlohmann::json sampler;
  torch::Tensor labels;

  std::int64_t steps() const { return sampler.at("step").get<std::int64_t>(); }
  torch::Tensor of(const std::string& part) const { return fixture.tensor(name + "_" + part); }

  /// Guided logits [R, L, K + 1]; what the network says is held to the case at the first and the last step.
  torch::Tensor logits(const torch::Tensor& tokens, double w, std::int64_t step) const {
    const bool is_guided = sampler.at("w").get<double>() != 0;
    auto both = model.network->forward(is_guided ? torch::cat({tokens, tokens}) : tokens,
                                       is_guided ? torch::cat({labels, torch::full_like(labels, -1)}) : labels);
    if (step == 0) {
      EXPECT_TRUE(fixture.matches(name + "_logits_first", both));
    }
    if (step + 1 == steps()) {
      EXPECT_TRUE(fixture.matches(name + "_logits_last", both));
    }
    if (!is_guided) return both;
    const auto parts = both.chunk(2, 0);
    return (1 + w) * parts[0] - w * parts[1];
  }

  /// The tokens drawn [R, L] from probabilities [R, L, K + 1].
  torch::Tensor draw(const torch::Tensor& p, std::int64_t step, std::int64_t top_k) const {
    const auto& exponential = of("exponential")[step];
    if (top_k <= 0) return (p / exponential).argmax(-1);
    const auto [values, codes] = p.topk(top_k);
    return codes.gather(-1, (values / values.sum(-1, true) / exponential).argmax(-1, true)).squeeze(-1);
  }

  void expect_step(const torch::Tensor& before, const torch::Tensor& drawn, std::int64_t step) const {
    EXPECT_TRUE(before.flatten().equal(of("codes_before_step")[step].flatten())) << name << " before step " << step;
    EXPECT_TRUE(drawn.flatten().equal(of("drawn")[step].flatten())) << name << " drawn at step " << step;
  }

  void expect_end(const torch::Tensor& tokens) const {
    const auto final = tokens.clamp(0, model.codes - 1).view({-1, model.side, model.side});
    EXPECT_TRUE(final.equal(of("final"))) << name;
    const auto image = model.codec->decode_latents(model.codec->quantizer->embed(final)).clamp(-1, 1);
    EXPECT_TRUE(fixture.matches(name + "_image", image));
  }
};

Run run_of(const FixtureCase& fixture, Model& model, const std::string& name) {
  const auto& sampler = fixture.description.at("settings").at(name).at("sampler");
  return {fixture, model, name, sampler, fixture.tensor(name + "_labels")};
}

void replay_halton(const Run& run) {
  const torch::NoGradGuard no_grad;
  const auto cells = run.model.side * run.model.side, rows = run.labels.size(0);
  const auto number = [&](const char* field) { return run.sampler.at(field).get<double>(); };
  const auto scales = logit_scales({number("sm_temp_min"), number("sm_temp_max"), number("temp_pow"),
                                    run.sampler.at("temp_warmup").get<std::int64_t>()},
                                   run.steps());
  const auto filled = halton_filled(cells, run.steps());
  const auto order = order_of(run.model.side);
  auto tokens = torch::full({rows, cells}, run.model.codes, torch::kInt64);
  for (std::int64_t step = 0; step < run.steps(); ++step) {
    const auto scale = scales[static_cast<std::size_t>(step)];
    EXPECT_FLOAT_EQ(static_cast<float>(scale), run.of("temperature")[step].item<float>());
    const auto p = torch::softmax(run.logits(tokens, number("w"), step) * scale, -1);
    const auto drawn = run.draw(p, step, run.sampler.at("top_k").get<std::int64_t>());
    run.expect_step(tokens, drawn, step);
    auto mask = torch::zeros({rows, cells}, torch::kBool);
    for (std::int64_t n = 0; n < rows; ++n) {
      const auto offset =
          run.sampler.at("randomize").get<bool>() ? run.of("offsets")[n].item<std::int64_t>() : std::int64_t{0};
      for (auto i = step == 0 ? 0 : filled[static_cast<std::size_t>(step - 1)];
           i < filled[static_cast<std::size_t>(step)]; ++i)
        mask[n][order[static_cast<std::size_t>(((i - offset) % cells + cells) % cells)]] = true;
    }
    EXPECT_TRUE(mask.flatten().equal(run.of("step_mask")[step].flatten().to(torch::kBool))) << run.name << " " << step;
    tokens = torch::where(mask, drawn, tokens);
  }
  run.expect_end(tokens);
}

void replay_confidence(const Run& run) {
  const torch::NoGradGuard no_grad;
  const auto cells = run.model.side * run.model.side, rows = run.labels.size(0), steps = run.steps();
  const auto filled = redraw_filled(run.sampler.at("sched_mode").get<std::string>(), cells, steps);
  const bool is_noisy = run.sampler.at("randomize") == "linear";
  auto tokens = run.fixture.has(run.name + "_code") ? run.of("code").view({rows, cells}).clone()
                                                    : torch::full({rows, cells}, run.model.codes, torch::kInt64);
  for (std::int64_t step = 0; step < steps; ++step) {
    const double done = static_cast<double>(step) / static_cast<double>(steps - 1);
    const auto logits = run.logits(tokens, run.sampler.at("w").get<double>() * done, step);
    const auto p = torch::softmax(logits * run.sampler.at("sm_temp").get<double>(), -1);
    const auto drawn = run.draw(p, step, 0);
    run.expect_step(tokens, drawn, step);
    auto confidence = p.gather(-1, drawn.unsqueeze(-1)).squeeze(-1).to(torch::kFloat64);
    if (is_noisy)
      confidence = confidence.log() +
                   run.sampler.at("r_temp").get<double>() * (1 - done) * run.of("gumbel")[step].view({rows, cells});
    confidence.masked_fill_(tokens != run.model.codes, std::numeric_limits<double>::infinity());
    for (std::int64_t n = 0; n < rows; ++n) {
      const auto row = confidence[n].contiguous();
      const auto stays = surest_cells({row.data_ptr<double>(), row.data_ptr<double>() + cells},
                                      filled[static_cast<std::size_t>(step)]);
      for (std::int64_t cell = 0; cell < cells; ++cell) {
        if (stays[static_cast<std::size_t>(cell)]) tokens[n][cell] = drawn[n][cell];
      }
    }
    EXPECT_TRUE((tokens == run.model.codes).flatten().equal(run.of("step_mask")[step].flatten().to(torch::kBool)))
        << run.name << " after step " << step;
  }
  run.expect_end(tokens);
}

/// The samplers that users choose: the original's walk by keyed draws, no MASK left, given cells kept.
void expect_fills(const FixtureCase& fixture, Model& model) {
  const auto name = std::string("halton_run");
  const auto run = run_of(fixture, model, name);
  MaskGitDenoiser denoiser(model.network);
  FillOptions options;
  options.steps = run.steps();
  options.sampler = "halton";
  for (std::int64_t n = 0; n < run.labels.size(0); ++n)
    options.conditions.push_back(told(run.labels[n].item<std::int64_t>(), 3));
  const Extent extent{model.side, model.side};
  const auto masked = TokenGrid::all_masked(run.labels.size(0), extent, model.codes);
  std::vector<torch::Tensor> seen;
  const auto result = fill(masked, denoiser, options, [&](const FillProgress& progress) {
    seen.push_back(progress.tokens.eq(model.codes).clone());
    return true;
  });
  ASSERT_EQ(static_cast<std::int64_t>(seen.size()), run.steps());
  auto open = torch::ones_like(seen.front());
  for (std::int64_t step = 0; step < run.steps(); ++step) {
    open = open & ~run.of("step_mask")[step].to(torch::kBool);
    EXPECT_TRUE(seen[static_cast<std::size_t>(step)].equal(open)) << "filled after step " << step;
  }
  EXPECT_LT(result.grid.codes().max().item<std::int64_t>(), model.codes);

  auto half = result.grid.codes().clone();
  half.slice(1, model.side / 2).fill_(model.codes);
  for (const auto& sampler : suitable_samplers(false, true)) {
    options.sampler = sampler;
    const auto filled = fill(TokenGrid(half, model.codes), denoiser, options).grid.codes();
    EXPECT_LT(filled.max().item<std::int64_t>(), model.codes) << sampler;
    EXPECT_TRUE(filled.slice(1, 0, model.side / 2).equal(half.slice(1, 0, model.side / 2))) << sampler;
  }
}

TEST(Parity, HaltonMaskGit) {
  TESSERA_FOR_EACH_CASE(fixture, "halton-maskgit") {
    SCOPED_TRACE(fixture.name());
    auto model = model_of(fixture);
    expect_network(fixture, model);
    expect_guidance(fixture, model);
    expect_training(fixture, model);
  }
}

TEST(Parity, HaltonMaskGitPlans) {
  TESSERA_FOR_EACH_CASE(fixture, "halton-maskgit") {
    SCOPED_TRACE(fixture.name());
    expect_plans(fixture);
  }
}

TEST(Parity, HaltonMaskGitSamplers) {
  TESSERA_FOR_EACH_CASE(fixture, "halton-maskgit") {
    SCOPED_TRACE(fixture.name());
    auto model = model_of(fixture);
    for (const auto& [name, settings] : fixture.description.at("settings").items()) {
      if (!settings.is_object() || !settings.contains("sampler")) continue;
      const auto run = run_of(fixture, model, name);
      settings.at("sampler").contains("top_k") ? replay_halton(run) : replay_confidence(run);
    }
    expect_fills(fixture, model);
  }
}

TEST(HaltonSampler, EveryCellIsFilledOnceWhateverTheSteps) {
  for (const std::int64_t cells : {1, 5, 16, 255}) {
    for (const std::int64_t steps : {1, 2, 7, 300}) {
      const auto filled = halton_filled(cells, steps);
      EXPECT_TRUE(std::is_sorted(filled.begin(), filled.end()));
      EXPECT_EQ(filled.back(), cells);
      for (const auto& schedule : redraw_schedules()) {
        const auto kept = redraw_filled(schedule, cells, steps);
        EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
        EXPECT_EQ(kept.back(), cells) << schedule;
      }
    }
  }
}

}  // namespace halton_maskgit_parity_test
}  // namespace tessera
