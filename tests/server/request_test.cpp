#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "server/base64.h"
#include "server/fake_backend.h"
#include "server/request_fields.h"

namespace tessera::testing {
namespace request_test {

using nlohmann::json;

std::string picture_uri(int width, int height, Colour colour = {}) {
  return to_data_uri("image/png", encode_png(Image(width, height, colour)));
}

JobRequest parsed(const json& body, const std::vector<FormPart>& files = {}, const ServiceLimits& limits = {}) {
  return parse_job_request(body, files, limits);
}

/// The refusal of a body, "field | message".
std::string refusal(const json& body, const std::vector<FormPart>& files = {}, const ServiceLimits& limits = {}) {
  try {
    parsed(body, files, limits);
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.field + " | " + error.what();
  }
  return "accepted";
}

TEST(ServerRequest, EveryFieldOfAVerbIsRead) {
  const auto request = parsed({{"verb", "generate"},
                               {"model", "tiny"},
                               {"seed", 7},
                               {"count", 3},
                               {"steps", 20},
                               {"temperature", 0.8},
                               {"sampler", "confidence"},
                               {"top_k", 5},
                               {"top_p", 0.9},
                               {"width", 32},
                               {"height", 16},
                               {"stride", 2},
                               {"random_windows", true},
                               {"format", "webp"},
                               {"previews", false}});
  EXPECT_EQ(request.seed, 7u);
  EXPECT_EQ(request.count, 3);
  EXPECT_EQ(request.sampling.get<std::int64_t>("steps"), 20);
  EXPECT_EQ(request.sampling.get<double>("temperature"), 0.8);
  EXPECT_EQ(request.sampling.get<std::string>("sampler"), "confidence");
  EXPECT_EQ(request.width, 32);
  EXPECT_TRUE(request.random_windows);
  EXPECT_EQ(request.format, "webp");
  EXPECT_FALSE(request.previews);
}

TEST(ServerRequest, NullIsTheSameAsLeftOut) {
  EXPECT_TRUE(parsed({{"verb", "generate"}, {"seed", nullptr}, {"temperature", nullptr}}).sampling.empty());
}

TEST(ServerRequest, RefusalsNameFieldFoundAndExpected) {
  const std::vector<std::pair<json, std::string>> cases = {
      {json::array(), " | body: array, expected a JSON object"},
      {{{"verb", "paint"}},
       "verb | verb: \"paint\", expected one of fill, generate, inpaint, outpaint, reconstruct, stitch, variations"},
      {{{"count", 2}},
       "verb | verb: missing, expected one of fill, generate, inpaint, outpaint, reconstruct, stitch, variations"},
      {{{"verb", "generate"}, {"count", -3}}, "count | count: -3, expected a whole number from 1 to 1000000"},
      {{{"verb", "generate"}, {"count", 65}}, "count | count: 65, expected at most 64"},
      {{{"verb", "generate"}, {"count", 1.5}}, "count | count: 1.5, expected a whole number from 1 to 1000000"},
      {{{"verb", "generate"}, {"steps", 5000}}, "steps | steps: 5000, expected at most 4096"},
      {{{"verb", "generate"}, {"seed", "one"}},
       "seed | seed: \"one\", expected a whole number from 0 to 9007199254740991"},
      {{{"verb", "generate"}, {"top_p", 0}}, "top_p | top_p is 0, expected above 0, at most 1"},
      {{{"verb", "generate"}, {"sampler", "eulr"}},
       "sampler | sampler is 'eulr', expected one of ancestral, autoregressive, chain, confidence, masked, mlm, "
       "purity, "
       "raster, halton, redraw, amused"},
      {{{"verb", "generate"}, {"previews", 1}}, "previews | previews: 1, expected true or false"},
      {{{"verb", "generate"}, {"width", 4000}, {"height", 4000}},
       "width | width: a picture of 4000x4000 pixels, expected at most 1048576 in all"},
      {{{"verb", "inpaint"}}, "image | image: missing, expected a picture for inpaint"},
      {{{"verb", "fill"}}, "tokens | tokens: missing, expected [h][w] codes, null where MASK"},
      {{{"verb", "fill"}, {"tokens", json::array({json::array({1, 2}), json::array({1})})}},
       "tokens | tokens: row 1 is not as long as the first, expected 2 codes"},
      {{{"verb", "stitch"}}, "pieces | pieces: missing, expected at least one piece"},
  };
  for (const auto& [body, expected] : cases) EXPECT_EQ(refusal(body), expected);
}

TEST(ServerRequest, AFieldOfAnotherVerbIsRefusedNotForgotten) {
  const auto text = refusal({{"verb", "generate"}, {"strength", 0.5}});
  EXPECT_TRUE(text.starts_with("strength | strength: the verb generate does not take it")) << text;
  EXPECT_TRUE(refusal({{"verb", "generate"}, {"colour", "red"}}).starts_with("colour | unknown field \"colour\""));
}

TEST(ServerRequest, RegionsAreOfThePictureAndOfOneKind) {
  const auto image = picture_uri(16, 16);
  const auto request = parsed({{"verb", "inpaint"}, {"image", image}, {"boxes", {{2, 2, 4, 4}}}});
  EXPECT_EQ(request.mask->count(), 16);
  EXPECT_FALSE(request.keep);
  EXPECT_EQ(refusal({{"verb", "inpaint"}, {"image", image}}),
            "mask | inpaint: expected mask, boxes, keep_mask or keep_boxes");
  EXPECT_TRUE(refusal({{"verb", "inpaint"}, {"image", image}, {"boxes", {{12, 12, 8, 8}}}}).starts_with("boxes | "));
  const auto known =
      parsed({{"verb", "inpaint"}, {"image", image}, {"boxes", {{2, 2, 4, 4}}}, {"tokens", {{1, 2}, {3, 4}}}});
  EXPECT_EQ(known.tokens->code.size(), 4U);
  EXPECT_NE(known.command, "");
  EXPECT_TRUE(
      refusal({{"verb", "inpaint"}, {"tokens", {{1, nullptr}}}, {"boxes", {{2, 2, 4, 4}}}}).starts_with("tokens | "));
  EXPECT_TRUE(
      refusal({{"verb", "inpaint"}, {"image", image}, {"boxes", {{1, 1, 2, 2}}}, {"keep_boxes", {{8, 8, 2, 2}}}})
          .starts_with("keep_mask | "));
  EXPECT_TRUE(refusal({{"verb", "inpaint"}, {"image", image}, {"mask", picture_uri(16, 16, {0, 0, 0})}})
                  .starts_with("mask | "));
  EXPECT_TRUE(refusal({{"verb", "inpaint"}, {"image", image}, {"mask", picture_uri(16, 9)}}).starts_with("mask | "));
}

TEST(ServerRequest, FilesOfAFormStandForPictures) {
  const std::vector<FormPart> files = {{"image", "../../etc/passwd", "image/png", encode_png(Image(8, 8))}};
  const auto request = parsed({{"verb", "variations"}}, files);
  ASSERT_TRUE(request.image);
  EXPECT_EQ(request.image->width, 8);
  EXPECT_EQ(refusal({{"verb", "variations"}, {"image", picture_uri(8, 8)}}, files),
            "image | image: given in the JSON and as a file, expected one of them");
  EXPECT_EQ(refusal({{"verb", "generate"}}, files), "image | form: unknown part \"image\"");
}

TEST(ServerRequest, UploadsAreBoundedBeforeTheyAreDecoded) {
  ServiceLimits limits;
  limits.upload_pixels = 100;
  const auto text = refusal({{"verb", "variations"}, {"image", picture_uri(64, 64)}}, {}, limits);
  EXPECT_EQ(text, "image | image: 64x64 pixels, expected at most 100 in all");
  EXPECT_EQ(refusal({{"verb", "variations"}, {"image", "data:image/png;base64,AAAA"}}),
            "image | image: not an image; expected PNG, JPEG, WebP, TIFF or GIF");
  EXPECT_TRUE(refusal({{"verb", "variations"}, {"image", "data:image/png;base64,!!"}})
                  .starts_with("image | image: not base64"));
}

TEST(ServerRequest, JsonThatIsNestedTooDeepOrBrokenIsRefused) {
  EXPECT_THROW(parse_json(std::string(100000, '[')), HttpError);
  EXPECT_THROW(parse_json("{\"a\": \"\xff\"}"), HttpError);
  EXPECT_THROW(parse_json("{\"verb\": \"generate\""), HttpError);
  EXPECT_THROW(parse_json(""), HttpError);
  try {
    parse_json("1e999", "body");
    ADD_FAILURE() << "accepted";
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status, 400);
  }
}

TEST(ServerRequest, TheCommandIsWhatTheCommandLineTakes) {
  auto request = parsed({{"verb", "inpaint"},
                         {"model", "tiny"},
                         {"image", picture_uri(16, 16)},
                         {"boxes", {{2, 2, 4, 4}}},
                         {"seed", 5},
                         {"count", 9},
                         {"temperature", 0.8}});
  EXPECT_EQ(request.command,
            "tessera inpaint -m tiny --seed 5 --count 9 --temperature 0.8 --image image.png --box 2,2,4,4");
  const auto record = json::parse(request.record);
  EXPECT_EQ(record["boxes"], json::parse("[[2, 2, 4, 4]]"));
  EXPECT_EQ(record["image"], json::parse(R"({"width": 16, "height": 16})"));
  EXPECT_EQ(record["seed"], 5);
  EXPECT_EQ(parsed({{"verb", "fill"}, {"tokens", json::parse("[[1, null]]")}}).command, "");
}

TEST(ServerRequest, TokensKeepNullForMask) {
  const auto tokens = parse_tokens(json::parse("[[1, null], [-1, 4]]"), "tokens", {});
  EXPECT_EQ(tokens, (TokenArray{2, 2, {1, -1, -1, 4}}));
  EXPECT_EQ(to_json(tokens), json::parse("[[1, null], [null, 4]]"));
}

TEST(ServerRequest, FormsAreTakenApartAtTheirBoundary) {
  const std::string body =
      "--XX\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n{}\r\n"
      "--XX\r\nContent-Disposition: form-data; name=image; filename=\"a\\\"b.png\"\r\nContent-Type: image/png\r\n\r\n"
      "bytes\r\n--X\r\n--XX\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--XX--\r\n";
  const auto parts = parse_form(body, form_boundary("multipart/form-data; boundary=\"XX\""));
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].content, "{}");
  EXPECT_EQ(parts[1].filename, "a\"b.png");
  EXPECT_EQ(parts[1].content, "bytes\r\n--X");
  EXPECT_EQ(parts[2].content, "");
  EXPECT_EQ(form_boundary("application/json"), "");
  EXPECT_THROW(form_boundary("multipart/form-data"), HttpError);
  EXPECT_THROW(parse_form("--XX\r\nno end", "XX"), HttpError);
  EXPECT_THROW(parse_form("--XX\r\n\r\n\r\n\r\nno name\r\n--XX--", "XX"), HttpError);
  for (std::size_t cut = 0; cut + 4 < body.size(); ++cut) {
    try {
      parse_form(body.substr(0, cut), "XX");
      ADD_FAILURE() << "a body cut at " << cut << " was taken";
    } catch (const HttpError&) {
    }
  }
}

TEST(ServerRequest, Base64GoesBothWays) {
  std::string bytes;
  for (int length = 0; length < 70; ++length) {
    EXPECT_EQ(from_base64(to_base64(bytes), "it"), bytes);
    bytes += static_cast<char>(length * 37);
  }
  EXPECT_EQ(to_base64("Man"), "TWFu");
  EXPECT_EQ(from_base64("TWE=", "it"), "Ma");
  EXPECT_THROW(from_base64("T", "it"), Error);
  EXPECT_THROW(from_base64("TW=Fu", "it"), Error);
  EXPECT_THROW(from_data_uri("data:text/plain,hello", "it"), Error);
}

}  // namespace request_test
}  // namespace tessera::testing
