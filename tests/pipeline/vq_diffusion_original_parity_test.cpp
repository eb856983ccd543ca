/// The original implementation's checkpoint, objective and samplers against its numbers, found by case.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/bundle.h"
#include "checkpoint/torch_archive.h"
#include "codec/codec.h"
#include "denoiser/guided_denoiser.h"
#include "diffusion/mask_replace.h"
#include "diffusion/objective.h"
#include "import/importers.h"
#include "prior/text_condition.h"
#include "sampling/purity.h"
#include "sampling/truncation.h"
#include "support/fixtures.h"

namespace tessera {
namespace vq_diffusion_original_parity_test {

namespace fs = std::filesystem;
using testing::FixtureCase;

torch::Tensor classes_first(const torch::Tensor& x) {
  return x.transpose(-1, -2);
}

torch::Tensor at(std::int64_t t, std::int64_t rows) {
  return torch::full({rows}, t, torch::kInt64);
}

/// [N, K - 1, L] with the MASK row of no probability that the original carries.
torch::Tensor with_mask_row(const torch::Tensor& log_p) {
  return torch::constant_pad_nd(classes_first(log_p), {0, 0, 0, 1}, kCut);
}

torch::Tensor gumbel_argmax(const torch::Tensor& log_p, const torch::Tensor& uniform) {
  const auto noise = -torch::log(-torch::log(uniform + 1e-30) + 1e-30);
  return (log_p.to(torch::kFloat32) + noise).argmax(1);
}

/// The one checkpoint of the folder.
fs::path checkpoint_of(const FixtureCase& fixture) {
  for (const auto& entry : fs::directory_iterator(fixture.folder)) {
    if (entry.path().extension() == ".pth") return entry.path();
  }
  throw std::runtime_error(fixture.name() + ": holds no .pth");
}

/// CLIP's merges, of the tokenizer's case; of the repository's copy where the root has none.
fs::path merges() {
  const auto found = testing::fixture_cases("clip-tokenizer");
  return (found.empty() ? fs::path(TESSERA_FIXTURES_DEFAULT) / "clip-tokenizer" : found.front().folder) / "merges.txt";
}

ImportedVqDiffusion import(const FixtureCase& fixture, bool averaged) {
  const auto archive = load_torch_archive(checkpoint_of(fixture));
  return import_vq_diffusion(archive.tensors("model"), averaged ? archive.tensors("ema") : TensorMap(),
                             read_taming_config(fixture.folder / "config.yaml"), {}, fixture.name());
}

struct Model {
  ImportedVqDiffusion imported;
  ConditionalTransformer network{nullptr};
  std::optional<TextCondition> text;
  torch::Tensor null_states;
  std::shared_ptr<MaskReplaceProcess> process;
};

Model model_of(const FixtureCase& fixture, bool averaged) {
  Model model;
  model.imported = import(fixture, averaged);
  const auto& denoiser = model.imported.denoiser;
  model.network = load_conditional(denoiser.config, denoiser.tensors, fixture.name());
  auto& text = *model.imported.text;
  ClipTextEncoder encoder(ClipTextOptions::from_config(text.config));
  encoder->load_hub(text.tensors, fixture.name());
  model.null_states = text.null_embedding;
  model.text.emplace(ClipTokenizer::load_merges(merges(), {}, encoder->options().vocabulary), encoder,
                     text.null_embedding);
  const auto& options = model.network->options();
  model.process = std::make_shared<MaskReplaceProcess>(
      options.codebook_size, options.total_steps,
      MaskReplaceSchedule{denoiser.scheduler.at("alpha_cum_start"), denoiser.scheduler.at("alpha_cum_end"),
                          denoiser.scheduler.at("gamma_cum_start"), denoiser.scheduler.at("gamma_cum_end")});
  model.process->set_impossible(std::log(1e-30));
  return model;
}

struct Texts {
  torch::Tensor ids, used, states;  // [N, P], [N, P] bool, [N, P, C]
};

Texts texts_of(Model& model, const nlohmann::json& prompts) {
  std::vector<torch::Tensor> ids, used, states;
  const auto length = model.text->encoder()->options().length;
  for (const auto& prompt : prompts) {
    const auto text = model.text->tokenizer().encode_padded(prompt.get<std::string>(), length);
    ids.push_back(torch::tensor(text.ids));
    used.push_back(torch::arange(length) < text.full_length);
    states.push_back(model.text->states(prompt.get<std::string>()));
  }
  return {torch::stack(ids), torch::stack(used), torch::stack(states)};
}

void expect_forward_process(const FixtureCase& fixture, const MaskReplaceProcess& process) {
  const auto t = fixture.tensor("in.t") + 1;
  const auto& x0 = fixture.tensor("in.x_0");
  const auto marginal = classes_first(process.log_marginal(x0, t));
  EXPECT_TRUE(fixture.near("fwd.log_q_xt_given_x0", marginal));
  EXPECT_TRUE(fixture.near("fwd.sample", gumbel_argmax(marginal, fixture.tensor("in.fwd_uniform"))));
  for (const auto& [key, expected] : fixture.expected) {
    if (!key.starts_with("fwd.log_q_") || key == "fwd.log_q_xt_given_x0") continue;
    // One step from in.x_t. Where that is MASK the original adds log beta to the codes; here MASK stays MASK.
    const auto& xt = fixture.tensor("in.x_t");
    const auto got = classes_first(process.log_transition(xt, t - 1, t)).clamp_min(-69);
    const auto known = (xt != process.codebook_size()).unsqueeze(1).expand(got.sizes());
    EXPECT_TRUE(torch::allclose(got.masked_select(known),
                                expected.to(torch::kFloat64).clamp_min(-69).masked_select(known), 1e-4, 1e-4))
        << key;
  }
}

/// Parameters' names as the original has them.
std::string original_name(std::string name) {
  const std::vector<std::pair<std::string, std::string>> parts = {{"latent_image_embedding.", "content_emb."},
                                                                  {"transformer_blocks.", "blocks."},
                                                                  {".norm1.", ".ln1."},
                                                                  {".norm2.", ".ln1_1."},
                                                                  {".norm3.", ".ln2."},
                                                                  {".to_q.", ".query."},
                                                                  {".to_k.", ".key."},
                                                                  {".to_v.", ".value."},
                                                                  {".to_out.0.", ".proj."},
                                                                  {".ff.net.0.proj.", ".mlp.0."},
                                                                  {".ff.net.2.", ".mlp.2."}};
  for (const auto& [from, to] : parts) {
    if (const auto found = name.find(from); found != std::string::npos) name.replace(found, from.size(), to);
  }
  if (name.starts_with("norm_out.")) name.replace(0, 9, "to_logits.0.");
  if (name.starts_with("out.")) name.replace(0, 4, "to_logits.1.");
  return name;
}

void expect_close(const FixtureCase& fixture, const std::string& key, const torch::Tensor& got) {
  if (!fixture.has(key)) return;
  // Losses: relative 1e-4.
  const auto want = fixture.tensor(key).to(torch::kFloat64).flatten();
  const auto found = got.detach().to(torch::kFloat64).flatten();
  ASSERT_EQ(want.sizes(), found.sizes()) << key;
  EXPECT_LE(((found - want).abs() / want.abs().clamp_min(1e-6)).max().item<double>(), 1e-4) << key << "\n"
                                                                                            << found << want;
}

void expect_objective(const FixtureCase& fixture, const std::string& name, const MaskReplaceProcess& process,
                      const ObjectiveOptions& options, const torch::Tensor& log_p, const torch::Tensor& p_t,
                      ObjectiveTerms* kept = nullptr) {
  SCOPED_TRACE(name);
  const auto t = fixture.tensor("in.t") + 1;
  const auto terms = objective(process, options, fixture.tensor("in.x_0"), fixture.tensor("in.x_t"), log_p, t, p_t);
  const auto near = [&](const std::string& key, const torch::Tensor& got) {
    if (fixture.has(name + "." + key)) {
      EXPECT_TRUE(fixture.near(name + "." + key, got));
    }
  };
  near("log_true_prob", classes_first(terms.log_true));
  near("log_model_prob", classes_first(terms.log_model));
  near("kl_per_cell", terms.kl_cells);
  near("decoder_nll_per_cell", terms.nll_cells);
  near("kl_aux_per_cell", terms.auxiliary_cells);
  near("mask_weight_per_cell", terms.weights);
  const auto first = t == 1;
  expect_close(fixture, name + ".decoder_nll", terms.nll);
  expect_close(fixture, name + ".kl", terms.kl);
  expect_close(fixture, name + ".kl_loss", terms.bound);
  expect_close(fixture, name + ".kl_aux", terms.auxiliary);
  expect_close(fixture, name + ".kl_aux_loss", torch::where(first, terms.nll, terms.auxiliary));
  expect_close(fixture, name + ".pt", p_t);
  expect_close(fixture, name + ".vb_loss", terms.loss);
  expect_close(fixture, name + ".loss", terms.mean().view({1}));
  if (fixture.has(name + ".Lt_history_after")) {
    auto history = fixture.tensor("in.Lt_history").clone();
    auto count = fixture.tensor("in.Lt_count").clone();
    const auto index = fixture.tensor("in.t");
    history.index_put_({index}, 0.1 * terms.bound.detach().square() + 0.9 * history.index_select(0, index));
    count.index_add_(0, index, torch::ones({index.size(0)}));
    EXPECT_TRUE(fixture.near(name + ".Lt_history_after", history, 1e-3));
    EXPECT_TRUE(fixture.near(name + ".Lt_count_after", count));
  }
  if (kept) *kept = terms;
}

TEST(Parity, VqDiffusionOriginalTraining) {
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-original") {
    SCOPED_TRACE(fixture.name());
    auto model = model_of(fixture, false);
    const auto& hyper = fixture.hyperparameters();
    const auto& settings = fixture.description.at("settings");
    expect_forward_process(fixture, *model.process);

    const auto texts = texts_of(model, settings.at("texts"));
    EXPECT_TRUE(fixture.near("cond.tokens", texts.ids));
    EXPECT_TRUE(fixture.near("cond.mask", texts.used));
    auto null = model.null_states.clone().requires_grad_();
    const auto empty = (texts.ids.select(1, 2) == ClipTokenizer::kPadding).view({-1, 1, 1});
    const auto states = torch::where(empty, null.unsqueeze(0), texts.states);
    EXPECT_TRUE(fixture.near("cond.embedding_used", states));

    const auto t = fixture.tensor("in.t") + 1;
    model.network->zero_grad();
    const auto logits = model.network->forward(fixture.tensor("in.x_t"), t, {states, {}, {}, {}});
    EXPECT_TRUE(fixture.near("train.logits", classes_first(logits)));
    const auto log_p = log_x0(logits);
    EXPECT_TRUE(fixture.near("train.log_x0_recon", with_mask_row(log_p)));

    ObjectiveOptions options;
    options.auxiliary_weight = hyper.at("auxiliary_loss_weight");
    options.adaptive = hyper.at("adaptive_auxiliary_loss");
    options.mask_weight = hyper.at("mask_weight").at(0);
    options.kept_weight = hyper.at("mask_weight").at(1);
    const auto uniform = torch::full({t.size(0)}, 1.0 / static_cast<double>(model.process->total_steps()));
    ObjectiveTerms terms;
    expect_objective(fixture, "train", *model.process, options, log_p, uniform, &terms);
    if (fixture.has("train.addition_loss_weight")) {
      const auto pace = 2 - fixture.tensor("in.t") / static_cast<double>(model.process->total_steps());
      // Only the adaptive auxiliary loss has a weight that falls with time.
      EXPECT_TRUE(fixture.near("train.addition_loss_weight", options.adaptive ? pace : torch::ones_like(pace)));
    }

    const auto importance = importance_of_times(fixture.tensor("in.Lt_history"));
    if (fixture.has("train2.pt_all")) {
      EXPECT_TRUE(fixture.near("train2.pt_all", importance));
    }
    auto second = options;
    const auto& other = settings.at("train2");
    second.auxiliary_weight = other.at("auxiliary_loss_weight");
    second.adaptive = other.at("adaptive_auxiliary_loss");
    second.mask_weight = other.at("mask_weight").at(0);
    second.kept_weight = other.at("mask_weight").at(1);
    expect_objective(fixture, "train2", *model.process, second, log_p,
                     importance.index_select(0, fixture.tensor("in.t")));
    auto third = options;
    third.auxiliary_weight = 0;
    expect_objective(fixture, "train3", *model.process, third, log_p, uniform);

    terms.mean().backward();
    const auto gradients = load_safetensors(fixture.folder / "expected_gradients.safetensors");
    const auto norms = fixture.description.at("gradients").at("norms");
    std::map<std::string, torch::Tensor> found = {{"empty_text_embed", null.grad()}};
    for (const auto& item : model.network->named_parameters()) {
      found["transformer." + original_name(item.key())] = item.value().grad();
    }
    std::int64_t compared = 0;
    for (const auto& [key, want] : gradients) {
      const auto own = found.find(key.substr(std::string("train.grad.").size()));
      ASSERT_NE(own, found.end()) << key;
      ASSERT_EQ(own->second.sizes(), want.sizes()) << key;
      // Of what is zero but for rounding (the bias of the keys) nothing can be compared.
      const double largest = std::max(want.abs().max().item<double>(), 1e-4);
      EXPECT_LE((own->second - want).abs().max().item<double>(), 1e-3 * largest) << key;
      ++compared;
    }
    EXPECT_EQ(compared, static_cast<std::int64_t>(gradients.size()));
    for (const auto& [name, norm] : norms.items()) {
      ASSERT_TRUE(found.count(name)) << name;
      EXPECT_NEAR(found.at(name).norm().item<double>(), norm.get<double>(), 1e-3 * norm.get<double>() + 1e-6) << name;
    }
  }
}

/// "top0.86r" and "top5p".
torch::Tensor truncated(const torch::Tensor& log_p, const std::string& type) {
  const auto number = type.substr(3, type.size() - 4);
  return type.back() == 'r' ? keep_rate(log_p, std::stod(number)) : keep_count(log_p, std::stoll(number));
}

/// What the original's samplers do, with this library's parts.
class Sampler {
 public:
  Sampler(const FixtureCase& fixture, Model& model)
      : fixture_(fixture),
        model_(model),
        states_(texts_of(model, fixture.description.at("settings").at("sample_texts")).states),
        scale_(fixture.description.at("settings").at("guidance_scale")),
        type_(fixture.description.at("settings").at("sample_type")) {}

  torch::Tensor plain(const torch::Tensor& tokens, std::int64_t time, const torch::Tensor& states) {
    return log_x0(model_.network->forward(tokens, at(time + 1, 1), {states, {}, {}, {}}));
  }
  torch::Tensor guided_at(const torch::Tensor& tokens, std::int64_t time, const torch::Tensor& null) {
    return guided(plain(tokens, time, null.unsqueeze(0)), plain(tokens, time, states_), scale_);
  }
  torch::Tensor start(const torch::Tensor& tokens, std::int64_t time) {
    return truncated(guided_at(tokens, time, model_.null_states), type_);
  }
  /// The posterior that sample_fast uses: the ordinary step at time - skip, or at time where that would be below 1.
  torch::Tensor step(const torch::Tensor& tokens, std::int64_t time, std::int64_t skip) {
    const auto rows = tokens.size(0);
    const auto t = (time > skip ? time - skip : time) + 1;
    const auto log_p = start(tokens, time).to(torch::kFloat64);
    return classes_first(model_.process->log_reverse(tokens, log_p, at(t - 1, rows), at(t, rows))).clamp(kCut, 0);
  }
  const torch::Tensor& states() const { return states_; }
  const std::string& type() const { return type_; }

 private:
  const FixtureCase& fixture_;
  Model& model_;
  torch::Tensor states_;
  double scale_;
  std::string type_;
};

void expect_runs(const FixtureCase& fixture, Model& model, Sampler& sampler, Codec& codec) {
  const auto& settings = fixture.description.at("settings");
  const auto rows = sampler.states().size(0), cells = model.network->options().grid.cells();
  const auto codes = model.process->codebook_size(), total = model.process->total_steps();
  const auto run = [&](const std::vector<std::int64_t>& times, std::int64_t skip, const torch::Tensor& uniforms,
                       torch::Tensor& first, torch::Tensor& last) {
    auto tokens = torch::full({rows, cells}, codes, torch::kInt64);
    std::vector<torch::Tensor> trace;
    for (std::size_t i = 0; i < times.size(); ++i) {
      last = sampler.step(tokens, times[i], skip);
      if (i == 0) first = last;
      tokens = gumbel_argmax(last, uniforms[static_cast<std::int64_t>(i)]);
      trace.push_back(tokens);
    }
    return torch::stack(trace);
  };
  const auto skip = settings.at("fast_skip_step").get<std::int64_t>();
  std::vector<std::int64_t> times, every;
  for (auto t = total - 1; t >= 0; --t) every.push_back(t);
  for (auto t = total - 1; t >= 0; t -= 1 + skip) times.push_back(t);
  if (times.back() != 0) times.push_back(0);
  EXPECT_TRUE(fixture.near("fast.timesteps", torch::tensor(times)));
  torch::Tensor first, last;
  const auto fast = run(times, skip, fixture.tensor("in.fast_uniform"), first, last);
  EXPECT_TRUE(fixture.near("fast.log_prob_first", first));
  EXPECT_TRUE(fixture.near("fast.log_prob_last", last));
  EXPECT_TRUE(fixture.near("fast.tokens", fast));
  const auto grid = fast[-1].view({rows, model.network->options().grid.h, model.network->options().grid.w});
  const auto pixels = codec->decode_latents(codec->quantizer->embed(grid)).clamp(-1, 1).add(1).div(2).mul(255);
  EXPECT_LE((pixels - fixture.tensor("fast.image")).abs().max().item<double>(), 255 * 2e-4);
  const auto plain = run(every, 0, fixture.tensor("in.plain_uniform"), first, last);
  EXPECT_TRUE(fixture.near("plain.log_prob_last", last));
  EXPECT_TRUE(fixture.near("plain.tokens", plain));
}

void expect_prior(const FixtureCase& fixture, Model& model, Sampler& sampler) {
  const auto& cases = fixture.description.at("settings").at("prior_cases");
  const auto& latents = fixture.tensor("in.latents");
  const auto codes = model.process->codebook_size();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto& setting = cases[i];
    const auto name = fmt::format("prior{}.", i);
    SCOPED_TRACE(name);
    const auto log_p = sampler.start(latents, setting.at("t").get<std::int64_t>());
    EXPECT_TRUE(fixture.near(name + "log_x_recon", with_mask_row(log_p)));
    const bool pure = setting.at("prior_rule") == 2;
    const double weight = setting.at("prior_weight");
    const auto score = pure ? purity_scores(log_p) : torch::ones(latents.sizes());
    EXPECT_TRUE(fixture.near(name + "score", score));
    // The original takes the softmax over the MASK row, too.
    const auto sharp = pure && weight > 0 ? sharpened(log_p, score, weight) : log_p;
    EXPECT_TRUE(fixture.near(name + "log_prob_x0", with_mask_row(sharp)));
    EXPECT_TRUE(fixture.near(name + "position_weight", cell_weights(score, latents == codes)));
    const auto drawn =
        gumbel_argmax(with_mask_row(sharp), fixture.tensor("in.prior_uniform")[static_cast<std::int64_t>(i)]);
    auto tokens = latents.clone();
    std::vector<std::int64_t> sampled;
    for (std::int64_t n = 0; n < latents.size(0); ++n) {
      const auto done = setting.at("sampled").at(static_cast<std::size_t>(n)).get<std::int64_t>();
      const auto count = cells_to_unmask(setting.at("to_sample"), done, setting.at("prior_ps"));
      const auto masked = (latents[n] == codes).sum().item<std::int64_t>();
      const auto selected = fixture.tensor("in." + name + "selected_count")[n].item<std::int64_t>();
      EXPECT_EQ(std::min(count, masked), selected) << "sample " << n;
      for (std::int64_t j = 0; j < selected; ++j) {
        const auto cell = fixture.tensor("in." + name + "selected")[n][j].item<std::int64_t>();
        EXPECT_EQ(latents[n][cell].item<std::int64_t>(), codes);
        tokens[n][cell] = drawn[n][cell];
      }
      sampled.push_back(done + selected);
    }
    EXPECT_TRUE(fixture.near(name + "tokens", tokens));
    EXPECT_TRUE(fixture.near(name + "sampled_after", torch::tensor(sampled)));
  }
}

TEST(Parity, VqDiffusionOriginalSampling) {
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-original") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto model = model_of(fixture, true);
    const auto& settings = fixture.description.at("settings");
    const auto texts = texts_of(model, settings.at("sample_texts"));
    EXPECT_TRUE(fixture.near("samp.cond_tokens", texts.ids));
    EXPECT_TRUE(fixture.near("samp.cond_embedding", texts.states));
    Sampler sampler(fixture, model);
    const auto& latents = fixture.tensor("in.latents");
    std::map<std::string, std::vector<torch::Tensor>> found;
    const auto rows = latents.size(0);
    for (const auto& value : settings.at("timesteps")) {
      const auto time = value.get<std::int64_t>();
      const auto mixed = sampler.guided_at(latents, time, model.null_states);
      found["recon.plain"].push_back(with_mask_row(sampler.plain(latents, time, sampler.states())));
      found["recon.guided"].push_back(with_mask_row(mixed));
      found["recon.guided_with_empty_prompt"].push_back(
          with_mask_row(sampler.guided_at(latents, time, model.text->states(""))));
      found["recon.guided_truncated"].push_back(with_mask_row(truncated(mixed, sampler.type())));
      found["recon.guided_topk"].push_back(with_mask_row(truncated(mixed, settings.at("sample_type_topk"))));
      const auto log_p = truncated(mixed, sampler.type()).to(torch::kFloat64);
      found["post.log_prob"].push_back(
          classes_first(model.process->log_reverse(latents, log_p, at(time, rows), at(time + 1, rows))).clamp(kCut, 0));
    }
    for (const auto& pair : settings.at("strided")) {
      found["strided.log_prob"].push_back(sampler.step(latents, pair.at(0), pair.at(1)));
    }
    for (const auto& [key, values] : found) EXPECT_TRUE(fixture.near(key, torch::stack(values)));

    Codec codec(codec_options_from_json(model.imported.codec->config));
    codec->load(model.imported.codec->tensors, fixture.name());
    codec->eval();
    expect_runs(fixture, model, sampler, codec);
    expect_prior(fixture, model, sampler);
  }
}

TEST(Parity, VqDiffusionOriginalCodec) {
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-original-vqvae") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    ImportOptions options;
    options.image_size = fixture.tensor("in.image_u8").size(-1);
    const auto imported = import_checkpoint(checkpoint_of(fixture), options);
    EXPECT_EQ(imported.importer, "vq-diffusion-vqvae");
    ASSERT_TRUE(imported.codec);
    Codec codec(codec_options_from_json(imported.codec->config));
    codec->load(imported.codec->tensors, fixture.name());
    codec->eval();
    EXPECT_TRUE(fixture.near("codec.latents", codec->latents(codec->to_network_range(fixture.tensor("in.image_u8")))));
    const auto grid = codec->encode(fixture.tensor("in.image_u8"));
    EXPECT_TRUE(fixture.near("codec.tokens", grid.flat()));
    const auto floats = [&](const torch::Tensor& codes) {
      return codec->decode_latents(codec->quantizer->embed(codes)).clamp(-1, 1).add(1).div(2).mul(255);
    };
    // Values up to 255: the tolerance of the network's own range.
    EXPECT_LE((floats(grid.codes()) - fixture.tensor("codec.decoded")).abs().max().item<double>(), 255 * 2e-4);
    const auto shape = grid.codes().sizes();
    const auto codes = fixture.tensor("in.codes").view({-1, shape[1], shape[2]});
    EXPECT_LE((floats(codes) - fixture.tensor("codec.codes_decoded")).abs().max().item<double>(), 255 * 2e-4);
    // Bytes are cut off; where the float lies within rounding of an integer either side is right.
    const auto bytes = codec->decode(grid).permute({0, 2, 3, 1});
    const auto want = fixture.tensor("codec.decoded_u8");
    const auto value = fixture.tensor("codec.decoded").permute({0, 2, 3, 1});
    const auto clear = (value - value.round()).abs() > 0.05;
    EXPECT_TRUE(bytes.masked_select(clear).equal(want.masked_select(clear)));
    EXPECT_LE((bytes.to(torch::kInt64) - want.to(torch::kInt64)).abs().max().item<std::int64_t>(), 1);
  }
}

}  // namespace vq_diffusion_original_parity_test
}  // namespace tessera
