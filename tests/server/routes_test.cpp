#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "image/image_io.h"
#include "server/base64.h"
#include "server/embedded_files.h"
#include "server/fake_service.h"
#include "server/schema_check.h"

namespace tessera::testing {
namespace routes_test {

using nlohmann::json;

json document_of(FakeService& fake) {
  return json::parse(fake.ask("GET", "/api/v1/openapi.json").body);
}

/// The answer's body, held against what the document says of the route.
json checked(FakeService& fake, const std::string& method, const std::string& path, const std::string& target,
             const json& body = {}) {
  const auto response = fake.ask(method, target, body.is_null() ? "" : body.dump());
  const auto document = document_of(fake);
  std::string lower = method;
  for (auto& c : lower) c = static_cast<char>(std::tolower(c));
  const auto& operation = document["paths"].at(path).at(lower);
  const auto& answers = operation["responses"];
  EXPECT_TRUE(answers.contains(std::to_string(response.status))) << target << ": " << response.status << response.body;
  const auto value = json::parse(response.body);
  const auto& content = answers[std::to_string(response.status)]["content"];
  EXPECT_EQ(misfit(value, content["application/json"]["schema"], document), "") << target;
  return value;
}

json finished(FakeService& fake, const json& body) {
  const auto job = checked(fake, "POST", "/api/v1/jobs", "/api/v1/jobs", body);
  const auto id = job["id"].get<std::string>();
  fake.service.job(id)->wait_final(Clock::now() + std::chrono::seconds(20));
  return checked(fake, "GET", "/api/v1/jobs/{id}", "/api/v1/jobs/" + id);
}

TEST(ServerRoutes, TheDocumentHasEveryRouteAndNoOther) {
  FakeService fake({}, {}, false);
  const auto document = document_of(fake);
  std::set<std::string> documented, served;
  for (const auto& [path, operations] : document["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      documented.insert(method + " " + path);
      for (const auto& [status, answer] : operation["responses"].items()) {
        for (const auto& [type, content] : answer["content"].items()) {
          if (!content.contains("schema")) continue;
          const auto name = content["schema"]["$ref"].get<std::string>().substr(21);
          EXPECT_TRUE(document["components"]["schemas"].contains(name)) << name;
        }
      }
      if (!operation.contains("requestBody")) continue;
      for (const auto& [type, content] : operation["requestBody"]["content"].items()) {
        if (!content.contains("schema") || !content["schema"].contains("$ref")) continue;
        EXPECT_TRUE(
            document["components"]["schemas"].contains(content["schema"]["$ref"].get<std::string>().substr(21)));
      }
    }
  }
  for (const auto& route : fake.service.routes()) {
    std::string method = route.method, pattern = route.pattern;
    for (auto& c : method) c = static_cast<char>(std::tolower(c));
    if (const auto dots = pattern.find("...}"); dots != std::string::npos) pattern.replace(dots, 3, "");
    served.insert(method + " " + pattern);
  }
  EXPECT_EQ(documented, served);
  EXPECT_EQ(document["openapi"], "3.1.0");
}

/// Every property below a schema that is not described.
void undescribed(const json& schema, const std::string& at, std::vector<std::string>& found) {
  if (schema.is_array()) {
    for (const auto& item : schema) undescribed(item, at, found);
    return;
  }
  if (!schema.is_object()) return;
  const auto properties = schema.value("properties", json::object());
  for (const auto& [name, property] : properties.items()) {
    if (property.value("description", "").size() < 3) found.push_back(at + "." + name);
  }
  for (const auto& [name, item] : schema.items()) undescribed(item, at + "." + name, found);
}

TEST(ServerRoutes, TheDocumentNamesItsOperationsAndDescribesWhatTheyTake) {
  FakeService fake({}, {}, false);
  const auto document = document_of(fake);
  ASSERT_FALSE(document["servers"].empty());
  EXPECT_FALSE(document["servers"][0]["url"].get<std::string>().empty());
  std::set<std::string> ids, tags;
  for (const auto& tag : document["tags"]) tags.insert(tag["name"].get<std::string>());
  for (const auto& [path, operations] : document["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      const auto id = operation["operationId"].get<std::string>();
      EXPECT_TRUE(ids.insert(id).second) << id << " of " << path << " is another's";
      EXPECT_TRUE(std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) != 0; })) << id;
      EXPECT_TRUE(tags.contains(operation["tags"][0].get<std::string>())) << path;
      for (const auto& parameter : operation["parameters"])
        EXPECT_FALSE(parameter.value("description", "").empty()) << path << " " << parameter["name"];
    }
  }
  EXPECT_TRUE(ids.contains("getJobsById"));
  EXPECT_TRUE(ids.contains("postOpenAIImagesGenerations"));
  EXPECT_TRUE(ids.contains("postA1111Txt2img"));
  std::vector<std::string> found;
  undescribed(document, "$", found);
  EXPECT_EQ(found, std::vector<std::string>{});
}

TEST(ServerRoutes, PicturesAreScaledWhereTheirAddressAsksForIt) {
  FakeService fake;
  const auto job = finished(fake, {{"verb", "generate"}, {"seed", 4}});
  const auto url = job["results"][0]["url"].get<std::string>();
  const auto wide = fake.ask("GET", url + "?width=64&height=64");
  const auto image = read_image({reinterpret_cast<const std::uint8_t*>(wide.body.data()), wide.body.size()}, "result");
  EXPECT_EQ(image.width, 64);
  EXPECT_EQ(json::parse(read_png_text(wide.body, "result").at("tessera"))["scaled"], json::parse("[64, 64]"));
  // Of another shape as much as fits is cut out of the middle.
  const auto high = fake.ask("GET", url + "?width=8&height=64");
  const auto cut = read_image({reinterpret_cast<const std::uint8_t*>(high.body.data()), high.body.size()}, "result");
  EXPECT_EQ(cut.height, 64);
  EXPECT_EQ(fake.ask("GET", url + "?width=64").status, 400);
  EXPECT_EQ(fake.ask("GET", url + "?width=60000&height=60000").status, 400);
}

TEST(ServerRoutes, EveryDocumentedPathIsAnswered) {
  FakeService fake;
  for (const auto& route : fake.service.routes()) {
    std::string target;  // every "{name}" as 0
    bool in_name = false;
    for (const char c : route.pattern) {
      if (c == '{') target += '0';
      if (c == '{' || c == '}') in_name = c == '{';
      if (!in_name && c != '}') target += c;
    }
    const auto response = fake.ask(route.method, target, "{}");
    EXPECT_NE(response.status, 405) << route.method << " " << target;
    EXPECT_NE(response.status, 500) << route.method << " " << target;
    EXPECT_EQ(response.body.find("no such path"), std::string::npos) << target;
  }
}

TEST(ServerRoutes, AJobGoesFromSubmissionToItsPicturesAndTokens) {
  FakeService fake;
  const auto job = finished(fake, {{"verb", "generate"}, {"seed", 4}, {"count", 2}});
  EXPECT_EQ(job["state"], "done");
  EXPECT_EQ(job["model"], "tiny");
  EXPECT_EQ(job["grid"], json::parse("[4, 4]"));
  EXPECT_EQ(job["request"]["seed"], 4);
  EXPECT_EQ(job["results"].size(), 2u);
  EXPECT_EQ(job["results"][1]["image_number"], 1);
  const auto picture = fake.ask("GET", job["results"][1]["url"]);
  EXPECT_EQ(picture.content_type, "image/png");
  const auto& bytes = picture.body;
  const auto image = read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "result");
  EXPECT_EQ(image.at(0, 0)[0], FakeBackend::code_of(4, 1, 0) * 16);
  const auto record = json::parse(read_png_text(bytes, "result").at("tessera"));
  EXPECT_EQ(record["image"], 1);
  EXPECT_EQ(record["seed"], 4);
  const auto tokens = checked(fake, "GET", "/api/v1/jobs/{id}/tokens/{k}", job["results"][1]["tokens_url"]);
  EXPECT_EQ(tokens["tokens"][0][1], FakeBackend::code_of(4, 1, 1));
  EXPECT_EQ(tokens["order"][0][1], 2);
  for (const auto& [format, magic] : {std::pair{"webp", "RIFF"}, std::pair{"jpeg", "\xff\xd8"}}) {
    const auto other = fake.ask("GET", job["results"][0]["url"].get<std::string>() + "?format=" + format);
    EXPECT_EQ(other.content_type, std::string("image/") + format);
    EXPECT_TRUE(other.body.starts_with(magic));
  }
  const auto text = fake.ask("GET", job["results"][0]["url"].get<std::string>() + "?encoding=base64");
  EXPECT_TRUE(json::parse(text.body)["image"].get<std::string>().starts_with("data:image/png;base64,"));
  EXPECT_EQ(fake.ask("GET", job["url"].get<std::string>() + "/images/2").status, 404);
  EXPECT_EQ(fake.ask("GET", job["results"][0]["url"].get<std::string>() + "?format=bmp").status, 400);
}

TEST(ServerRoutes, SmallQuestionsToAModelAreAnsweredAsDocumented) {
  FakeService fake;
  const auto capabilities = checked(fake, "GET", "/api/v1/capabilities", "/api/v1/capabilities");
  EXPECT_EQ(capabilities["models"][0]["grid"], json::parse("[4, 4]"));
  EXPECT_EQ(capabilities["limits"]["max_queue"], 64);
  const auto image = to_data_uri("image/png", encode_png(Image(8, 6)));
  const auto encoded = checked(fake, "POST", "/api/v1/encode", "/api/v1/encode", {{"image", image}});
  EXPECT_EQ(encoded["tokens"].size(), 3u);
  checked(fake, "POST", "/api/v1/decode", "/api/v1/decode", {{"tokens", encoded["tokens"]}});
  const auto said = checked(fake, "POST", "/api/v1/captions", "/api/v1/captions",
                            {{"image", image}, {"begins", "it is "}, {"count", 2}});
  EXPECT_EQ(said["captions"], json::parse(R"(["it is 8 pixels wide", "it is 8 pixels wide"])"));
  const auto found = checked(fake, "POST", "/api/v1/candidates", "/api/v1/candidates",
                             {{"tokens", encoded["tokens"]}, {"cell", {1, 2}}, {"count", 5}});
  EXPECT_EQ(found["candidates"].size(), 5u);
  const auto scores = checked(fake, "POST", "/api/v1/score", "/api/v1/score",
                              {{"grids", {json::parse("[[1, null], [3, 4]]"), json::parse("[[0, 0], [0, 0]]")}}});
  EXPECT_EQ(scores["scores"][0], json::parse("[[-1.0, null], [-5.0, -7.0]]"));
  EXPECT_EQ(scores["sums"], json::parse("[-13.0, -6.0]"));
  EXPECT_EQ(scores["given"], "others");
  checked(fake, "GET", "/healthz", "/healthz");
  EXPECT_EQ(
      fake.ask("POST", "/api/v1/candidates", json({{"tokens", encoded["tokens"]}, {"cell", {3, 0}}}).dump()).status,
      400);
  EXPECT_EQ(fake.ask("POST", "/api/v1/decode", R"({"tokens": [[99]]})").status, 400);
}

TEST(ServerRoutes, AScoreThatCannotBeAskedForIsRefusedByName) {
  FakeService fake;
  const auto refused = [&](const char* body) {
    const auto response = fake.ask("POST", "/api/v1/score", body);
    EXPECT_EQ(response.status, 400) << body;
    return json::parse(response.body)["error"]["field"].get<std::string>();
  };
  EXPECT_EQ(refused("{}"), "tokens");
  EXPECT_EQ(refused(R"({"tokens": [[1]], "grids": [[[1]]]})"), "tokens");
  EXPECT_EQ(refused(R"({"tokens": [[16]]})"), "tokens");
  EXPECT_EQ(refused(R"({"grids": []})"), "grids");
  EXPECT_EQ(refused(R"({"grids": [[[1]], [[1, 2]]]})"), "grids");
  EXPECT_EQ(refused(R"({"tokens": [[1]], "spacing": -1})"), "spacing");
  EXPECT_EQ(refused(R"({"tokens": [[1]], "passes": 4})"), "passes");
  const auto large = json({{"tokens", json(300, json(300, 1))}}).dump();
  EXPECT_EQ(refused(large.c_str()), "spacing");
}

TEST(ServerRoutes, EventsTellTheWholeStoryAndEnd) {
  FakeService fake({}, {}, false);
  const auto id =
      json::parse(fake.ask("POST", "/api/v1/jobs", R"({"verb": "generate"})").body)["id"].get<std::string>();
  const auto response = fake.ask("GET", "/api/v1/jobs/" + id + "/events");
  EXPECT_EQ(response.content_type, "text/event-stream");
  std::string text;
  fake.backend.on_step = [&](std::int64_t) {
    text += response.events->next(std::chrono::milliseconds(0)).value_or("");
  };
  text += response.events->next(std::chrono::milliseconds(0)).value_or("");
  while (fake.service.worker().run_once(std::chrono::milliseconds(0))) {
  }
  for (int i = 0; i < 10; ++i) {
    const auto more = response.events->next(std::chrono::milliseconds(0));
    if (!more) break;
    text += *more;
    ASSERT_LT(i, 9) << "the stream does not end";
  }
  EXPECT_TRUE(text.starts_with("event: queued\ndata: {")) << text.substr(0, 80);
  EXPECT_NE(text.find("event: progress\ndata: {\"eta_seconds\""), std::string::npos);
  EXPECT_NE(text.find("\"tokens\":[[0,3,null"), std::string::npos) << text;
  EXPECT_NE(text.find("event: done\ndata: {"), std::string::npos);
  const auto late = fake.ask("GET", "/api/v1/jobs/" + id + "/events");
  EXPECT_NE(late.events->next(std::chrono::milliseconds(0)).value_or("").find("event: done"), std::string::npos);
  EXPECT_EQ(late.events->next(std::chrono::milliseconds(0)), std::nullopt);
}

TEST(ServerRoutes, DeleteCancelsAndSaysSo) {
  FakeService fake({}, {}, false);
  const auto id =
      json::parse(fake.ask("POST", "/api/v1/jobs", R"({"verb": "generate"})").body)["id"].get<std::string>();
  EXPECT_EQ(checked(fake, "DELETE", "/api/v1/jobs/{id}", "/api/v1/jobs/" + id)["state"], "cancelled");
}

TEST(ServerRoutes, BadInputIsOneLineAndNoPathOfTheHost) {
  FakeService fake;
  const std::vector<std::tuple<std::string, std::string, std::string, int>> cases = {
      {"GET", "/api/v1/jobs/nothing", "", 404},
      {"GET", "/nowhere", "", 404},
      {"PUT", "/api/v1/jobs", "", 405},
      {"POST", "/api/v1/jobs", "{", 400},
      {"POST", "/api/v1/jobs", "", 400},
      {"POST", "/api/v1/jobs", "[]", 400},
      {"POST", "/api/v1/jobs", R"({"verb": "generate", "model": "../../etc/passwd"})", 404},
      {"POST", "/api/v1/jobs", R"({"verb": "generate", "prompt": "a cat"})", 400},
      {"POST", "/api/v1/jobs", R"({"verb": "generate", "sampler": "mlm"})", 400},
      {"POST", "/api/v1/jobs", R"({"verb": "generate", "class": 3})", 400},
      {"POST", "/api/v1/jobs", R"({"verb": "fill", "tokens": [[16]]})", 400},
      {"POST", "/api/v1/jobs", R"({"verb": "generate", "count": 64, "width": 1000, "height": 1000})", 400},
      {"GET", "/studio/../../../etc/passwd", "", 404},
      {"GET", "/studio//etc/passwd", "", 404},
      {"GET", "/studio/..%2f..%2fetc/passwd", "", 404},
      {"GET", "/" + std::string(5000, 'a'), "", 414},
  };
  for (const auto& [method, target, body, status] : cases) {
    const auto response = fake.ask(method, target, body);
    EXPECT_EQ(response.status, status) << method << " " << target.substr(0, 60) << " " << body;
    const auto error = json::parse(response.body)["error"]["message"].get<std::string>();
    EXPECT_EQ(error.find('\n'), std::string::npos);
    EXPECT_EQ(response.body.find("/work"), std::string::npos);
    EXPECT_EQ(response.body.find("/home"), std::string::npos);
  }
}

TEST(ServerRoutes, AClassIsNamedOrNumbered) {
  FakeService fake;
  fake.backend.class_names = {"cat", "dog"};
  const auto models = json::parse(fake.ask("GET", "/api/v1/capabilities").body)["models"];
  EXPECT_EQ(models.back()["classes"], json({"cat", "dog"}));
  const auto asked = [&](const json& name) {
    return fake.ask("POST", "/api/v1/jobs", json{{"verb", "generate"}, {"model", "kinds"}, {"class", name}}.dump());
  };
  for (const json& name : {json("dog"), json(1), json(-1), json("")}) EXPECT_EQ(asked(name).status, 202) << name;
  const auto refused = [&](const json& name) { return json::parse(asked(name).body)["error"]["message"]; };
  EXPECT_EQ(refused("gnu"), "class is 'gnu', expected one of cat, dog, or a number from 0 to 1");
  EXPECT_EQ(refused(2), "class: 2, expected 0 to 1");
  EXPECT_EQ(refused(std::string(1025, 'a')),
            "class is a text of 1025 bytes, expected a name of at most 1024 bytes or a whole number, -1 to 16777216");
}

TEST(ServerRoutes, ThePageComesWithItsTypesTagsAndPolicy) {
  FakeService fake({}, {}, false);
  const auto page = fake.ask("GET", "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_EQ(page.body, embedded_files().at("index.html"));
  EXPECT_TRUE(page.headers.at("Content-Security-Policy").starts_with("default-src 'self'"));
  EXPECT_EQ(page.headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(fake.ask("GET", "/", "", {{"if-none-match", page.headers.at("ETag")}}).status, 304);
  for (const auto& [path, bytes] : embedded_files()) {
    const auto file = fake.ask("GET", "/studio/" + path);
    EXPECT_EQ(file.status, 200) << path;
    EXPECT_EQ(file.body, bytes) << path;
    EXPECT_NE(file.content_type, "application/octet-stream") << path;
  }
}

TEST(ServerRoutes, MetricsAreReadablePrometheusText) {
  FakeService fake;
  finished(fake, {{"verb", "generate"}});
  const auto response = fake.ask("GET", "/metrics");
  EXPECT_NE(response.body.find("tessera_jobs_total{state=\"done\"} 1\n"), std::string::npos) << response.body;
  EXPECT_NE(response.body.find("tessera_evaluations_total 16\n"), std::string::npos);
  std::size_t begin = 0;
  while (begin < response.body.size()) {
    const auto line = response.body.substr(begin, response.body.find('\n', begin) - begin);
    begin += line.size() + 1;
    EXPECT_TRUE(line.starts_with("# HELP tessera_") || line.starts_with("# TYPE tessera_") ||
                line.starts_with("tessera_"))
        << line;
  }
}

TEST(ServerRoutes, TheUnmaskingOfAResultMoves) {
  FakeService fake;
  const auto job = finished(fake, {{"verb", "generate"}, {"seed", 4}});
  const auto url = job["url"].get<std::string>() + "/unmasking/0";
  const auto response = fake.ask("GET", url);
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.content_type, "image/webp");
  EXPECT_TRUE(response.body.starts_with("RIFF"));
  EXPECT_NE(response.body.find("ANMF"), std::string::npos);
  const auto frames = [](const std::string& bytes) {
    int count = 0;
    for (auto at = bytes.find("ANMF"); at != std::string::npos; at = bytes.find("ANMF", at + 4)) ++count;
    return count;
  };
  EXPECT_GT(frames(response.body), frames(fake.ask("GET", url + "?frames=3").body));
  EXPECT_EQ(fake.ask("GET", url + "?frames=1").status, 400);
  EXPECT_EQ(fake.ask("GET", job["url"].get<std::string>() + "/unmasking/1").status, 404);
}

TEST(ServerRoutes, AFullQueueIsSaidWithRetryAfter) {
  ServiceLimits limits;
  limits.queue = 1;
  FakeService fake(limits, {}, false);
  EXPECT_EQ(fake.ask("POST", "/api/v1/jobs", R"({"verb": "generate"})").status, 202);
  const auto refused = fake.ask("POST", "/api/v1/jobs", R"({"verb": "generate"})");
  EXPECT_EQ(refused.status, 429);
  EXPECT_GE(std::stoi(refused.headers.at("Retry-After")), 1);
}

}  // namespace routes_test
}  // namespace tessera::testing
