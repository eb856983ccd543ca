/// The text transformer against the numbers of the published programs.
#include "text/clip_text_encoder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/torch_archive.h"
#include "runtime/error.h"
#include "support/fixtures.h"
#include "support/resident.h"

namespace tessera {
namespace clip_text_encoder_test {

nlohmann::json json_of(const std::filesystem::path& path) {
  std::ifstream stream(path);
  return nlohmann::json::parse(stream);
}

TEST(Parity, VqDiffusionTextStates) {
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-pipeline") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    const auto folder = fixture.folder / "text_encoder";
    std::int64_t files = 0;
    for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
      if (!std::filesystem::exists(folder / name)) continue;
      SCOPED_TRACE(name);
      ++files;
      ClipTextEncoder encoder(ClipTextOptions::from_config(json_of(folder / "config.json")));
      encoder->load_hub(std::string(name).ends_with(".bin") ? load_torch_archive(folder / name).tensors()
                                                            : load_safetensors(folder / name),
                        folder.string());
      const auto states = encoder->forward(fixture.tensor("tok.ids"));
      EXPECT_TRUE(fixture.near("text.last_hidden_state", states));
      EXPECT_TRUE(fixture.near("text.prompt_embeds", unit_positions(states)));
      std::vector<torch::Tensor> hidden;
      (void)encoder->forward(fixture.tensor("tok.ids").narrow(0, 1, 1), &hidden);
      EXPECT_TRUE(fixture.near("text.hidden_states_prompt1", torch::cat(hidden)));
      const auto last = fixture.tensor("tok.ids_original").size(0) - 1;
      EXPECT_TRUE(
          fixture.near("text.prompt_embeds_original_overlong",
                       unit_positions(encoder->forward(fixture.tensor("tok.ids_original").narrow(0, last, 1)))));
    }
    EXPECT_GT(files, 0);
  }
}

TEST(ClipTextEncoder, LaterTokensDoNotReachEarlierPositions) {
  const torch::NoGradGuard no_grad;
  ClipTextEncoder encoder(ClipTextOptions{50, 8, 16, 2, 2, 32, false, 1e-5});
  encoder->initialise(3);
  const auto one = torch::tensor({48, 3, 7, 49, 0, 0, 0, 0}).view({1, 8});
  const auto other = torch::tensor({48, 3, 9, 2, 49, 0, 0, 0}).view({1, 8});
  const auto first = encoder->forward(one), second = encoder->forward(other);
  EXPECT_TRUE(torch::allclose(first.narrow(1, 0, 2), second.narrow(1, 0, 2), 1e-6, 1e-6));
  EXPECT_GT((first - second).narrow(1, 2, 6).abs().max().item<double>(), 1e-3);
  // A shorter row gives the same first positions.
  EXPECT_TRUE(torch::allclose(encoder->forward(one.narrow(1, 0, 3)), first.narrow(1, 0, 3), 1e-6, 1e-6));
}

TEST(ClipTextEncoder, InPassingItGivesTheSameStatesFromWeightsAsTheyLie) {
  const torch::NoGradGuard no_grad;
  const auto config = ClipTextOptions{50, 8, 16, 2, 2, 32, false, 1e-5, 12}.to_config();
  ClipTextEncoder random(ClipTextOptions::from_config(config));
  random->initialise(3);
  for (const auto type : {torch::kFloat16, torch::kFloat32, torch::kBFloat16}) {
    SCOPED_TRACE(c10::toString(type));
    TensorMap tensors;
    for (const auto& [name, tensor] : random->state()) tensors[name] = tensor.to(type);
    auto kept = load_text_encoder(config, tensors, "kept"),
         passing = load_text_encoder(config, tensors, "passing", true);
    for (const auto& ids : {torch::tensor({48, 3, 7, 49, 0, 0, 0, 0}), torch::tensor({48, 9, 49, 0, 0, 0, 0, 0})}) {
      const auto given = ids.view({1, 8});
      const auto expected = kept->forward(given), states = passing->forward(given);
      EXPECT_TRUE(torch::equal(expected, states));
      EXPECT_TRUE(torch::equal(kept->pooled(given, expected), passing->pooled(given, states)));
    }
    for (const auto& [name, tensor] : random->state())
      EXPECT_TRUE(torch::equal(tensors[name], tensor.to(type))) << name;
  }
}

TEST(ClipTextEncoder, TakesNoMemoryForAConfigurationThatItsWeightsDoNotFit) {
  auto config = ClipTextOptions{50, 8, 16, 2, 2, 32, false, 1e-5}.to_config();
  ClipTextEncoder small(ClipTextOptions::from_config(config));
  const auto tensors = small->state();
  EXPECT_NO_THROW(load_text_encoder(config, tensors, "small"));
  config["vocab_size"] = 1 << 22;
  config["hidden_size"] = 1 << 14;
  config["intermediate_size"] = 1 << 16;
  config["num_hidden_layers"] = 500;
  const testing::PeakMemory memory;
  try {
    load_text_encoder(config, tensors, "m/text_encoder");
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("m/text_encoder: the tensors do not fit"), std::string::npos) << text;
    EXPECT_NE(text.find("and "), std::string::npos);
    EXPECT_LT(text.size(), 20'000u);  // 8,000 tensors are missing: some are named
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
  EXPECT_LT(memory.grown(), 100);
}

}  // namespace clip_text_encoder_test
}  // namespace tessera
