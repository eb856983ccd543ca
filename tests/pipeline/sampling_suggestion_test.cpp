/// What a bundle suggests, and when it counts.
#include "prior/sampling_suggestion.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "codec/codec.h"
#include "denoiser/transformer.h"
#include "pipeline/sampling_choice.h"
#include "runtime/error.h"
#include "support/scratch.h"

namespace tessera {
namespace sampling_suggestion_test {

nlohmann::json scheduler_with(const nlohmann::json& sampling) {
  return {{"_class_name", "TesseraProcess"},
          {"tessera", {{"format", 1}, {"process", "absorbing"}, {"total_steps", 4}, {"sampling", sampling}}}};
}

TEST(SamplingSuggestion, ReadsWhatIsThereAndNamesWhatIsWrong) {
  const auto read = [](const nlohmann::json& sampling) {
    return suggestion_from_config(scheduler_with(sampling), "model/scheduler");
  };
  const auto all = read({{"sampler", "confidence"},
                         {"steps", 3},
                         {"temperature", 0.9},
                         {"context_guidance", 1.5},
                         {"guidance_scale", 2.5}});
  EXPECT_EQ(all.get<std::string>("sampler"), "confidence");
  EXPECT_EQ(all.get<std::int64_t>("steps"), 3);
  EXPECT_EQ(all.get<double>("temperature"), 0.9);
  EXPECT_EQ(all.get<double>("context_guidance"), 1.5);
  EXPECT_EQ(all.get<double>("cfg_scale"), 2.5);
  // What a sampler added can be suggested as well.
  EXPECT_EQ(read({{"sampler", "masked"}, {"order", "halton"}}).get<std::string>("order"), "halton");
  const auto none = suggestion_from_config({{"_class_name", "TesseraProcess"}}, "model/scheduler");
  EXPECT_TRUE(none.empty());
  for (const auto& [sampling, says] : std::initializer_list<std::pair<nlohmann::json, const char*>>{
           {"fast", "expected an object"},
           {{{"sampler", "eulr"}}, "ancestral"},
           {{{"steps", -1}}, "steps is -1"},
           {{{"steps", 1.5}}, "steps is 1.5"},
           {{{"temperature", -1}}, "temperature is -1"},
           {{{"context_guidance", 101}}, "context_guidance is 101"},
           {{{"guidance_scale", -1}}, "cfg_scale is -1"},
           {{{"guidance_scale", "much"}}, "cfg_scale is much"},
           {{{"heat", 1}}, "sampling.heat"}}) {
    try {
      read(sampling);
      ADD_FAILURE() << "accepted " << sampling;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find("model/scheduler"), 0u) << error.what();
    }
  }
}

TEST(SamplingSuggestion, CountsWhereTheSamplerIsOpenAndTheCanvasNoLarger) {
  CodecOptions codec;
  codec.image_size = 4;
  codec.base_channels = 32;
  codec.channel_multipliers = {1, 1};
  codec.residual_blocks = 1;
  codec.decoder_residual_blocks = 1;
  codec.attention_resolutions = {};
  codec.embedding_width = 4;
  codec.codebook_size = 5;
  TransformerOptions sizes;
  sizes.codebook_size = 5;
  sizes.grid = {2, 2};
  sizes.layers = 1;
  sizes.heads = 1;
  sizes.width = 8;
  Bundle bundle;
  bundle.codec = BundlePart{to_json(codec), Codec(codec)->weights()};
  bundle.denoiser = BundlePart{sizes.to_config(), Transformer(sizes)->state()};
  bundle.scheduler = scheduler_with({{"sampler", "confidence"},
                                     {"steps", 3},
                                     {"temperature", 0.9},
                                     {"context_guidance", 1.5},
                                     {"guidance_scale", 2}});
  const auto folder = testing::scratch_folder("suggestion");
  save_bundle(folder, bundle);
  auto pipeline = Pipeline::load(folder);
  std::filesystem::remove_all(folder);

  const auto open = resolve({}, pipeline);
  EXPECT_EQ(open.sampler, "confidence");
  EXPECT_EQ(open.steps, 3);
  EXPECT_EQ(open.draw.temperature, 0.9);
  EXPECT_EQ(open.context_guidance, 1.5);
  EXPECT_EQ(to_json(open)["context_guidance"], 1.5);

  SamplingChoice some;
  some.options.set("steps", 2).set("temperature", 0.5);
  const auto given = resolve(some, pipeline);
  EXPECT_EQ(given.sampler, "confidence");
  EXPECT_EQ(given.steps, 2);
  EXPECT_EQ(given.draw.temperature, 0.5);

  SamplingChoice other;
  other.options.set("sampler", "ancestral");
  const auto exact = resolve(other, pipeline);
  EXPECT_EQ(exact.steps, 4);
  EXPECT_EQ(exact.draw.temperature, 1.0);
  EXPECT_EQ(exact.context_guidance, 1.0);
  EXPECT_FALSE(to_json(exact).contains("context_guidance"));
  other.options.set("context_guidance", 3);
  EXPECT_EQ(resolve(other, pipeline).context_guidance, 3.0);

  EXPECT_EQ(pipeline.guidance_scale({}), 2);
  PromptOptions prompt;
  prompt.guidance_scale = 4;
  EXPECT_EQ(pipeline.guidance_scale(prompt), 4);

  // The C++ interface decides as the program does.
  const auto bare = decided_by_model(FillOptions{}, pipeline);
  EXPECT_EQ(to_json(bare), to_json(open));
  EXPECT_EQ(bare.total_steps, open.total_steps);
  FillOptions named;
  named.sampler = "ancestral";
  named.steps = 7;
  EXPECT_EQ(decided_by_model(named, pipeline).steps, 7);
  EXPECT_EQ(decided_by_model(named, pipeline).draw.temperature, 1.0);
  EXPECT_TRUE(pipeline.generate(3).grid.codes().equal(pipeline.generate(3, open).grid.codes()));
  EXPECT_FALSE(pipeline.generate(3).grid.codes().equal(pipeline.generate(3, exact).grid.codes()));

  const auto larger = resolve({}, pipeline, {2, 3});
  EXPECT_EQ(larger.sampler, "ancestral");
  EXPECT_EQ(larger.steps, 4);
  EXPECT_EQ(larger.draw.temperature, 0.8);
  EXPECT_EQ(larger.context_guidance, 1.0);
}

}  // namespace sampling_suggestion_test
}  // namespace tessera
