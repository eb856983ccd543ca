/// A released pipeline folder against the numbers of the hub's pipeline, found by case.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "checkpoint/bundle.h"
#include "checkpoint/torch_archive.h"
#include "codec/codec.h"
#include "denoiser/guided_denoiser.h"
#include "diffusion/mask_replace.h"
#include "diffusion/processes.h"
#include "pipeline/pipeline.h"
#include "prior/text_condition.h"
#include "sampling/truncation.h"
#include "support/fixtures.h"
#include "support/scratch.h"

namespace tessera {
namespace vq_diffusion_pipeline_parity_test {

namespace fs = std::filesystem;
using testing::FixtureCase;

/// [.., L, K] to the fixtures' [.., K, L].
torch::Tensor classes_first(const torch::Tensor& x) {
  return x.transpose(-1, -2);
}

torch::Tensor gumbel_argmax(const torch::Tensor& log_p, const torch::Tensor& uniform) {
  const auto noise = -torch::log(-torch::log(uniform + 1e-30) + 1e-30);
  return (log_p.to(torch::kFloat32) + noise).argmax(1);  // [N, K, L] to [N, L]
}

torch::Tensor at(std::int64_t t, std::int64_t rows) {
  return torch::full({rows}, t, torch::kInt64);
}

/// A copy of the folder in which every part has only the weights of one kind.
fs::path with_weights(const FixtureCase& fixture, const std::string& ending) {
  const auto copy = testing::scratch_folder("pipeline");
  fs::copy(fixture.folder, copy, fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(copy)) {
    const auto name = entry.path().filename().string();
    const bool weights = name.ends_with(".safetensors") || name.ends_with(".bin");
    const bool expected = entry.path().parent_path() == copy;
    if (weights && !expected && !name.ends_with(ending)) fs::remove(entry.path());
  }
  return copy;
}

/// Whether every part has weights of this kind.
bool has_weights(const FixtureCase& fixture, const std::string& ending) {
  for (const char* part : {"vqvae", "transformer", "text_encoder"}) {
    bool found = false;
    for (const auto& entry : fs::directory_iterator(fixture.folder / part)) {
      found = found || entry.path().filename().string().ends_with(ending);
    }
    if (!found) return false;
  }
  return true;
}

struct Parts {
  Bundle bundle;
  Codec codec{nullptr};
  ConditionalTransformer network{nullptr};
  std::optional<TextCondition> text;
  std::shared_ptr<MaskReplaceProcess> process;
};

Parts load_parts(const fs::path& folder) {
  Parts parts;
  parts.bundle = load_bundle(folder);
  parts.codec = Codec(codec_options_from_json(parts.bundle.codec->config));
  parts.codec->load(parts.bundle.codec->tensors, "vqvae");
  parts.codec->eval();
  parts.network = load_conditional(parts.bundle.denoiser->config, parts.bundle.denoiser->tensors, "transformer");
  parts.text = TextCondition::load(parts.bundle, folder.string());
  const auto& options = parts.network->options();
  const auto& config = *parts.bundle.scheduler;
  EXPECT_EQ(make_process(config, options.codebook_size, options.total_steps, {}, "scheduler").name, "mask-and-replace");
  parts.process = std::make_shared<MaskReplaceProcess>(
      options.codebook_size, options.total_steps,
      MaskReplaceSchedule{config.at("alpha_cum_start"), config.at("alpha_cum_end"), config.at("gamma_cum_start"),
                          config.at("gamma_cum_end")});
  parts.process->set_impossible(std::log(1e-30));
  return parts;
}

void expect_codec(const FixtureCase& fixture, Parts& parts) {
  auto& codec = *parts.codec;
  const auto pixels = codec.to_network_range(fixture.tensor("in.image_u8"));
  EXPECT_TRUE(fixture.near("vae.image", pixels));
  const auto latents = codec.latents(pixels);
  EXPECT_TRUE(fixture.near("vae.latents", latents));
  const auto grid = codec.encode(fixture.tensor("in.image_u8"));
  EXPECT_TRUE(fixture.near("vae.indices", grid.flat()));
  EXPECT_TRUE(fixture.near("vae.reconstruction", codec.decode_latents(codec.quantizer->embed(grid.codes()))));
  const auto codes = fixture.tensor("in.codes").view(grid.codes().sizes());
  EXPECT_TRUE(fixture.near("vae.codes_embedding", codec.quantizer->embed(codes)));
  EXPECT_TRUE(fixture.near("vae.codes_decoded", codec.decode_latents(codec.quantizer->embed(codes))));
  const auto bytes = codec.decode(TokenGrid(codes, codec.options().codebook_size));
  EXPECT_TRUE(fixture.near("vae.codes_decoded_u8", bytes.permute({0, 2, 3, 1})));
}

torch::Tensor prompt_states(const FixtureCase& fixture, Parts& parts) {
  std::vector<torch::Tensor> states;
  for (const auto& prompt : fixture.description.at("settings").at("prompts")) {
    states.push_back(parts.text->states(prompt.get<std::string>()));
  }
  return torch::stack(states);
}

void expect_denoiser(const FixtureCase& fixture, Parts& parts) {
  const auto& latents = fixture.tensor("in.latents");
  const auto rows = latents.size(0);
  const auto states = prompt_states(fixture, parts);
  EXPECT_TRUE(fixture.near("text.prompt_embeds", states));
  EXPECT_TRUE(fixture.near("text.negative_prompt_embeds", parts.text->null_states()));
  const auto null = parts.text->null_states().unsqueeze(0);
  EXPECT_TRUE(fixture.near("text.cfg_batch", torch::cat({null.expand({2, -1, -1}), states.narrow(0, 1, 2)})));

  const auto times = fixture.description.at("settings").at("transformer_timesteps").get<std::vector<std::int64_t>>();
  const double scale = fixture.description.at("settings").at("guidance_scale");
  const double rate = fixture.description.at("settings").at("truncation_rate");
  std::vector<torch::Tensor> conditional, unconditional, mixed, kept, cut;
  for (const auto time : times) {
    const auto run = [&](const torch::Tensor& condition) {
      const auto logits = parts.network->forward(latents, at(time + 1, 1), {condition, {}, {}, {}});
      const auto each = parts.network->forward(latents, at(time + 1, rows), {condition, {}, {}, {}});
      EXPECT_TRUE(torch::allclose(each, logits, 1e-5, 1e-5));  // a time for the batch is a time for every row
      return torch::log_softmax(logits.to(torch::kFloat64), -1).to(torch::kFloat32);
    };
    conditional.push_back(run(states.narrow(0, 1, rows)));
    unconditional.push_back(run(null));
    mixed.push_back(guided(unconditional.back(), conditional.back(), scale));
    cut.push_back(keep_rate(mixed.back(), rate));
    kept.push_back(cut.back() > kCut);
  }
  EXPECT_TRUE(fixture.near("tr.log_p_cond", classes_first(torch::stack(conditional))));
  EXPECT_TRUE(fixture.near("tr.log_p_uncond", classes_first(torch::stack(unconditional))));
  EXPECT_TRUE(fixture.near("cfg.log_p", classes_first(torch::stack(mixed))));
  EXPECT_TRUE(fixture.near("trunc.keep", classes_first(torch::stack(kept))));
  EXPECT_TRUE(fixture.near("trunc.log_p_clamped", classes_first(torch::stack(cut))));

  TensorMap inner;
  parts.network->record(&inner);
  (void)parts.network->forward(latents.narrow(0, 1, 1), at(times.at(1) + 1, 1), {states.narrow(0, 2, 1), {}, {}, {}});
  parts.network->record(nullptr);
  std::int64_t compared = 0;
  for (const auto& [key, expected] : fixture.expected) {
    const std::string prefix = "tr.act.";
    if (!key.starts_with(prefix)) continue;
    const auto found = inner.find(key.substr(prefix.size()));
    ASSERT_NE(found, inner.end()) << key;
    EXPECT_TRUE(fixture.near(key, found->second));
    ++compared;
  }
  EXPECT_GT(compared, 5);
}

void expect_process(const FixtureCase& fixture, Parts& parts) {
  auto& process = *parts.process;
  const auto total = process.total_steps(), codes = process.codebook_size();
  std::map<std::string, std::vector<double>> table;
  const auto put = [&](const std::string& kind, const MaskReplaceProcess::Step& step) {
    table["log_" + kind + "at"].push_back(std::log(step.alpha));
    table["log_" + kind + "bt"].push_back(std::log(step.beta));
    table["log_" + kind + "ct"].push_back(std::log(step.gamma));
    table["log_1_min_" + kind + "ct"].push_back(std::log(1 - step.gamma));
  };
  for (std::int64_t t = 1; t <= total; ++t) {
    put("", process.step(t - 1, t));
    put("cumprod_", process.step(0, t));
  }
  put("cumprod_", process.step(0, 0));  // the reference keeps time -1 at the end
  for (const auto& [name, values] : table) {
    const auto got = torch::tensor(values, torch::kFloat64);
    for (const auto& key : {"sched." + name, "sched.f64." + name}) {
      if (!fixture.has(key)) continue;
      const auto& want = fixture.tensor(key);
      ASSERT_EQ(want.sizes(), got.sizes()) << key;
      EXPECT_TRUE(got.isinf().equal(want.isinf())) << key;
      EXPECT_LT((got - want.to(torch::kFloat64)).nan_to_num(0).abs().max().item<double>(), 1e-6) << key;
    }
  }

  const auto& latents = fixture.tensor("in.latents");
  const auto rows = latents.size(0);
  const auto times = fixture.description.at("settings").at("posterior_timesteps").get<std::vector<std::int64_t>>();
  std::vector<torch::Tensor> posteriors, sampled, before;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto t = times[i] + 1;
    std::vector<torch::Tensor> both;
    for (std::int64_t input = 0; input < fixture.tensor("post.log_p_x_0").size(0); ++input) {
      const auto log_p = fixture.tensor("post.log_p_x_0")[input].transpose(1, 2).to(torch::kFloat64);
      both.push_back(classes_first(process.log_reverse(latents, log_p, at(t - 1, rows), at(t, rows))));
    }
    posteriors.push_back(torch::stack(both));
    // The hub's step draws from p(x_0) itself at its last time.
    const auto last = torch::constant_pad_nd(fixture.tensor("post.log_p_x_0")[1], {0, 0, 0, 1},
                                             -std::numeric_limits<double>::infinity());
    before.push_back(t == 1 ? last : both.back().to(torch::kFloat32));
    sampled.push_back(gumbel_argmax(before.back(), fixture.tensor("in.step_uniform")[static_cast<std::int64_t>(i)]));
  }
  EXPECT_TRUE(fixture.near("post.diffusers", torch::stack(posteriors)));
  EXPECT_TRUE(fixture.near("post.original", torch::stack(posteriors).clamp(-70, 0)));
  EXPECT_TRUE(fixture.near("step.log_prob_before_gumbel", torch::stack(before)));
  EXPECT_TRUE(fixture.near("step.sample", torch::stack(sampled)));
  EXPECT_EQ(codes, fixture.description.at("mask_index").get<std::int64_t>());
}

/// A whole run of the hub's pipeline with the fixture's random numbers, through the denoiser that `fill` uses.
void expect_run(const FixtureCase& fixture, Parts& parts, const std::string& name) {
  const auto& settings = fixture.description.at("settings").at(name);
  const auto prompts = settings.at("prompts").get<std::vector<std::string>>();
  const auto steps = settings.at("num_inference_steps").get<std::int64_t>();
  const double scale = settings.at("guidance_scale"), rate = settings.at("truncation_rate");
  const auto rows = static_cast<std::int64_t>(prompts.size());
  const auto cells = parts.network->options().grid.cells(), codes = parts.process->codebook_size();
  GuidedDenoiser denoiser(parts.network);
  std::vector<Condition> conditions;  // one for each prompt
  for (const auto& prompt : prompts)
    conditions.push_back({parts.text->states(prompt), parts.text->null_states(), -1, -1, scale});
  const auto evaluator = denoiser.begin(conditions);
  auto tokens = torch::full({rows, cells}, codes, torch::kInt64);
  std::vector<torch::Tensor> trace, outputs;
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto t = steps - i;  // without striding, as the hub's pipeline
    std::vector<torch::Tensor> found;
    for (std::int64_t n = 0; n < rows; ++n) {
      found.push_back(evaluator->logits({tokens.narrow(0, n, 1), torch::arange(cells), at(t, 1), {n}}));
    }
    const auto log_p = keep_rate(torch::stack(found), rate).clamp_min(kCut);
    outputs.push_back(classes_first(log_p));
    if (t == 1) {
      tokens = gumbel_argmax(classes_first(log_p), fixture.tensor("in." + name + ".uniform_t0"));
    } else {
      const auto posterior =
          parts.process->log_reverse(tokens, log_p.to(torch::kFloat64), at(t - 1, rows), at(t, rows));
      tokens = gumbel_argmax(classes_first(posterior), fixture.tensor("in." + name + ".uniform")[i]);
    }
    trace.push_back(tokens);
  }
  EXPECT_TRUE(fixture.near(name + ".model_output_first", outputs.front()));
  EXPECT_TRUE(fixture.near(name + ".model_output_last", outputs.back()));
  EXPECT_TRUE(fixture.near(name + ".tokens", torch::stack(trace)));
  const auto grid = tokens.view({rows, parts.network->options().grid.h, parts.network->options().grid.w});
  const auto image = parts.codec->decode_latents(parts.codec->quantizer->embed(grid)).mul(0.5).add(0.5).clamp(0, 1);
  EXPECT_TRUE(fixture.near(name + ".image", image.permute({0, 2, 3, 1})));
  EXPECT_TRUE(fixture.near(name + ".image_u8", parts.codec->decode(TokenGrid(grid, codes)).permute({0, 2, 3, 1})));
}

TEST(Parity, VqDiffusionPipeline) {
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-pipeline") {
    const torch::NoGradGuard no_grad;
    std::int64_t kinds = 0;
    for (const char* ending : {".safetensors", ".bin"}) {
      SCOPED_TRACE(fixture.name() + " " + ending);
      if (!has_weights(fixture, ending)) continue;
      ++kinds;
      const auto folder = with_weights(fixture, ending);
      auto parts = load_parts(folder);
      expect_codec(fixture, parts);
      expect_denoiser(fixture, parts);
      expect_process(fixture, parts);
      for (const auto& [name, value] : fixture.description.at("settings").items()) {
        if (value.is_object() && value.contains("num_inference_steps")) expect_run(fixture, parts, name);
      }
      fs::remove_all(folder);
    }
    EXPECT_GT(kinds, 0) << fixture.name() << ": no weights";
  }
}

TEST(Parity, VqDiffusionPipelineInHalfPrecision) {
  // The learned embedding is there in three precisions; each is the float32 one rounded to nearest even.
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-pipeline") {
    SCOPED_TRACE(fixture.name());
    const auto folder = fixture.folder / "learned_classifier_free_sampling_embeddings";
    const auto& full = fixture.tensor("text.negative_prompt_embeds");
    std::int64_t files = 0;
    for (const auto& [variant, type] : {std::pair{"fp16", torch::kFloat16}, std::pair{"bf16", torch::kBFloat16}}) {
      for (const char* ending : {"safetensors", "bin"}) {
        const auto file = folder / fmt::format("diffusion_pytorch_model.{}.{}", variant, ending);
        if (!fs::exists(file)) continue;
        ++files;
        const auto copy = testing::scratch_folder("half");
        fs::copy(fixture.folder, copy, fs::copy_options::recursive);
        for (const auto& entry : fs::directory_iterator(copy / folder.filename())) {
          const auto name = entry.path().filename();
          if (name != file.filename() && name != "config.json") fs::remove(entry.path());
        }
        auto text = TextCondition::load(load_bundle(copy), "half");
        EXPECT_TRUE(text.null_states().equal(full.to(type).to(torch::kFloat32))) << file;
        fs::remove_all(copy);
      }
    }
    if (!std::getenv("TESSERA_FIXTURES")) {
      EXPECT_GT(files, 0) << "the repository's case has them";
    }
  }
}

TEST(Parity, VqDiffusionPipelineFillsAndDecodes) {
  // The same folder through the public interface: any prompt, any batch, the same picture for an image's number.
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-pipeline") {
    SCOPED_TRACE(fixture.name());
    auto pipeline = Pipeline::load(fixture.folder);
    EXPECT_EQ(pipeline.condition(), "text");
    EXPECT_EQ(pipeline.process(), "mask-and-replace");
    const auto prompts = fixture.description.at("settings").at("prompts").get<std::vector<std::string>>();
    FillOptions options;
    options.steps = 10;
    options.draw.top_p = 0.86;
    options.conditions = {pipeline.condition_for({prompts.at(1), "", -1, 3.0})};
    const auto together = pipeline.generate(3, options);
    EXPECT_EQ(together.grid.masked_cells(), 0);
    EXPECT_EQ(together.report.steps, std::min<std::int64_t>(10, pipeline.total_steps()));
    options.first_image = 2;
    EXPECT_TRUE(pipeline.generate(1, options).grid.codes().equal(together.grid.codes().narrow(0, 2, 1)));
    options.conditions = {pipeline.condition_for({prompts.at(1), prompts.at(2), -1, 3.0})};
    EXPECT_FALSE(pipeline.generate(1, options).grid.codes().equal(together.grid.codes().narrow(0, 2, 1)));
    // A larger canvas goes through windows, and a partly kept grid keeps its cells.
    const auto own = pipeline.prior_network().grid;
    options.first_image = 0;
    const auto wide =
        pipeline.fill(TokenGrid::all_masked(1, {own.h, own.w + 2}, pipeline.prior().codebook_size()), options);
    EXPECT_EQ(wide.grid.masked_cells(), 0);
    auto partly = together.grid.codes().narrow(0, 0, 1).clone();
    partly.narrow(1, 0, 1).fill_(pipeline.prior().codebook_size());
    const auto filled = pipeline.fill(TokenGrid(partly, pipeline.prior().codebook_size()), options).grid.codes();
    EXPECT_TRUE(filled.narrow(1, 1, own.h - 1).equal(partly.narrow(1, 1, own.h - 1)));
    for (const char* sampler : {"confidence", "purity", "raster"}) {
      options.sampler = sampler;
      EXPECT_EQ(pipeline.generate(1, options).grid.masked_cells(), 0) << sampler;
    }
  }
}

}  // namespace vq_diffusion_pipeline_parity_test
}  // namespace tessera
