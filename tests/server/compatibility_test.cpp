/// The interfaces that existing clients speak, without their clients (tests/server/clients has the official one).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "runtime/version.h"
#include "server/apart.h"
#include "server/base64.h"
#include "server/schema_check.h"

namespace tessera::testing {
namespace compatibility_test {

using nlohmann::json;

/// Remembers what it was asked to prepare.
class Attentive : public FakeBackend {
 public:
  JobRequest last;
  std::unique_ptr<PreparedJob> prepare(const JobRequest& request) override {
    last = request;
    return FakeBackend::prepare(request);
  }
};

struct Compatible {
  explicit Compatible() : service(where.backend(), metrics, {ServiceLimits{}, AccessRules{}}) { service.start(); }

  HttpResponse ask(const std::string& method, const std::string& path, const std::string& body = {},
                   const std::string& type = "application/json") {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.body = body;
    request.headers = {{"host", "localhost:8080"}, {"content-type", type}};
    request.address = "127.0.0.1";
    return service.handle(request);
  }
  json answer(const std::string& method, const std::string& path, const std::string& schema, const json& body = {}) {
    const auto response = ask(method, path, body.is_null() ? "" : body.dump());
    EXPECT_EQ(response.status, 200) << response.body;
    const auto value = json::parse(response.body);
    const auto document = json::parse(ask("GET", "/api/v1/openapi.json").body);
    EXPECT_EQ(misfit(value, {{"$ref", "#/components/schemas/" + schema}}, document), "");
    return value;
  }

  Attentive backend;
  Metrics metrics;
  MaybeApart where{backend, {}, metrics};
  Service service;
};

Image picture_of(const json& base64) {
  const auto bytes = from_base64(base64.get<std::string>(), "picture");
  return read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "picture");
}

/// The events of a stream as their types and data.
std::vector<std::pair<std::string, json>> events_of(HttpResponse& response) {
  std::string text;
  while (const auto piece = response.events->next(std::chrono::milliseconds(100))) text += *piece;
  std::vector<std::pair<std::string, json>> events;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find("\n\n", at);
    const auto event = text.substr(at, end - at);
    at = end + 2;
    if (event.starts_with(':')) continue;
    const auto line = event.find('\n');
    events.emplace_back(event.substr(7, line - 7), json::parse(event.substr(line + 7)));
  }
  return events;
}

std::string form(const std::vector<std::tuple<std::string, std::string, std::string>>& parts) {
  std::string body;
  for (const auto& [name, file, content] : parts) {
    body += "--X\r\nContent-Disposition: form-data; name=\"" + name + "\"";
    if (!file.empty()) body += "; filename=\"" + file + "\"\r\nContent-Type: image/png";
    body += "\r\n\r\n" + content + "\r\n";
  }
  return body + "--X--\r\n";
}

/// A PNG of 8x8 RGBA pixels: alpha is 0 in the left half, 255 in the right.
std::string transparent_png() {
  static const std::string text =
      "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAYAAADED76LAAAAFUlEQVR42mMwSJjAgIb/I2OGkaEAAHDEZ+Eb+uD3AAAAAElFTkSuQmCC";
  return from_base64(text, "png");
}

TEST(ServerOpenAI, GenerationsAreImagesInBase64WithTheirSeed) {
  Compatible fake;
  const auto value = fake.answer("POST", "/v1/images/generations", "OpenAIImages",
                                 {{"prompt", "a red car"}, {"model", "wordy"}, {"n", 2}, {"seed", 5}, {"size", "8x8"}});
  ASSERT_EQ(value["data"].size(), 2u);
  const auto bytes = from_base64(value["data"][1]["b64_json"].get<std::string>(), "image");
  const auto image = read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "image");
  EXPECT_EQ(image.at(0, 0)[0], FakeBackend::code_of(5, 1, 0) * 16);
  EXPECT_EQ(value["seed"], 5);
  EXPECT_FALSE(value.contains("warnings"));
  EXPECT_EQ(fake.backend.last.sampling.get<std::string>("prompt"), "a red car");
}

TEST(ServerOpenAI, APromptThatTheModelCannotReadIsWarnedAbout) {
  Compatible fake;
  const auto value = fake.answer("POST", "/v1/images/generations", "OpenAIImages", {{"prompt", "a red car"}});
  EXPECT_EQ(value["warnings"][0], "prompt: ignored, the model tiny takes no text");
}

TEST(ServerOpenAI, UrlsLeadToTheBytes) {
  Compatible fake;
  const auto value =
      fake.answer("POST", "/v1/images/generations", "OpenAIImages", {{"prompt", "x"}, {"response_format", "url"}});
  const auto url = value["data"][0]["url"].get<std::string>();
  ASSERT_TRUE(url.starts_with("http://localhost:8080/api/v1/jobs/"));
  EXPECT_EQ(fake.ask("GET", url.substr(21)).content_type, "image/png");
}

TEST(ServerOpenAI, BothConventionsOfAMaskSayTheSame) {
  Compatible fake;
  Image drawn(8, 8, Colour{0, 0, 0});
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 4; ++x) std::fill_n(drawn.at(x, y), 3, 255);
  }
  const auto picture = encode_png(Image(8, 8, Colour{9, 90, 200}));
  for (const auto& mask : {encode_png(drawn), transparent_png()}) {
    const auto response =
        fake.ask("POST", "/v1/images/edits",
                 form({{"image", "a.png", picture}, {"mask", "m.png", mask}, {"n", "", "1"}, {"prompt", "", ""}}),
                 "multipart/form-data; boundary=X");
    ASSERT_EQ(response.status, 200) << response.body;
    ASSERT_TRUE(fake.backend.last.mask.has_value());
    EXPECT_EQ(fake.backend.last.mask->count(), 32);
    EXPECT_TRUE(fake.backend.last.mask->at(0, 0));
    EXPECT_FALSE(fake.backend.last.mask->at(7, 0));
  }
  // Without transparency there is nothing between the two readings; the answer says which it was.
  const auto said =
      fake.ask("POST", "/v1/images/edits", form({{"image", "a.png", picture}, {"mask", "m.png", transparent_png()}}),
               "multipart/form-data; boundary=X");
  EXPECT_EQ(json::parse(said.body)["notes"][0], "mask mask: its transparent pixels are taken, 50.0% of the picture");
  // Without a mask the picture's own holes count.
  const auto own = fake.ask("POST", "/v1/images/edits", form({{"image[]", "a.png", transparent_png()}}),
                            "multipart/form-data; boundary=X");
  EXPECT_EQ(own.status, 200) << own.body;
  EXPECT_EQ(fake.backend.last.mask->count(), 32);
}

TEST(ServerOpenAI, FurtherFilesAreWarnedOfOrRefused) {
  Compatible fake;
  const auto picture = encode_png(Image(8, 8, Colour{9, 90, 200}));
  const auto two = fake.ask("POST", "/v1/images/edits",
                            form({{"image[]", "a.png", transparent_png()}, {"image[]", "b.png", picture}}),
                            "multipart/form-data; boundary=X");
  ASSERT_EQ(two.status, 200) << two.body;
  EXPECT_EQ(json::parse(two.body)["warnings"][0], "image[1] (\"b.png\"): ignored, the first one is taken");
  for (const auto* path : {"/v1/images/generations", "/v1/images/variations"}) {
    const auto response = fake.ask("POST", path, form({{"image", "a.png", picture}, {"mask", "m.png", picture}}),
                                   "multipart/form-data; boundary=X");
    EXPECT_EQ(response.status, 400) << path;
  }
}

TEST(ServerOpenAI, StreamsHavePartialImagesAndThenThePictures) {
  Compatible fake;
  auto response =
      fake.ask("POST", "/v1/images/generations",
               R"({"prompt": "x", "n": 2, "seed": 5, "size": "16x16", "stream": true, "partial_images": 3})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.content_type, "text/event-stream");
  auto events = events_of(response);
  ASSERT_EQ(events.size(), 8u);  // three of each image, and the two
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto& [type, data] = events[i];
    EXPECT_EQ(type, i < 6 ? "image_generation.partial_image" : "image_generation.completed");
    EXPECT_EQ(data["type"], type);
    EXPECT_EQ(data["image_index"], i % 2);
    EXPECT_EQ(data["size"], "16x16");
    EXPECT_EQ(data["output_format"], "png");
    EXPECT_GT(data["created_at"].get<std::int64_t>(), 0);
    if (i < 6) {
      EXPECT_EQ(data["partial_image_index"], i / 2);
    }
    EXPECT_EQ(picture_of(data["b64_json"]).width, 16);
  }
  EXPECT_EQ(events[7].second["usage"]["output_tokens"], 16);
  // The last of them are what the same request gives at once.
  const auto at_once = fake.answer("POST", "/v1/images/generations", "OpenAIImages",
                                   {{"prompt", "x"}, {"n", 2}, {"seed", 5}, {"size", "16x16"}});
  EXPECT_EQ(picture_of(events[7].second["b64_json"]).pixels, picture_of(at_once["data"][1]["b64_json"]).pixels);
  // Edits, as forms; without partial images.
  auto edit = fake.ask("POST", "/v1/images/edits",
                       form({{"image", "a.png", transparent_png()}, {"stream", "", "true"}, {"prompt", "", "x"}}),
                       "multipart/form-data; boundary=X");
  ASSERT_EQ(edit.status, 200) << edit.body;
  events = events_of(edit);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].first, "image_edit.completed");
  EXPECT_NE(events[0].second["notes"].dump().find("transparent"), std::string::npos);
  // What fails on the way.
  auto bad = fake.ask("POST", "/v1/images/generations", R"({"prompt": "x", "seed": 13, "stream": true})");
  events = events_of(bad);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].first, "error");
  EXPECT_NE(events[0].second["error"]["message"].get<std::string>().find("superstitious"), std::string::npos);
}

TEST(ServerOpenAI, AStreamThatIsLeftEndsItsJob) {
  Compatible fake;
  fake.backend.step_milliseconds = 20;
  auto response = fake.ask("POST", "/v1/images/generations", R"({"prompt": "x", "stream": true})");
  ASSERT_TRUE(response.events);
  const auto job = fake.service.queue().jobs().back();
  response.events.reset();
  EXPECT_TRUE(job->wait_final(Clock::now() + std::chrono::seconds(10)));
  EXPECT_EQ(job->state(), JobState::cancelled);
}

TEST(ServerOpenAI, SizesAreMadeWellAndScaled) {
  Compatible fake;
  const auto value =
      fake.answer("POST", "/v1/images/generations", "OpenAIImages", {{"prompt", "x"}, {"size", "1024x512"}});
  EXPECT_EQ(fake.backend.last.width, 16);
  EXPECT_EQ(fake.backend.last.height, 8);
  EXPECT_EQ(value["size"], "1024x512");
  EXPECT_EQ(picture_of(value["data"][0]["b64_json"]).width, 1024);
  EXPECT_EQ(
      value["notes"][0],
      "size: made at 16x8, a size that the model makes well, and scaled to 1024x512; strict_size: true does without");
  const auto strict = fake.answer("POST", "/v1/images/generations", "OpenAIImages",
                                  {{"prompt", "x"}, {"size", "32x32"}, {"strict_size", true}});
  EXPECT_EQ(fake.backend.last.width, 32);
  EXPECT_FALSE(strict.contains("notes"));
  // An address leads to the scaled bytes, too.
  const auto linked = fake.answer("POST", "/v1/images/generations", "OpenAIImages",
                                  {{"prompt", "x"}, {"size", "64x64"}, {"response_format", "url"}});
  EXPECT_TRUE(linked["data"][0]["url"].get<std::string>().ends_with("/images/0?width=64&height=64"));
}

TEST(ServerOpenAI, EditsWithoutAMaskVaryTheWholePicture) {
  Compatible fake;
  const auto picture = encode_png(Image(64, 64, Colour{9, 90, 200}));
  const auto response = fake.ask("POST", "/v1/images/edits", form({{"image[]", "a.png", picture}, {"prompt", "", "x"}}),
                                 "multipart/form-data; boundary=X");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(fake.backend.last.verb, "variations");
  EXPECT_EQ(fake.backend.last.image->width, 8);
  const auto value = json::parse(response.body);
  EXPECT_EQ(value["size"], "64x64");
  EXPECT_NE(value["notes"].dump().find("mask: none"), std::string::npos) << value["notes"];
  // With a mask the picture keeps its size; another size of the answer is a matter of scaling.
  Image drawn(64, 64, Colour{0, 0, 0});
  std::fill_n(drawn.at(0, 0), 3 * 64, 255);
  const auto masked =
      fake.ask("POST", "/v1/images/edits",
               form({{"image", "a.png", picture}, {"mask", "m.png", encode_png(drawn)}, {"size", "", "32x32"}}),
               "multipart/form-data; boundary=X");
  ASSERT_EQ(masked.status, 200) << masked.body;
  EXPECT_EQ(fake.backend.last.image->width, 64);
  EXPECT_EQ(picture_of(json::parse(masked.body)["data"][0]["b64_json"]).width, 32);
  const auto strict = fake.ask("POST", "/v1/images/edits",
                               form({{"image", "a.png", picture},
                                     {"mask", "m.png", encode_png(drawn)},
                                     {"size", "", "32x32"},
                                     {"strict_size", "", "true"}}),
                               "multipart/form-data; boundary=X");
  EXPECT_EQ(json::parse(strict.body)["error"]["param"], "size");
}

TEST(ServerOpenAI, VariationsArePicturesNearTheGivenOne) {
  Compatible fake;
  const auto picture = encode_png(Image(8, 8, Colour{9, 90, 200}));
  const auto response = fake.ask("POST", "/v1/images/variations", form({{"image", "a.png", picture}, {"n", "", "3"}}),
                                 "multipart/form-data; boundary=X");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(json::parse(response.body)["data"].size(), 3u);
  EXPECT_EQ(fake.backend.last.verb, "variations");
  EXPECT_FALSE(fake.backend.last.mask.has_value());
}

TEST(ServerOpenAI, RefusalsHaveItsForm) {
  Compatible fake;
  const std::vector<std::pair<json, std::string>> cases = {
      {{{"n", 0}}, "n"},
      {{{"size", "big"}}, "size"},
      {{{"response_format", "xml"}}, "response_format"},
      {{{"stream", "often"}}, "stream"},
      {{{"partial_images", 4}}, "partial_images"},
      {{{"n", 65}, {"seed", 1}}, "n"},
      {{{"size", "60000x60000"}}, "size"},
      {{{"size", "60000x60000"}, {"strict_size", true}}, "size"},
      {{{"stream", true}, {"response_format", "url"}}, "response_format"},
      {{{"background", "transparent"}}, "background"},
      {{{"colour", 1}}, "colour"}};
  for (const auto& [body, param] : cases) {
    const auto response = fake.ask("POST", "/v1/images/generations", body.dump());
    EXPECT_EQ(response.status, 400);
    const auto error = json::parse(response.body)["error"];
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], param);
    EXPECT_NE(error["message"].get<std::string>().find(param), std::string::npos) << error;
  }
  const auto unknown = fake.ask("POST", "/v1/images/generations", R"({"model": "dall-e-9", "prompt": "x"})");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_NE(unknown.body.find("expected one of tiny, wordy"), std::string::npos);
  const auto empty = fake.ask("POST", "/v1/images/edits", form({{"n", "", "1"}}), "multipart/form-data; boundary=X");
  EXPECT_EQ(json::parse(empty.body)["error"]["param"], "image");
}

TEST(ServerOpenAI, ModelsAreListed) {
  Compatible fake;
  EXPECT_EQ(fake.answer("GET", "/v1/models", "OpenAIModels")["data"][0]["id"], "tiny");
  EXPECT_EQ(fake.answer("GET", "/v1/models/wordy", "OpenAIModel")["id"], "wordy");
  EXPECT_EQ(fake.ask("GET", "/v1/models/other").status, 404);
}

TEST(ServerA1111, Txt2ImgTakesWhatItsClientsSend) {
  Compatible fake;
  const auto value = fake.answer("POST", "/sdapi/v1/txt2img", "A1111Images",
                                 {{"prompt", "a cat"},
                                  {"negative_prompt", ""},
                                  {"seed", -1},
                                  {"steps", 20},
                                  {"cfg_scale", 7.5},
                                  {"width", 8},
                                  {"height", 8},
                                  {"batch_size", 2},
                                  {"n_iter", 2},
                                  {"sampler_name", "Euler a"},
                                  {"styles", json::array()},
                                  {"enable_hr", false},
                                  {"send_images", true},
                                  {"override_settings", {{"sd_model_checkpoint", "wordy"}}},
                                  {"alwayson_scripts", json::object()}});
  EXPECT_EQ(value["images"].size(), 4u);
  EXPECT_EQ(fake.backend.last.sampling.get<std::string>("sampler"), "ancestral");
  EXPECT_EQ(fake.backend.last.sampling.get<std::int64_t>("steps"), 20);
  EXPECT_EQ(fake.backend.last.sampling.get<double>("cfg_scale"), 7.5);
  const auto info = json::parse(value["info"].get<std::string>());
  EXPECT_EQ(info["seed"], fake.backend.last.seed);
  EXPECT_EQ(info["sd_model_name"], "wordy");
}

TEST(ServerA1111, Img2ImgIsVariationsAndAMaskIsTheirRegion) {
  Compatible fake;
  const auto picture = to_base64(encode_png(Image(8, 8)));
  Image drawn(8, 8, Colour{0, 0, 0});
  std::fill_n(drawn.at(0, 0), 3 * 8, 255);
  fake.answer("POST", "/sdapi/v1/img2img", "A1111Images", {{"init_images", {picture}}, {"denoising_strength", 0.4}});
  EXPECT_EQ(fake.backend.last.verb, "variations");
  EXPECT_EQ(fake.backend.last.strength, 0.4);
  EXPECT_FALSE(fake.backend.last.mask.has_value());
  const json masked = {{"init_images", {picture}}, {"mask", to_base64(encode_png(drawn))}, {"mask_blur", 2}};
  fake.answer("POST", "/sdapi/v1/img2img", "A1111Images", masked);
  EXPECT_EQ(fake.backend.last.mask->count(), 8);
  EXPECT_EQ(fake.backend.last.feather, 2);
  auto inverted = masked;
  inverted["inpainting_mask_invert"] = 1;
  fake.answer("POST", "/sdapi/v1/img2img", "A1111Images", inverted);
  EXPECT_EQ(fake.backend.last.mask->count(), 56);
}

TEST(ServerA1111, InvertIsReadAsClientsWriteIt) {
  Compatible fake;
  Image drawn(8, 8, Colour{0, 0, 0});
  std::fill_n(drawn.at(0, 0), 3 * 8, 255);
  json body = {{"init_images", {to_base64(encode_png(Image(8, 8)))}}, {"mask", to_base64(encode_png(drawn))}};
  for (const auto& [value, count] : std::vector<std::pair<json, std::int64_t>>{
           {0, 8}, {false, 8}, {"0", 8}, {"false", 8}, {nullptr, 8}, {1, 56}, {true, 56}, {"1", 56}, {"true", 56}}) {
    body["inpainting_mask_invert"] = value;
    fake.answer("POST", "/sdapi/v1/img2img", "A1111Images", body);
    EXPECT_EQ(fake.backend.last.mask->count(), count) << value;
  }
  for (const auto& value : {json(2), json("yes please"), json(0.5), json::array()}) {
    body["inpainting_mask_invert"] = value;
    const auto response = fake.ask("POST", "/sdapi/v1/img2img", body.dump());
    EXPECT_EQ(response.status, 400) << value;
    EXPECT_NE(response.body.find("inpainting_mask_invert"), std::string::npos);
  }
}

TEST(ServerA1111, StrokesOnATransparentCanvasAreTheMaskAndTheAnswerSaysSo) {
  Compatible fake;
  for (const char* name : {"mask", "latent_mask"}) {
    const auto value =
        fake.answer("POST", "/sdapi/v1/img2img", "A1111Images",
                    {{"init_images", {to_base64(encode_png(Image(8, 8)))}}, {name, to_base64(transparent_png())}});
    EXPECT_TRUE(fake.backend.last.mask->at(7, 0));
    EXPECT_FALSE(fake.backend.last.mask->at(0, 0));
    EXPECT_EQ(json::parse(value["info"].get<std::string>())["notes"][0],
              fmt::format("mask {}: it has transparency, its opaque pixels are taken, 50.0% of the picture", name));
  }
}

TEST(ServerA1111, AMaskBlurOfZeroIsASharpEdge) {
  Compatible fake;
  Image drawn(8, 8, Colour{0, 0, 0});
  std::fill_n(drawn.at(0, 0), 3 * 8, 255);
  json body = {{"init_images", {to_base64(encode_png(Image(8, 8)))}}, {"mask", to_base64(encode_png(drawn))}};
  for (const char* name : {"mask_blur", "mask_blur_x"}) {
    auto own = body;
    own[name] = 0;
    fake.answer("POST", "/sdapi/v1/img2img", "A1111Images", own);
    EXPECT_TRUE(fake.backend.last.sharp) << name;
    EXPECT_EQ(fake.backend.last.feather, -1);
  }
}

TEST(ServerA1111, SamplersOfContinuousDiffusionAreTheModelsOwnWithANote) {
  Compatible fake;
  for (const char* name : {"DPM++ 2M Karras", "DDIM", "LMS", "UniPC", "k_dpm_2"}) {
    const auto value = fake.answer("POST", "/sdapi/v1/txt2img", "A1111Images", {{"sampler_name", name}});
    EXPECT_FALSE(fake.backend.last.sampling.has("sampler"));
    const auto note = json::parse(value["info"].get<std::string>())["notes"][0].get<std::string>();
    EXPECT_NE(note.find(name), std::string::npos) << note;
  }
}

TEST(ServerA1111, TheOptionsThatAreGivenAreTakenBack) {
  Compatible fake;
  auto options = fake.answer("GET", "/sdapi/v1/options", "A1111Options");
  options["sd_model_checkpoint"] = "wordy";
  fake.answer("POST", "/sdapi/v1/options", "A1111Nothing", options);
  EXPECT_EQ(fake.answer("GET", "/sdapi/v1/options", "A1111Options")["sd_model_checkpoint"], "wordy");
  options["samples_format"] = "jpg";
  EXPECT_EQ(fake.ask("POST", "/sdapi/v1/options", options.dump()).status, 400);
}

TEST(ServerA1111, WhatClientsLookForWhenTheyConnectIsThere) {
  Compatible fake;
  for (const char* name : {"schedulers", "upscalers", "latent-upscale-modes", "loras", "hypernetworks",
                           "face-restorers", "realesrgan-models", "prompt-styles", "sd-vae", "extensions"})
    EXPECT_EQ(fake.answer("GET", std::string("/sdapi/v1/") + name, "A1111None"), json::array()) << name;
  EXPECT_TRUE(fake.answer("GET", "/sdapi/v1/embeddings", "A1111Empty").contains("loaded"));
  fake.answer("GET", "/sdapi/v1/cmd-flags", "A1111Empty");
  fake.answer("GET", "/internal/ping", "A1111Empty");
  fake.answer("POST", "/sdapi/v1/refresh-checkpoints", "A1111Empty", json::object());
}

TEST(ServerA1111, WhatHasNoMeaningHereIsRefusedClearly) {
  Compatible fake;
  for (const auto& body : {R"({"enable_hr": true})", R"({"script_name": "x/y/z plot"})", R"({"sampler_name": "Quick"})",
                           R"({"colour": 1})"}) {
    const auto response = fake.ask("POST", "/sdapi/v1/txt2img", body);
    EXPECT_TRUE(response.status == 400 || response.status == 422) << body;
    EXPECT_FALSE(json::parse(response.body)["detail"].get<std::string>().empty());
  }
}

TEST(ServerA1111, SmallRoutesHaveTheirForms) {
  Compatible fake;
  EXPECT_EQ(fake.answer("GET", "/sdapi/v1/samplers", "A1111Samplers")[0]["aliases"][0], "Euler a");
  EXPECT_EQ(fake.answer("GET", "/sdapi/v1/sd-models", "A1111Models")[1]["title"], "wordy");
  EXPECT_EQ(fake.answer("GET", "/sdapi/v1/options", "A1111Options")["sd_model_checkpoint"], "tiny");
  fake.answer("POST", "/sdapi/v1/options", "A1111Nothing", {{"sd_model_checkpoint", "wordy"}});
  EXPECT_EQ(fake.answer("GET", "/sdapi/v1/options", "A1111Options")["sd_model_checkpoint"], "wordy");
  EXPECT_EQ(fake.answer("GET", "/sdapi/v1/progress", "A1111Progress")["progress"], 0.0);
  fake.answer("POST", "/sdapi/v1/interrupt", "A1111Empty", json::object());
}

TEST(ServerA1111, InterruptAnswersWithThePicturesOnTheWay) {
  Compatible fake;
  fake.backend.step_milliseconds = 20;
  HttpResponse answer;
  std::thread client([&] { answer = fake.ask("POST", "/sdapi/v1/txt2img", R"({"batch_size": 4, "seed": 6})"); });
  for (int i = 0; i < 500 && json::parse(fake.ask("GET", "/sdapi/v1/progress").body)["progress"] == 0.0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  fake.ask("POST", "/sdapi/v1/interrupt");
  client.join();
  EXPECT_EQ(answer.status, 200) << answer.body;
  const auto value = json::parse(answer.body);
  ASSERT_EQ(value["images"].size(), 4u);
  const auto picture = picture_of(value["images"][0]);
  EXPECT_EQ(picture.at(0, 0)[0], FakeBackend::code_of(6, 0, 0) * 16);  // it was there
  EXPECT_EQ(picture.at(7, 7)[0], 15 * 16);                             // the guess at what was not
  const auto info = json::parse(value["info"].get<std::string>());
  EXPECT_EQ(info["all_seeds"].size(), 4u);
  EXPECT_NE(info["notes"].dump().find("interrupted after step"), std::string::npos) << info["notes"];
  EXPECT_LT(fake.backend.steps_walked, 16);
  EXPECT_EQ(fake.service.job(info["job"].get<std::string>())->state(), JobState::done);
}

TEST(ServerA1111, InterruptCancelsWhatWaits) {
  Compatible fake;
  fake.backend.step_milliseconds = 20;
  std::vector<HttpResponse> answers(2);
  std::vector<std::thread> clients;
  for (std::size_t i = 0; i < 2; ++i) {
    // Other steps: the two are not filled together; so many that the second is not done beside the first.
    clients.emplace_back([&, i] {
      answers[i] = fake.ask("POST", "/sdapi/v1/txt2img", i == 0 ? R"({"steps": 150})" : R"({"steps": 140})");
    });
    for (int look = 0; look < 500 && fake.service.queue().jobs().size() <= i; ++look) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  for (int i = 0; i < 500 && json::parse(fake.ask("GET", "/sdapi/v1/progress").body)["progress"] == 0.0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  fake.ask("POST", "/sdapi/v1/interrupt");
  for (auto& client : clients) client.join();
  EXPECT_EQ(answers[0].status, 200);
  EXPECT_EQ(answers[1].status, 409);
}

TEST(ServerA1111, SizesAreMadeWellAndScaled) {
  Compatible fake;
  const auto made = [&](json body) {
    const auto value = fake.answer("POST", "/sdapi/v1/txt2img", "A1111Images", body);
    const auto picture = picture_of(value["images"][0]);
    const auto info = json::parse(value["info"].get<std::string>());
    EXPECT_EQ(info["width"], picture.width);
    return std::tuple(fake.backend.last.width, fake.backend.last.height, picture.width, picture.height,
                      info["notes"].size());
  };
  EXPECT_EQ(made({{"width", 512}, {"height", 512}}), std::tuple(8, 8, 512, 512, 1u));
  EXPECT_EQ(made({{"width", 768}, {"height", 512}}), std::tuple(12, 8, 768, 512, 1u));
  EXPECT_EQ(made({{"width", 8}, {"height", 8}}), std::tuple(8, 8, 8, 8, 0u));
  EXPECT_EQ(made({{"width", 16}, {"height", 8}}), std::tuple(16, 8, 16, 8, 0u));
  EXPECT_EQ(made({{"width", 4}, {"height", 4}}), std::tuple(8, 8, 4, 4, 1u));
  EXPECT_EQ(made({{"width", 800}, {"height", 10}}), std::tuple(32, 8, 800, 10, 1u));  // four times as long at most
  EXPECT_EQ(made({{"width", 32}, {"height", 32}, {"strict_size", true}}), std::tuple(32, 32, 32, 32, 0u));
  EXPECT_EQ(made(json::object()), std::tuple(0, 0, 8, 8, 0u));
  // A whole picture is worked on at such a size; within a mask it keeps its own.
  const auto picture = to_base64(encode_png(Image(64, 32, Colour{9, 90, 200})));
  json body = {{"init_images", {picture}}, {"denoising_strength", 0.5}};
  auto value = fake.answer("POST", "/sdapi/v1/img2img", "A1111Images", body);
  EXPECT_EQ(fake.backend.last.image->width, 16);
  EXPECT_EQ(picture_of(value["images"][0]).width, 64);
  Image drawn(64, 32, Colour{0, 0, 0});
  std::fill_n(drawn.at(0, 0), 3 * 64, 255);
  body["mask"] = to_base64(encode_png(drawn));
  fake.answer("POST", "/sdapi/v1/img2img", "A1111Images", body);
  EXPECT_EQ(fake.backend.last.image->width, 64);
}

TEST(ServerA1111, NumbersMayBeTexts) {
  Compatible fake;
  fake.answer(
      "POST", "/sdapi/v1/txt2img", "A1111Images",
      {{"seed", "7"}, {"steps", "9"}, {"batch_size", "2"}, {"width", "8"}, {"height", "8"}, {"enable_hr", "false"}});
  EXPECT_EQ(fake.backend.last.seed, 7u);
  EXPECT_EQ(fake.backend.last.count, 2);
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{{"steps", "nine"},
                                                                              {"steps", "9x"},
                                                                              {"batch_size", "1.5"},
                                                                              {"batch_size", 65},
                                                                              {"width", true},
                                                                              {"sampler_name", 3},
                                                                              {"colour", 1}}) {
    const auto response = fake.ask("POST", "/sdapi/v1/txt2img", json({{field, value}}).dump());
    EXPECT_TRUE(response.status == 400 || response.status == 422) << response.body;
    const auto error = json::parse(response.body);
    EXPECT_EQ(error["field"], field) << error;
    EXPECT_NE(error["detail"].get<std::string>().find(field), std::string::npos) << error;
  }
  const auto other = fake.ask("POST", "/sdapi/v1/txt2img", R"({"override_settings": {"sd_model_checkpoint": "sd15"}})");
  EXPECT_EQ(json::parse(other.body)["field"], "override_settings.sd_model_checkpoint");
}

TEST(ServerA1111, InfoHasWhatClientsReadOfIt) {
  Compatible fake;
  const auto value = fake.answer("POST", "/sdapi/v1/txt2img", "A1111Images",
                                 {{"prompt", "a cat"},
                                  {"negative_prompt", "a dog"},
                                  {"seed", 3},
                                  {"steps", 9},
                                  {"override_settings", {{"sd_model_checkpoint", "wordy"}}}});
  const auto info = json::parse(value["info"].get<std::string>());
  EXPECT_EQ(info["infotexts"][0], fmt::format("a cat\nNegative prompt: a dog\nSteps: 9, Sampler: ancestral, Seed: 3, "
                                              "Size: 8x8, Model: wordy, Version: Tessera {}",
                                              version()));
  EXPECT_EQ(info["all_prompts"], json::parse(R"(["a cat"])"));
  EXPECT_EQ(info["index_of_first_image"], 0);
}

}  // namespace compatibility_test
}  // namespace tessera::testing
