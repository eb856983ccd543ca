/// A model's card: its author's words, its examples, how much of a text it reads.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "server/fake_backend.h"

namespace tessera::testing {
namespace card_test {

using nlohmann::json;

/// "wordy" lies in the folder of the shipped text model; "tiny" has none.
class OnDisk : public FakeBackend {
 public:
  std::vector<ModelInfo> models() override {
    auto list = FakeBackend::models();
    list[1].folder = std::filesystem::path(TESSERA_SOURCE_DIR) / "models" / "emoji64-text";
    return list;
  }
};

struct Asked {
  OnDisk backend;
  Metrics metrics;
  Service service{backend, metrics, {{}, {}}};

  HttpResponse ask(const std::string& method, const std::string& path, const std::string& body = {},
                   const std::string& host = "127.0.0.1:8080", const std::string& address = "127.0.0.1") {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.body = body;
    request.headers["host"] = host;
    request.address = address;
    return service.handle(request);
  }
};

TEST(ModelCard, HoldsTheAuthorsWordsAndCaptionedExamples) {
  Asked asked;
  const auto card = json::parse(asked.ask("GET", "/api/v1/models/wordy/card").body);
  EXPECT_NE(card["text"].get<std::string>().find("What it can and cannot do"), std::string::npos);
  EXPECT_EQ(card["text"].get<std::string>().find("written by tessera train"), std::string::npos);
  ASSERT_EQ(card["examples"].size(), 16u);
  bool captioned = false;
  for (const auto& example : card["examples"]) captioned = captioned || example["text"] == "face with monocle";
  EXPECT_TRUE(captioned);
  const auto picture = asked.ask("GET", card["examples"][0]["url"]);
  EXPECT_EQ(picture.content_type, "image/png");
  EXPECT_TRUE(picture.body.starts_with("\x89PNG"));
  EXPECT_EQ(asked.ask("GET", "/api/v1/models/wordy/examples/16").status, 404);
  EXPECT_EQ(asked.ask("GET", "/api/v1/models/wordy/examples/../card").status, 404);
}

TEST(ModelCard, TellsItsFolderToThisMachineAlone) {
  Asked asked;
  const auto near = json::parse(asked.ask("GET", "/api/v1/models/wordy/card").body);
  EXPECT_TRUE(near["folder"].get<std::string>().ends_with("models/emoji64-text"));
  const auto far = json::parse(asked.ask("GET", "/api/v1/models/wordy/card", "", "127.0.0.1", "192.0.2.7").body);
  EXPECT_TRUE(far["folder"].is_null());
}

TEST(ModelCard, OfAModelWithoutFilesIsEmpty) {
  Asked asked;
  const auto card = json::parse(asked.ask("GET", "/api/v1/models/tiny/card").body);
  EXPECT_EQ(card["text"], "");
  EXPECT_TRUE(card["examples"].empty());
  EXPECT_TRUE(card["folder"].is_null());
  EXPECT_EQ(asked.ask("GET", "/api/v1/models/nobody/card").status, 404);
}

TEST(ModelCard, CountsTheTokensOfATextAndNamesTheWordsBeyond) {
  Asked asked;
  const auto words = [&](const std::string& text) {
    return json::parse(asked.ask("POST", "/api/v1/models/wordy/words", json({{"text", text}}).dump()).body);
  };
  const auto few = words("judge: dark skin tone");
  EXPECT_GT(few["tokens"], 3);
  EXPECT_EQ(few["most"], 30);
  EXPECT_EQ(few["left_out"], "");
  std::string many;
  for (int k = 0; k < 40; ++k) many += "judge ";
  const auto cut = words(many + "zebra");
  EXPECT_GT(cut["tokens"], 30);
  EXPECT_TRUE(cut["left_out"].get<std::string>().ends_with("judge zebra"));
  EXPECT_EQ(asked.ask("POST", "/api/v1/models/tiny/words", R"({"text": "a"})").status, 400);
  EXPECT_EQ(asked.ask("POST", "/api/v1/models/wordy/words", R"({"text": 3})").status, 400);
}

}  // namespace card_test
}  // namespace tessera::testing
