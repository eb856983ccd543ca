/// ImageBART against the numbers of the published program: chain, posterior, logits, losses, and a whole chain of
/// samples drawn again.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "codec/codec.h"
#include "denoiser/image_bart.h"
#include "denoiser/networks.h"
#include "diffusion/processes.h"
#include "diffusion/redraw.h"
#include "import/importers.h"
#include "sampling/replayed_draws.h"
#include "support/fixtures.h"

namespace tessera {
namespace image_bart_parity_test {

using testing::FixtureCase;

struct Imported {
  std::shared_ptr<ImageBartImpl> network;
  Codec codec{nullptr};
  NetworkFacts facts;
  std::shared_ptr<const Process> process;
};

Imported import_case(const FixtureCase& fixture, const std::filesystem::path& path) {
  const auto imported = import_checkpoint(path);
  EXPECT_EQ(imported.importer, "imagebart");
  const auto bundle = make_bundle(imported.codec, imported.denoiser);
  const auto& config = bundle.denoiser->config;
  Imported result;
  result.facts = network_facts(config, fixture.name());
  result.network = std::dynamic_pointer_cast<ImageBartImpl>(
      network_of(config, fixture.name()).load({config, bundle.denoiser->tensors, fixture.name()}));
  result.codec = Codec(codec_options_from_json(bundle.codec->config));
  result.codec->load(bundle.codec->tensors, fixture.name());
  result.codec->eval();
  result.process =
      make_process(*bundle.scheduler, result.facts.codebook_size, result.facts.total_steps, {}, fixture.name()).process;
  return result;
}

std::int64_t scales_of(const FixtureCase& fixture) {
  return fixture.description.at("n_scales").get<std::int64_t>();
}

torch::Tensor picture_of(Imported& model, const torch::Tensor& codes) {
  const auto grid = codes.view({codes.size(0), model.facts.grid.h, model.facts.grid.w});
  return model.codec->decode_latents(model.codec->quantizer->embed(grid));
}

void expect_schedules(const FixtureCase& fixture) {
  for (const auto& schedule : fixture.description.at("settings").at("schedules")) {
    const auto name = "schedule_" + schedule.at(0).get<std::string>();
    const auto& redraw = schedule.at(2);
    const auto betas = redraw_schedule(redraw.is_string() ? redraw.get<std::string>() : redraw.dump(),
                                       schedule.at(1).get<std::int64_t>());
    const auto as_tensor = torch::tensor(betas, torch::kFloat64);
    EXPECT_TRUE(fixture.matches(name + "_betas", as_tensor.to(torch::kFloat32)));
    EXPECT_TRUE(fixture.matches(name + "_alphats", (1 - as_tensor).to(torch::kFloat32)));
    EXPECT_TRUE(fixture.matches(name + "_alphacum", torch::tensor(kept_by(betas), torch::kFloat32)));
  }
}

/// x_0, x_1 .. x_T with the given draws: [T + 1, B, cells].
torch::Tensor expect_chain(const FixtureCase& fixture, const Imported& model) {
  std::vector<torch::Tensor> chain = {fixture.tensor("codes")};
  for (std::int64_t t = 1; t <= scales_of(fixture); ++t) {
    const auto step = *model.process->even_step(t - 1, t);
    chain.push_back(redrawn(chain.back(), fixture.tensor("chain_random_codes")[t - 1],
                            fixture.tensor("chain_uniform")[t - 1], 1 - step.alpha));
  }
  const auto all = torch::stack(chain).flatten(2);
  EXPECT_TRUE(fixture.matches("chain", all));
  return all;
}

StepLook look_at(const Imported& model, const torch::Tensor& noised, std::int64_t t) {
  const auto step = *model.process->even_step(t - 1, t);
  StepLook look;
  look.noised = noised;
  look.time = t;
  look.log_same = std::log(step.alpha + step.beta);
  look.log_other = std::log(step.beta);
  return look;
}

/// Of each row, from the case's tensor of classes.
std::vector<Condition> conditions_of(const FixtureCase& fixture, const std::string& key) {
  if (!fixture.has(key)) return {Condition{}};
  std::vector<Condition> conditions(static_cast<std::size_t>(fixture.tensor(key).size(0)));
  for (std::size_t i = 0; i < conditions.size(); ++i)
    conditions[i].label = fixture.tensor(key)[static_cast<std::int64_t>(i)].item<std::int64_t>();
  return conditions;
}

/// alpha of the loss, from the scale's yaml.
double soft_weight_of(const FixtureCase& fixture, std::int64_t t) {
  const auto& names = fixture.description.at("checkpoint").at("configs");
  const auto yaml = read_taming_config(fixture.folder / names.at(static_cast<std::size_t>(t - 1)).get<std::string>());
  return yaml.at("alpha").get<double>();
}

void expect_scale(const FixtureCase& fixture, Imported& model, const torch::Tensor& chain, std::int64_t t) {
  const auto name = fmt::format("scale{}_", t);
  SCOPED_TRACE(name);
  const auto x0 = chain[0], before = chain[t - 1], noised = chain[t];
  EXPECT_TRUE(fixture.matches(name + "x_target", before));
  EXPECT_TRUE(fixture.matches(name + "x_t", noised));
  const auto times = torch::full({x0.size(0)}, t, torch::kInt64);
  const auto log_posterior = model.process->log_posterior(noised, x0, times - 1, times);
  const auto posterior = log_posterior.exp().transpose(1, 2).reshape(fixture.tensor(name + "posterior").sizes());
  EXPECT_TRUE(fixture.matches(name + "posterior", posterior.to(torch::kFloat32)));
  const auto look = look_at(model, noised, t);
  const auto classes = fixture.has("class_label") ? fixture.tensor("class_label") : torch::Tensor();
  if (fixture.has(name + "encoder_out")) {
    EXPECT_TRUE(fixture.matches(name + "encoder_out", model.network->encode(look, classes)));
  }
  const auto logits = model.network->step_logits(look, before, classes);
  EXPECT_TRUE(fixture.matches(name + "logits", logits));
  const auto loss = step_loss(logits, before, log_posterior);
  const auto found = torch::stack({loss.total(soft_weight_of(fixture, t)), loss.hard, loss.soft});
  EXPECT_TRUE(fixture.matches(name + "loss", found.to(torch::kFloat32)));
  // Decoding cell by cell gives the same, but for the published sampler's first position that sees the class.
  const auto conditions = conditions_of(fixture, "class_label");
  const auto evaluator = model.network->begin(conditions);
  EXPECT_TRUE(fixture.matches(name + "logits", as_step_evaluator(*evaluator).step_logits(look, before)));
  if (model.network->options().scales.at(static_cast<std::size_t>(t - 1)).open_start) return;
  const auto decoding = as_step_evaluator(*evaluator).decode_step(look);
  std::vector<torch::Tensor> cached;
  for (std::int64_t cell = 0; cell < before.size(1); ++cell)
    cached.push_back(decoding->advance(cell == 0 ? torch::Tensor() : before.select(1, cell - 1)));
  EXPECT_TRUE(fixture.matches(name + "logits", torch::stack(cached, 1)));
}

/// The whole chain with the original's draws: x_T, .. x_0, and the picture.
void expect_run(const FixtureCase& fixture, Imported& model) {
  const auto& run = fixture.description.at("settings").at("run");
  const auto evaluator = model.network->begin(conditions_of(fixture, "run_class"));
  auto tokens = fixture.tensor("run_start");
  const auto total = scales_of(fixture);
  for (auto t = total; t >= 1; --t) {
    const auto name = fmt::format("run_scale{}_", t);
    SCOPED_TRACE(name);
    EXPECT_TRUE(fixture.matches(name + "in", tokens));
    DrawOptions options;
    options.top_k = run.at("top_k").at(static_cast<std::size_t>(t - 1)).get<std::int64_t>();
    // Scales with an encoder leave the temperature that they are given out of account.
    const bool reads = model.network->options().scales.at(static_cast<std::size_t>(t - 1)).has_encoder();
    if (!reads) options.temperature = run.at("temperature").at(static_cast<std::size_t>(t - 1)).get<double>();
    const auto decoding = as_step_evaluator(*evaluator).decode_step(look_at(model, tokens, t));
    std::vector<torch::Tensor> drawn;
    for (std::int64_t cell = 0; cell < tokens.size(1); ++cell) {
      const auto logits = decoding->advance(drawn.empty() ? torch::Tensor() : drawn.back());
      const auto first = fmt::format("scale{}_first_logits", t);
      if (cell == 0 && fixture.has(first)) {
        EXPECT_TRUE(fixture.matches(first, logits));
      }
      drawn.push_back(testing::drawn_with(logits, fixture.tensor("run_exponential")[total - t][cell], options));
    }
    tokens = torch::stack(drawn, 1);
    EXPECT_TRUE(fixture.matches(name + "out", tokens));
  }
  EXPECT_TRUE(fixture.matches("run_image", picture_of(model, tokens)));
}

TEST(Parity, ImageBart) {
  TESSERA_FOR_EACH_CASE(fixture, "imagebart") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto model = import_case(fixture, fixture.folder);
    EXPECT_EQ(model.facts.condition(), fixture.has("class_label") ? "class" : "none");
    EXPECT_EQ(model.facts.total_steps, scales_of(fixture));
    EXPECT_EQ(model.facts.codebook_size, fixture.description.at("codes_used").get<std::int64_t>());
    const auto latents = model.codec->latents(fixture.tensor("image"));
    EXPECT_TRUE(fixture.matches("pre_quant", latents));
    EXPECT_TRUE(fixture.matches("codes", model.codec->quantizer->codes(latents)));
    EXPECT_TRUE(fixture.matches("decoded", picture_of(model, fixture.tensor("codes_in"))));
    expect_schedules(fixture);
    const auto chain = expect_chain(fixture, model);
    for (std::int64_t t = 1; t <= scales_of(fixture); ++t) expect_scale(fixture, model, chain, t);
    expect_run(fixture, model);
  }
}

TEST(ImageBartImporter, AnyScaleStandsForAllAndOneThatIsMissingIsNamed) {
  TESSERA_FOR_EACH_CASE(fixture, "imagebart") {
    SCOPED_TRACE(fixture.name());
    const auto& files = fixture.description.at("checkpoint").at("files");
    const auto whole = import_checkpoint(fixture.folder);
    const auto by_file = import_checkpoint(fixture.folder / files.back().get<std::string>());
    EXPECT_EQ(by_file.denoiser->config, whole.denoiser->config);
    EXPECT_EQ(content_hash(by_file.denoiser->tensors), content_hash(whole.denoiser->tensors));
    const auto copy =
        std::filesystem::temp_directory_path() / fmt::format("tessera-imagebart-{}-{}", ::getpid(), fixture.name());
    std::filesystem::create_directories(copy);
    for (const auto& entry : std::filesystem::directory_iterator(fixture.folder)) {
      if (entry.path().filename() != files.front().get<std::string>())
        std::filesystem::copy(entry.path(), copy / entry.path().filename());
    }
    try {
      (void)import_checkpoint(copy);
      ADD_FAILURE() << "a missing scale was not named";
    } catch (const std::exception& error) {
      EXPECT_NE(std::string(error.what()).find("scale 1"), std::string::npos) << error.what();
    }
    std::filesystem::remove_all(copy);
  }
}

}  // namespace image_bart_parity_test
}  // namespace tessera
