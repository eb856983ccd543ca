/// The service on the shipped model: every verb, and joined jobs against those alone.
#include "server/pipeline_backend.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "server/base64.h"
#include "server/service.h"

namespace tessera::testing {
namespace pipeline_backend_test {

using namespace tessera::server;
using nlohmann::json;

const std::string kModel = std::string(TESSERA_SOURCE_DIR) + "/models/emoji64";

struct Shipped {
  Shipped()
      : store({parse_model_source(kModel)}, {}, 0, metrics),
        backend(store),
        service(backend, metrics, {limits(), {}}) {}

  static ServiceLimits limits() {
    ServiceLimits own;
    own.gather_ms = 0;
    return own;
  }
  std::shared_ptr<Job> queued(const json& body, const std::string& client = "a") {
    return service.submit(parse_job_request(body, {}, service.limits()), client);
  }
  void start() {
    service.start();
    started = true;
  }
  JobStatus done(const json& body) {
    const auto job = queued(body);
    if (started) {  // its worker has a thread of its own
      EXPECT_TRUE(job->wait_final(Clock::now() + std::chrono::seconds(600)));
    } else {
      while (service.worker().run_once(std::chrono::milliseconds(0))) {
      }
    }
    EXPECT_EQ(job->state(), JobState::done) << job->status().error;
    return job->status();
  }

  Metrics metrics;
  ModelStore store;
  PipelineBackend backend;
  Service service;
  bool started = false;
};

/// A held-out picture at the model's own size.
Image example_picture() {
  return resize_exact(read_image(std::filesystem::path(kModel + "/examples/emoji_u1f9d0.png")), 64, 64);
}
std::string example() {
  return to_data_uri("image/png", encode_png(example_picture()));
}

TEST(ServerPipeline, AModelIsKnownBeforeItIsLoaded) {
  Shipped shipped;
  const auto info = shipped.service.model("");
  EXPECT_EQ(info.name, "emoji64");
  EXPECT_EQ(info.width, 64);
  EXPECT_EQ(info.factor, 4);
  EXPECT_EQ(info.codebook_size, 512);
  EXPECT_EQ(info.process, "absorbing");
  EXPECT_FALSE(info.loaded);
  EXPECT_GT(info.bytes, std::uint64_t{10} << 20);
  shipped.store.get("emoji64");
  EXPECT_TRUE(shipped.service.model("").loaded);
}

TEST(ServerPipeline, JoinedJobsOfSeveralSeedsGetThePicturesTheyGetAlone) {
  Shipped together;
  std::vector<std::shared_ptr<Job>> jobs;
  for (const int seed : {1, 2, 9}) {
    jobs.push_back(together.queued({{"verb", "generate"},
                                    {"seed", seed},
                                    {"count", 2},
                                    {"sampler", "ancestral"},
                                    {"temperature", 1},
                                    {"steps", 8}},
                                   std::to_string(seed)));
  }
  together.service.worker().run_once(std::chrono::milliseconds(0));
  EXPECT_EQ(together.metrics.value("tessera_fill_joined_total"), 1);
  for (const auto& job : jobs) {
    const auto joined = job->status();
    ASSERT_EQ(joined.results.size(), 2u);
    const auto pipeline = together.store.get("emoji64");
    FillOptions options;
    options.sampler = "ancestral";
    options.steps = 8;
    options.seed = job->seed;
    options.total_steps = pipeline->total_steps();
    const auto alone = pipeline->generate(2, options);
    for (std::int64_t k = 0; k < 2; ++k) {
      const auto& own = *joined.results[static_cast<std::size_t>(k)];
      const auto codes = alone.grid.codes()[k].flatten().to(torch::kInt32).contiguous();
      EXPECT_TRUE(std::equal(own.tokens.begin(), own.tokens.end(), codes.data_ptr<std::int32_t>())) << job->seed;
      // Decoded one by one, as the service does: a batch may round otherwise.
      const auto one = alone.grid.codes()[k].unsqueeze(0);
      EXPECT_TRUE(own.picture == to_image(pipeline->decode({one, alone.grid.codebook_size()})[0])) << job->seed;
    }
  }
}

TEST(ServerPipeline, JobsOfOtherPromptsShareAFillAndKeepTheirPictures) {
  struct WithText : Shipped {
    WithText() : text_store({parse_model_source(kModel + "-text")}, {}, 0, metrics), text_backend(text_store) {}
    ModelStore text_store;
    PipelineBackend text_backend;
  } shipped;
  Service service(shipped.text_backend, shipped.metrics, {Shipped::limits(), {}});
  const auto body = [](const char* prompt, int seed) {
    return json{{"verb", "generate"}, {"seed", seed},     {"sampler", "ancestral"},
                {"steps", 6},         {"prompt", prompt}, {"cfg_scale", 3}};
  };
  const auto submitted = [&](const char* prompt, int seed) {
    return service.submit(parse_job_request(body(prompt, seed), {}, service.limits()), "a");
  };
  const std::vector<std::pair<const char*, int>> asked = {{"cat face", 1}, {"red heart", 2}, {"", 3}};
  std::vector<std::shared_ptr<Job>> together;
  for (const auto& [prompt, seed] : asked) together.push_back(submitted(prompt, seed));
  service.worker().run_once(std::chrono::milliseconds(0));
  EXPECT_EQ(shipped.metrics.value("tessera_fill_joined_total"), 1);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto alone = submitted(asked[i].first, asked[i].second);
    while (service.worker().run_once(std::chrono::milliseconds(0))) {
    }
    ASSERT_EQ(together[i]->state(), JobState::done) << together[i]->status().error;
    EXPECT_EQ(together[i]->status().results.at(0)->tokens, alone->status().results.at(0)->tokens) << asked[i].first;
  }
}

TEST(ServerPipeline, EveryVerbMakesItsPictures) {
  Shipped shipped;
  const auto image = example();
  const auto inpainted =
      shipped.done({{"verb", "inpaint"}, {"image", image}, {"boxes", {{20, 36, 24, 16}}}, {"steps", 8}, {"count", 2}});
  EXPECT_EQ(inpainted.results.size(), 2u);
  const auto original = example_picture();
  EXPECT_TRUE(std::equal(original.at(0, 0), original.at(0, 8), inpainted.results[0]->picture.at(0, 0)));
  const auto kept =
      shipped.done({{"verb", "inpaint"}, {"image", image}, {"keep_boxes", {{16, 16, 32, 32}}}, {"steps", 4}});
  EXPECT_EQ(kept.results[0]->picture.width, 64);
  const auto wide = shipped.done({{"verb", "outpaint"}, {"image", image}, {"right", 32}, {"steps", 4}});
  EXPECT_EQ(wide.results[0]->picture.width, 96);
  EXPECT_EQ(wide.w, 24);
  const json piece = {{"image", image}, {"from", {0, 0, 32, 32}}, {"to", {32, 0}}};
  const auto stitched =
      shipped.done({{"verb", "stitch"}, {"pieces", {piece}}, {"width", 96}, {"height", 64}, {"steps", 4}});
  EXPECT_EQ(stitched.results[0]->picture.width, 96);
  const auto near =
      shipped.done({{"verb", "variations"}, {"image", image}, {"strength", 0.2}, {"by", "likelihood"}, {"steps", 4}});
  EXPECT_EQ(near.results.size(), 1u);
  const auto again = shipped.done({{"verb", "reconstruct"}, {"image", image}});
  EXPECT_EQ(again.results[0]->picture.height, 64);
  EXPECT_EQ(again.evaluations, 0);
}

TEST(ServerPipeline, TokensGoOutAndComeInAgain) {
  Shipped shipped;
  shipped.start();
  const auto image = example();
  HttpRequest request;
  request.method = "POST";
  request.path = "/api/v1/encode";
  request.body = json({{"image", image}}).dump();
  auto tokens = json::parse(shipped.service.handle(request).body)["tokens"];
  ASSERT_EQ(tokens.size(), 16u);
  tokens[5][6] = nullptr;
  const auto job = shipped.queued({{"verb", "fill"}, {"tokens", tokens}, {"image", image}});
  ASSERT_TRUE(job->wait_final(Clock::now() + std::chrono::seconds(600)));
  ASSERT_EQ(job->state(), JobState::done) << job->status().error;
  const auto result = job->status().results[0];
  for (std::size_t i = 0; i < 256; ++i) {
    if (i != 5 * 16 + 6) {
      EXPECT_EQ(result->tokens[i], tokens[i / 16][i % 16]);
    }
    EXPECT_EQ(result->order[i] > 0, i == 5 * 16 + 6);
  }
  // Beside a picture and a region they are the picture's own: what is kept keeps them.
  auto own = json::parse(json(tokens).dump());
  own[5][6] = 3;
  own[0][0] = own[0][0] == 7 ? 8 : 7;
  const auto inpainted =
      shipped.done({{"verb", "inpaint"}, {"tokens", own}, {"image", image}, {"boxes", {{20, 20, 8, 8}}}});
  const auto& codes = inpainted.results[0]->tokens;
  EXPECT_EQ(codes[0], own[0][0]);
  for (std::size_t i = 0; i < 256; ++i) {
    const bool open = i / 16 >= 5 && i / 16 < 7 && i % 16 >= 5 && i % 16 < 7;
    EXPECT_EQ(inpainted.results[0]->order[i] > 0, open);
    if (!open) {
      EXPECT_EQ(codes[i], own[i / 16][i % 16]) << i;
    }
  }
  request.path = "/api/v1/candidates";
  request.body = json({{"tokens", tokens}, {"cell", {5, 6}}, {"count", 6}}).dump();
  const auto found = json::parse(shipped.service.handle(request).body)["candidates"];
  ASSERT_EQ(found.size(), 6u);
  double last = 1;
  for (const auto& each : found) {
    EXPECT_LE(each["probability"].get<double>(), last);
    last = each["probability"];
  }
}

TEST(ServerPipeline, ModelsAreUnloadedWhereTheirMemoryIsBounded) {
  Metrics metrics;
  ModelStore store({parse_model_source("one=" + kModel), parse_model_source("two=" + kModel)}, {}, 40 << 20, metrics);
  store.get("one");
  store.get("two");
  EXPECT_FALSE(store.infos()[0].loaded);
  EXPECT_TRUE(store.infos()[1].loaded);
  const auto held = store.get("two");
  store.get("one");  // what is held elsewhere stays
  EXPECT_TRUE(store.infos()[1].loaded);
  EXPECT_EQ(metrics.value("tessera_models_loaded"), 2);
}

TEST(ServerPipeline, NamesOfModelsAreCheckedAndPathsStayInside) {
  EXPECT_EQ(parse_model_source("models/emoji64/").name, "emoji64");
  EXPECT_EQ(parse_model_source("mine=models/emoji64").name, "mine");
  EXPECT_THROW(parse_model_source("a b=models/x"), UsageError);
  Metrics metrics;
  EXPECT_THROW(ModelStore({parse_model_source(kModel), parse_model_source(kModel)}, {}, 0, metrics), Error);
  EXPECT_THROW(ModelStore({parse_model_source("/nonexistent/model")}, {}, 0, metrics), Error);
}

TEST(ServerPipeline, ACodeThatDoesNotFitStandsOutInTheScore) {
  Shipped shipped;
  shipped.start();
  const auto ask = [&](const char* path, const json& body) {
    HttpRequest request;
    request.method = "POST";
    request.path = path;
    request.body = body.dump();
    request.headers["host"] = "localhost";
    request.address = "127.0.0.1";
    const auto response = shipped.service.handle(request);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  };
  const auto tokens = ask("/api/v1/encode", {{"image", example()}})["tokens"];
  auto spoilt = tokens;
  const auto strange = tokens[0][0] == 7 ? 8 : 7;
  spoilt[7][7] = strange;
  for (const int spacing : {2, 4}) {
    const auto scores = ask("/api/v1/score", {{"grids", {tokens, spoilt}}, {"spacing", spacing}});
    EXPECT_EQ(scores["evaluations"], 2 * spacing * spacing);
    EXPECT_LT(scores["sums"][1].get<double>(), scores["sums"][0].get<double>());
    EXPECT_LT(scores["scores"][1][7][7].get<double>(), scores["scores"][0][7][7].get<double>());
    double sum = 0;
    for (const auto& row : scores["scores"][0]) {
      for (const auto& value : row) {
        EXPECT_LE(value.get<double>(), 0);
        sum += value.get<double>();
      }
    }
    EXPECT_NEAR(sum, scores["sums"][0].get<double>(), 1e-9);
  }
}

}  // namespace pipeline_backend_test
}  // namespace tessera::testing
