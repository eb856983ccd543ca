/// The priors of "Unleashing Transformers" against the numbers of the published program.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "denoiser/transformer.h"
#include "diffusion/absorbing.h"
#include "diffusion/likelihood.h"
#include "diffusion/time_sampler.h"
#include "import/importers.h"
#include "sampling/fill.h"
#include "support/fixtures.h"

namespace tessera {
namespace unleashing_parity_test {

using testing::FixtureCase;

ImportedDenoiser import_prior(const FixtureCase& fixture) {
  const auto& given = fixture.hyperparameters();
  ImportOptions options;
  options.heads = given.at("bert_n_head").get<std::int64_t>();
  const auto shape = given.at("latent_shape").get<std::vector<std::int64_t>>();
  options.grid = {shape.at(shape.size() - 2), shape.at(shape.size() - 1)};
  auto imported = import_checkpoint(fixture.checkpoint(), options);
  if (!imported.denoiser) throw std::runtime_error(fixture.name() + ": no denoiser in the checkpoint");
  return std::move(*imported.denoiser);
}

/// A number written as in tensor names: "0p7".
double number_in_name(std::string text) {
  std::replace(text.begin(), text.end(), 'p', '.');
  return std::stod(text);
}

void expect_forward_process(const FixtureCase& fixture, std::int64_t codes, std::int64_t total) {
  const AbsorbingProcess random(codes, total), fixed(codes, total, MaskSchedule::fixed);
  const auto noised = random.q_sample(fixture.tensor("q_x_0"), fixture.tensor("q_t"), fixture.tensor("q_uniform"));
  EXPECT_TRUE(fixture.matches("q_x_t", noised.tokens));
  EXPECT_TRUE(fixture.matches("q_mask", noised.changed));
  const std::string prefix = "fixed_schedule_n_masked";
  for (const auto& [key, expected] : fixture.expected) {
    if (!key.starts_with(prefix)) continue;
    const auto cells = key == prefix ? fixture.tensor("x_0").size(1) : std::stoll(key.substr((prefix + "_len").size()));
    const auto t = torch::arange(1, total + 1);
    const auto masked = fixed.q_sample(torch::zeros({total, cells}, torch::kInt64), t, 7, 0, 0).changed;
    EXPECT_TRUE(fixture.matches(key, masked.sum(1)));
  }
}

void expect_reverse_process(const FixtureCase& fixture, TransformerImpl& network) {
  const auto temperature = fixture.hyperparameters().at("sample_temperature").get<double>();
  const auto& uniforms = fixture.tensor("trace_uniform");
  const AbsorbingProcess process(network.codebook_size(), uniforms.size(0));
  auto tokens = torch::full({uniforms.size(1), uniforms.size(2)}, network.codebook_size(), torch::kInt64);
  std::vector<torch::Tensor> logits, trace;
  for (std::int64_t i = 0; i < uniforms.size(0); ++i) {
    logits.push_back(network.forward(tokens) / temperature);
    const auto t = torch::full({tokens.size(0)}, uniforms.size(0) - i, torch::kInt64);
    const auto selected = process.revealed(tokens, uniforms[i], t);
    tokens = torch::where(selected, fixture.tensor("trace_x0_hat")[i], tokens);
    trace.push_back(tokens);
  }
  EXPECT_TRUE(fixture.matches("trace_scaled_logits", torch::stack(logits)));
  EXPECT_TRUE(fixture.matches("trace_x_t", torch::stack(trace)));
}

void expect_losses(const FixtureCase& fixture, const torch::Tensor& logits, const ImportedDenoiser& imported,
                   std::int64_t total) {
  const auto& x0 = fixture.tensor("x_0");
  const auto& t = fixture.tensor("t");
  const auto masked = fixture.tensor("mask").to(torch::kBool);
  const auto ce = masked_cross_entropy(logits, x0, masked);
  EXPECT_TRUE(fixture.matches("cross_entropy", ce));
  const auto rows = rows_of(masked);
  EXPECT_TRUE(
      fixture.matches("cross_entropy", masked_cross_entropy_at(logits.flatten(0, 1).index_select(0, rows), x0, rows)));
  const auto p_t = torch::full({t.size(0)}, 1.0 / static_cast<double>(total));
  for (const auto kind : {LossKind::elbo, LossKind::mlm, LossKind::reweighted_elbo}) {
    const auto losses = training_loss(kind, ce, masked, t, p_t, total);
    EXPECT_TRUE(fixture.matches("loss_" + name_of(kind) + "_per_sample", losses.loss));
    EXPECT_TRUE(fixture.matches("loss_" + name_of(kind), losses.mean().view({1})));
    EXPECT_TRUE(fixture.matches("vb_loss_per_sample", losses.vb));
    EXPECT_TRUE(fixture.matches("vb_loss", losses.vb.mean().view({1})));
  }

  TimeSampler times(total);
  times.loss_history = imported.training.at("loss_history").clone();
  times.bound_history = imported.training.at("Lt_history").clone();
  times.bound_count = imported.training.at("Lt_count").clone();
  EXPECT_TRUE(times.warmed_up());
  EXPECT_TRUE(fixture.matches("importance_pt", times.importance_probabilities()));
  const auto active = loss_kind_from(fixture.hyperparameters().at("loss_type").get<std::string>());
  times.update(t, training_loss(active, ce, masked, t, p_t, total));
  EXPECT_TRUE(fixture.matches("loss_history_after", times.loss_history));
  EXPECT_TRUE(fixture.matches("Lt_history_after", times.bound_history));
  EXPECT_TRUE(fixture.matches("Lt_count_after", times.bound_count));
}

TEST(Parity, UnleashingAbsorbing) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-absorbing") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    const auto imported = import_prior(fixture);
    auto network = load_transformer(imported.config, imported.tensors, fixture.name());
    const auto codes = network->codebook_size();
    const auto total = fixture.hyperparameters().at("total_steps").get<std::int64_t>();
    ASSERT_EQ(codes, fixture.hyperparameters().at("codebook_size").get<std::int64_t>());

    const auto& x0 = fixture.tensor("x_0");
    const auto masked = fixture.tensor("mask").to(torch::kBool);
    const auto xt = x0.masked_fill(masked, codes);
    EXPECT_TRUE(fixture.matches("x_t", xt));
    const auto logits = network->forward(xt);
    EXPECT_TRUE(fixture.matches("logits", logits));
    EXPECT_TRUE(fixture.matches(
        "logits", network->logits_at(xt, torch::arange(xt.numel())).view({x0.size(0), x0.size(1), codes})));
    std::int64_t temperatures = 0;
    for (const auto& [key, expected] : fixture.expected) {
      const std::string prefix = "probs_temp_";
      if (!key.starts_with(prefix)) continue;
      EXPECT_TRUE(fixture.matches(key, torch::softmax(logits / number_in_name(key.substr(prefix.size())), -1)));
      ++temperatures;
    }
    EXPECT_EQ(temperatures, static_cast<std::int64_t>(fixture.hyperparameters().at("temperatures").size()));

    expect_losses(fixture, logits, imported, total);
    expect_forward_process(fixture, codes, total);
    expect_reverse_process(fixture, *network);

    const auto terms =
        elbo_terms([&](const auto& tokens, const auto& rows) { return network->logits_at(tokens, rows); },
                   fixture.tensor("elbo_x_0"), fixture.tensor("elbo_masks"), codes);
    EXPECT_TRUE(fixture.matches("elbo_terms", terms));
    EXPECT_TRUE(fixture.matches("elbo", terms.sum(0)));
  }
}

TEST(Parity, UnleashingAutoregressive) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-autoregressive") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    const auto imported = import_prior(fixture);
    auto network = load_transformer(imported.config, imported.tensors, fixture.name());
    const auto& tokens = fixture.tensor("tokens");
    const auto cells = tokens.size(1), codes = network->codebook_size();
    const auto& hyper = fixture.hyperparameters();

    const auto prefix = network->forward(tokens.narrow(1, 0, hyper.at("prefix_length").get<std::int64_t>()));
    EXPECT_TRUE(fixture.matches("logits_prefix", prefix));
    const auto next = prefix.select(1, -1) / hyper.at("sample_temperature").get<double>();
    EXPECT_TRUE(fixture.matches("next_token_probs", torch::softmax(next, -1)));
    EXPECT_TRUE(fixture.matches("logits_empty_prefix", network->forward(tokens.narrow(1, 0, 0))));
    const auto full = network->forward(tokens.narrow(1, 0, cells - 1));
    EXPECT_TRUE(fixture.matches("logits_full", full));
    const auto nll = autoregressive_nll(full, tokens);
    EXPECT_TRUE(fixture.matches("nll_nats", nll));
    EXPECT_TRUE(fixture.matches("nll_bits_per_dim", bits_per_token(nll, cells).mean().view({1})));

    const auto decoding = network->begin()->decode(tokens.size(0));
    std::vector<torch::Tensor> cached;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      cached.push_back(decoding->advance(cell == 0 ? torch::Tensor() : tokens.select(1, cell - 1)));
    }
    EXPECT_TRUE(fixture.matches("logits_full", torch::stack(cached, 1)));

    FillOptions options;
    options.sampler = "autoregressive";
    options.draw.temperature = 0;
    const auto greedy = fill(TokenGrid::all_masked(1, network->options().grid, codes), *network, options).grid.flat();
    EXPECT_TRUE(fixture.matches("greedy_sample", greedy));
    const auto probabilities = torch::softmax(network->forward(greedy.narrow(1, 0, cells - 1)), -1);
    const auto best = std::get<0>(probabilities.topk(2, -1));
    const auto margin = best.select(2, 0) - best.select(2, 1);
    EXPECT_TRUE(margin.gt(0).all().item<bool>());
    EXPECT_EQ(margin.sizes(), fixture.tensor("greedy_margin").sizes());
  }
}

}  // namespace unleashing_parity_test
}  // namespace tessera
