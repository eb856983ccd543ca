/// Small updates of models that requests name: how they are written, and whose pictures come out.
#include "server/served_loras.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "server/http_message.h"
#include "server/pipeline_backend.h"
#include "server/service.h"
#include "support/random_lora.h"
#include "support/scratch.h"

namespace tessera::testing {
namespace served_loras_test {

using namespace tessera::server;
using nlohmann::json;

const std::string kModel = std::string(TESSERA_SOURCE_DIR) + "/models/emoji64";

std::string refusal(const std::string& text) {
  try {
    (void)parse_served_loras(text);
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status, 400);
    return error.what();
  }
  return "none";
}

TEST(ServedLoras, AreWrittenAsNamesWithWeights) {
  const auto loras = parse_served_loras("chalk:0.8,ink,old-oil_2.b:-1");
  ASSERT_EQ(loras.size(), 3u);
  EXPECT_EQ(loras[0].name, "chalk");
  EXPECT_EQ(loras[0].weight, 0.8);
  EXPECT_EQ(loras[1].weight, 1);
  EXPECT_EQ(loras[2].name, "old-oil_2.b");
  EXPECT_TRUE(parse_served_loras("").empty());
  const auto key = read_model_key(model_key("emoji", "chalk:0.8,ink"));
  EXPECT_EQ(key.model, "emoji");
  ASSERT_EQ(key.loras.size(), 2u);
  EXPECT_EQ(key.loras[0].weight, 0.8);
  EXPECT_EQ(model_key("emoji", ""), "emoji");
  EXPECT_EQ(refusal("chalk:loud"), "loras: weight 'loud', expected a number from -10 to 10");
  EXPECT_EQ(refusal("chalk:nan"), "loras: weight 'nan', expected a number from -10 to 10");
  EXPECT_EQ(refusal("../chalk"), "loras: '../chalk', expected NAME or NAME:WEIGHT");
  EXPECT_EQ(refusal("a,,b"), "loras: '', expected NAME or NAME:WEIGHT");
  EXPECT_EQ(refusal("a,b,c,d,e,f,g,h,i"), "loras: more than 8, expected at most so many");
}

TEST(ServedLoras, AreTakenOutOfAPrompt) {
  std::string prompt = "a cat, <lora:chalk:0.8> on a roof <lora:ink:1>";
  EXPECT_EQ(take_loras(prompt), "chalk:0.8,ink:1");
  EXPECT_EQ(prompt, "a cat,  on a roof");
  prompt = "a < b <lora:open";
  EXPECT_EQ(take_loras(prompt), "");
  EXPECT_EQ(prompt, "a < b <lora:open");
}

TEST(ServedLoras, PicturesAreThoseOfTheModelUnderThem) {
  const auto folder = scratch_folder("served-loras");
  testing::write_random_lora(kModel, folder / "noise.safetensors");
  Metrics metrics;
  ModelStore store({parse_model_source(kModel)}, {}, 0, metrics, LoraFolder(folder));
  PipelineBackend backend(store);
  ServiceLimits limits;
  limits.gather_ms = 0;
  Service service(backend, metrics, {limits, {}});
  const auto tokens_of = [&](const char* loras) {
    json body = {{"verb", "generate"}, {"seed", 3}, {"steps", 6}};
    if (loras != nullptr) body["loras"] = loras;
    const auto job = service.submit(parse_job_request(body, {}, service.limits()), "a");
    while (service.worker().run_once(std::chrono::milliseconds(0))) {
    }
    EXPECT_EQ(job->state(), JobState::done) << job->status().error;
    return job->status().results.at(0)->tokens;
  };
  const auto plain = tokens_of(nullptr), half = tokens_of("noise:0.5"), none = tokens_of("noise:0");
  EXPECT_NE(plain, half);
  EXPECT_EQ(plain, none) << "with a weight of nothing";
  EXPECT_EQ(service.model("").loras, std::vector<std::string>{"noise"});
  EXPECT_EQ(tokens_of("noise:0.5"), half) << "the same again, as it stays in memory";
  EXPECT_EQ(tokens_of(nullptr), plain) << "the model itself is as it was";
  for (const char* weight : {"noise:0.1", "noise:0.2", "noise:0.3", "noise:0.4"}) (void)tokens_of(weight);
  EXPECT_EQ(store.infos().size(), 1u) << "models under updates are no models of their own to clients";
  try {
    (void)service.submit(parse_job_request({{"verb", "generate"}, {"loras", "ink"}}, {}, service.limits()), "a");
    ADD_FAILURE() << "an unknown one was taken";
  } catch (const HttpError& error) {
    EXPECT_STREQ(error.what(), "loras: 'ink' is not served, expected one of noise");
  }
  std::filesystem::remove_all(folder);
}

}  // namespace served_loras_test
}  // namespace tessera::testing
