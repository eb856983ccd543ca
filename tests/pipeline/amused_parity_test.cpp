/// aMUSEd against the numbers of the hub's pipelines: text, transformer, codec, scheduler, and whole runs with the
/// random numbers that the originals drew. Cases are found by case.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/bundle.h"
#include "codec/codec.h"
#include "denoiser/uvit.h"
#include "import/importers.h"
#include "pipeline/pipeline.h"
#include "prior/text_condition.h"
#include "sampling/amused.h"
#include "support/fixtures.h"
#include "support/scratch.h"

namespace tessera {
namespace amused_parity_test {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::FixtureCase;

struct Parts {
  Bundle bundle;
  Codec codec{nullptr};
  UVit network{nullptr};
  std::optional<TextCondition> text;
};

Parts load_parts(const fs::path& folder) {
  Parts parts;
  parts.bundle = load_bundle(folder);
  parts.codec = Codec(codec_options_from_json(parts.bundle.codec->config));
  parts.codec->load(parts.bundle.codec->tensors, "vqvae");
  parts.codec->eval();
  parts.network = load_uvit(parts.bundle.denoiser->config, parts.bundle.denoiser->tensors, "transformer");
  parts.text = TextCondition::load(parts.bundle, folder.string());
  return parts;
}

/// The originals' ids: MASK is the last row of the embedding.
torch::Tensor from_original(const torch::Tensor& ids, const UVitOptions& options) {
  return ids.masked_fill(ids == options.vocabulary - 1, options.codebook_size);
}

torch::Tensor to_original(const torch::Tensor& tokens, const UVitOptions& options) {
  return tokens.masked_fill(tokens == options.codebook_size, options.vocabulary - 1);
}

torch::Tensor classes_second(const torch::Tensor& logits) {
  return logits.permute({0, 3, 1, 2});  // [N, h, w, K] to [N, K, h, w]
}

void expect_transformer(const FixtureCase& fixture, UVit& network) {
  const torch::NoGradGuard no_grad;
  const auto& options = network->options();
  EXPECT_EQ(options.vocabulary - 1, fixture.description.at("mask_token_id").get<std::int64_t>());
  const auto tokens = from_original(fixture.tensor("uvit_ids"), options);
  const auto count = tokens.size(0);
  TensorMap inner;
  network->record(&inner);
  const auto read =
      network->read(fixture.tensor("uvit_text_states"), fixture.tensor("uvit_pooled"), fixture.tensor("uvit_micro"));
  const auto logits = network->forward(tokens, read, torch::arange(count));
  network->record(nullptr);
  EXPECT_TRUE(fixture.matches("uvit_logits", classes_second(logits)));
  std::int64_t compared = 0;
  for (const auto& [key, expected] : fixture.expected) {
    if (!key.starts_with("uvit_")) continue;
    const auto found = inner.find(key.substr(5));
    if (found == inner.end()) continue;
    EXPECT_TRUE(fixture.matches(key, found->second));
    ++compared;
  }
  EXPECT_GE(compared, 10);
  const double scale = fixture.description.at("settings").at("guidance_scale");
  const auto halves = logits.chunk(2, 0);
  EXPECT_TRUE(fixture.matches("uvit_logits_guided", classes_second(halves[0] + scale * (halves[1] - halves[0]))));

  // The denoiser that `fill` uses: the first half of the batch without, the second with the condition.
  std::vector<Condition> conditions;
  for (std::int64_t n = 0; n < count / 2; ++n) {
    Condition condition;
    condition.null_states = fixture.tensor("uvit_text_states")[n];
    condition.states = fixture.tensor("uvit_text_states")[n + count / 2];
    condition.null_pooled = fixture.tensor("uvit_pooled")[n];
    condition.pooled = fixture.tensor("uvit_pooled")[n + count / 2];
    condition.micro = fixture.tensor("uvit_micro")[n];
    condition.scale = scale;
    if (!fixture.tensor("uvit_micro")[n].equal(fixture.tensor("uvit_micro")[n + count / 2])) return;
    conditions.push_back(condition);
  }
  UVitDenoiser denoiser(network, {}, {tokens.size(1), tokens.size(2)});
  const auto evaluator = denoiser.begin(conditions);
  const auto grids = tokens.narrow(0, 0, count / 2);
  if (!grids.equal(tokens.narrow(0, count / 2, count / 2))) return;
  const auto guided = evaluator->logits({grids.flatten(1), torch::arange(grids.numel())});
  EXPECT_TRUE(fixture.matches("uvit_logits_guided",
                              classes_second(guided.view({count / 2, tokens.size(1), tokens.size(2), -1}))));
}

TEST(Parity, AmusedTransformer) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-512-transformer") {
    SCOPED_TRACE(fixture.name());
    const auto imported = import_checkpoint(fixture.folder / "transformer");
    EXPECT_EQ(imported.importer, "hub-amused");
    ASSERT_TRUE(imported.denoiser.has_value());
    auto network = load_uvit(imported.denoiser->config, imported.denoiser->tensors, fixture.name());
    expect_transformer(fixture, network);
  }
}

TEST(Parity, AmusedTransformerOfThePipeline) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    auto parts = load_parts(fixture.folder);
    expect_transformer(fixture, parts.network);
  }
}

TEST(Parity, AmusedText) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto parts = load_parts(fixture.folder);
    std::vector<torch::Tensor> ids, states, pooled;
    auto made_anew = TextCondition::load(parts.bundle, "made anew", 0);  // for each prompt that it does not remember
    for (const auto& prompt : fixture.description.at("settings").at("prompts")) {
      const auto text = prompt.get<std::string>();
      ids.push_back(torch::tensor(parts.text->tokenizer().encode_padded(text, parts.text->options().length).ids));
      const auto encoded = parts.text->encoded(text);
      const auto again = made_anew.encoded(text);
      EXPECT_TRUE(again.states.equal(encoded.states) && again.pooled.equal(encoded.pooled)) << text;
      states.push_back(encoded.states);
      pooled.push_back(encoded.pooled);
    }
    EXPECT_TRUE(torch::stack(ids).equal(fixture.tensor("ids")));
    EXPECT_TRUE(fixture.matches("text_hidden_penultimate", torch::stack(states)));
    EXPECT_TRUE(fixture.matches("text_embeds", torch::stack(pooled)));
    std::vector<torch::Tensor> layers;
    const auto last = parts.text->encoder()->forward(fixture.tensor("ids"), &layers);
    EXPECT_TRUE(fixture.matches("text_last_hidden_state", last));
    EXPECT_TRUE(fixture.matches("text_hidden_first", layers.front()));
  }
}

TEST(Parity, AmusedCodec) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto codec = load_parts(fixture.folder).codec;
    EXPECT_EQ(codec->options().pixel_range, PixelRange::unit);
    const auto latents = codec->latents(fixture.tensor("image"));
    EXPECT_TRUE(fixture.matches("vq_latents", latents));
    const auto codes = codec->quantizer->codes(latents);
    EXPECT_TRUE(codes.equal(fixture.tensor("vq_codes"))) << "codes";
    EXPECT_TRUE(fixture.matches("vq_quantized", codec->quantizer->embed(codes)));
    EXPECT_TRUE(fixture.matches("vq_reconstruction", codec->decode_latents(codec->quantizer->embed(codes))));
    const auto& codes_in = fixture.tensor("codes_in");
    const auto decoded = codec->decode_latents(codec->quantizer->embed(codes_in));
    EXPECT_TRUE(fixture.matches("vq_decoded", decoded));
    EXPECT_TRUE(fixture.matches("vq_decoded_clipped", decoded.clamp(0, 1)));
    const auto bytes = codec->decode({codes_in, codec->options().codebook_size});
    EXPECT_TRUE(fixture.matches("vq_decoded_bytes", bytes.permute({0, 2, 3, 1})));
  }
}

TEST(Parity, AmusedScheduler) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    const auto& settings = fixture.description.at("settings");
    for (const auto& pair : settings.at("schedules")) {
      const auto steps = pair.at(0).get<std::int64_t>(), cells = pair.at(1).get<std::int64_t>();
      for (const auto& [name, schedule] :
           {std::pair{"cosine", AmusedSchedule::cosine}, std::pair{"linear", AmusedSchedule::linear}}) {
        std::vector<std::int64_t> masked;
        auto unknown = cells;
        for (std::int64_t step = 1; step <= steps; ++step) {
          unknown = amused_masked_after(step, steps, cells, unknown, 1, schedule);
          masked.push_back(unknown);
        }
        const auto key = fmt::format("masked_after_step_{}_s{}_n{}", name, steps, cells);
        EXPECT_TRUE(torch::tensor(masked).equal(fixture.tensor(key))) << key;
      }
    }
    const auto steps = settings.at("temperature_steps").get<std::int64_t>();
    for (const auto& [name, first, last] : {std::tuple{"pair", 2.0, 0.0}, std::tuple{"single", 1.5, 0.01}}) {
      std::vector<double> temperatures;
      for (std::int64_t step = 1; step <= steps; ++step)
        temperatures.push_back(amused_temperature(step, steps, first, last));
      EXPECT_TRUE(
          fixture.matches(fmt::format("temperatures_{}", name), torch::tensor(temperatures).to(torch::kFloat32)));
    }
  }
}

/// The random numbers that the original drew.
class Replay : public AmusedDraws {
 public:
  Replay(const FixtureCase& fixture, const std::string& run, std::int64_t passed)
      : exponential_(fixture.tensor(run + "_exponential").to(torch::kFloat64).contiguous()),
        uniform_(fixture.tensor(run + "_uniform").to(torch::kFloat64).contiguous()),
        passed_(passed) {}

  std::vector<TokenDraw> tokens(std::int64_t step, const std::vector<std::int64_t>& cells,
                                const torch::Tensor& logits) override {
    const auto log_p = torch::log_softmax(logits.to(torch::kFloat64), -1);
    const auto noise = exponential_[step - 1 - passed_].flatten(0, 1).index_select(0, torch::tensor(cells)).log();
    const auto chosen = (log_p - noise).argmax(-1);
    auto drawn = state->tokens.clone();
    std::vector<TokenDraw> draws;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      const auto token = chosen[row].item<std::int64_t>();
      draws.push_back({token, log_p[row][token].item<double>()});
      drawn.view(-1)[cells[i]] = token;
    }
    estimates.push_back(drawn);
    return draws;
  }
  double gumbel(std::int64_t step, std::int64_t n, std::int64_t l) override {
    const double u = uniform_[step - 1 - passed_][n][l].item<double>();
    return -std::log(std::max(-std::log(std::max(u, 1e-20)), 1e-20));
  }

  FillState* state = nullptr;
  std::vector<torch::Tensor> estimates;  // what each step drew, known cells kept, [R, L]

 private:
  torch::Tensor exponential_, uniform_;  // [steps, R, L, K], [steps - 1, R, L]
  std::int64_t passed_;
};

/// A whole run: text, network, scheduler and codec, from a grid as the pipeline prepares it.
void expect_run(const FixtureCase& fixture, Parts& parts, const std::string& run, const torch::Tensor& start,
                const std::vector<AmusedPlan>& plans) {
  const torch::NoGradGuard no_grad;
  const auto& all = fixture.description.at("settings");
  const auto& settings = all.at(run);
  const auto& options = parts.network->options();
  const auto rows = start.size(0);
  const Extent extent{start.size(1), start.size(2)};
  const double scale = settings.at("guidance_scale");
  const auto crop = settings.value("crop", std::vector<double>{0, 0});
  std::vector<Condition> conditions;
  for (std::int64_t n = 0; n < rows; ++n) {
    const auto prompt = [&](const char* which) {
      return parts.text->encoded(all.at("prompts")
                                     .at(settings.at(which).at(static_cast<std::size_t>(n)).get<std::size_t>())
                                     .get<std::string>());
    };
    const auto text = prompt("prompt_rows"), null = prompt("negative_rows");
    Condition condition;
    condition.states = text.states;
    condition.pooled = text.pooled;
    condition.null_states = null.states;
    condition.null_pooled = null.pooled;
    condition.scale = scale > 1 ? scale : 1;
    condition.micro = torch::tensor({settings.at("width").get<double>(), settings.at("height").get<double>(),
                                     crop.at(0), crop.at(1), settings.value("aesthetic_score", 6.0)});
    conditions.push_back(condition);
  }
  const auto& temperature = settings.at("temperature");
  FillOptions fill;
  fill.sampler = "amused";
  fill.steps = settings.at("num_inference_steps").get<std::int64_t>();
  fill.conditions = conditions;
  UVitDenoiser denoiser(parts.network, {}, extent);
  std::vector<torch::Tensor> before{start};
  const StepCallback on_step = [&](const FillProgress& at) {
    if (at.step > plans.front().passed) before.push_back(at.tokens.clone());
    return true;
  };
  FillState state(TokenGrid(start, options.codebook_size), denoiser, fill, on_step);
  Replay replay(fixture, run, plans.front().passed);
  replay.state = &state;
  run_amused(state, replay, plans, temperature.is_array() ? temperature.at(0).get<double>() : temperature.get<double>(),
             temperature.is_array() ? temperature.at(1).get<double>() : 0.01);

  const auto codes = before.back();
  before.pop_back();
  EXPECT_TRUE(to_original(torch::stack(before), options).equal(fixture.tensor(run + "_codes_before_step"))) << run;
  EXPECT_TRUE(codes.equal(fixture.tensor(run + "_codes"))) << run;
  if (replay.estimates.size() == before.size()) {
    EXPECT_TRUE(torch::stack(replay.estimates).view_as(torch::stack(before)).equal(fixture.tensor(run + "_drawn")))
        << run;
  }
  const auto evaluator = denoiser.begin(conditions);
  const auto logits_of = [&](const torch::Tensor& tokens) {
    return classes_second(
        evaluator->logits({tokens.flatten(1), torch::arange(tokens.numel())}).view({rows, extent.h, extent.w, -1}));
  };
  EXPECT_TRUE(fixture.matches(run + "_logits_first", logits_of(before.front())));
  EXPECT_TRUE(fixture.matches(run + "_logits_last", logits_of(before.back())));
  const auto image = parts.codec->decode_latents(parts.codec->quantizer->embed(codes)).clamp(0, 1);
  EXPECT_TRUE(fixture.matches(run + "_image", image));
}

torch::Tensor codes_of(const FixtureCase& fixture, Parts& parts, const std::string& key) {
  return parts.codec->quantizer->codes(parts.codec->latents(fixture.tensor(key)));
}

TEST(Parity, AmusedTextToImage) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    auto parts = load_parts(fixture.folder);
    const auto& codes = fixture.tensor("text2img_codes");
    const auto start = torch::full(codes.sizes(), parts.network->options().codebook_size, torch::kInt64);
    expect_run(fixture, parts, "text2img", start, std::vector<AmusedPlan>(static_cast<std::size_t>(codes.size(0))));
  }
}

TEST(Parity, AmusedImageToImage) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto parts = load_parts(fixture.folder);
    const auto& settings = fixture.description.at("settings").at("img2img");
    const auto at =
        amused_start(settings.at("num_inference_steps").get<std::int64_t>(), settings.at("strength").get<double>());
    auto start = codes_of(fixture, parts, "img2img_source");
    start =
        start.masked_fill(fixture.tensor("img2img_noise_uniform") < at.masked, parts.network->options().codebook_size);
    AmusedPlan plan;
    plan.passed = at.passed;
    plan.always_masks = true;
    expect_run(fixture, parts, "img2img", start,
               std::vector<AmusedPlan>(static_cast<std::size_t>(start.size(0)), plan));
  }
}

TEST(Parity, AmusedInpainting) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto parts = load_parts(fixture.folder);
    const auto codes = codes_of(fixture, parts, "inpaint_source");
    const auto mask = torch::upsample_nearest2d(fixture.tensor("inpaint_mask_image"), {codes.size(1), codes.size(2)})
                          .squeeze(1)
                          .ge(0.5);
    AmusedPlan plan;
    plan.share = mask.to(torch::kFloat64).mean().item<double>();  // of the whole batch
    plan.schedule = AmusedSchedule::linear;
    plan.always_masks = true;
    // The pipeline's strength works as in image to image, but the schedule and the count's share are the mask's.
    const auto& settings = fixture.description.at("settings").at("inpaint");
    const auto steps = settings.at("num_inference_steps").get<std::int64_t>();
    plan.passed = amused_start(steps, settings.value("strength", 1.0)).passed;
    expect_run(fixture, parts, "inpaint", codes.masked_fill(mask, parts.network->options().codebook_size),
               std::vector<AmusedPlan>(static_cast<std::size_t>(codes.size(0)), plan));
  }
}

}  // namespace amused_parity_test
}  // namespace tessera
