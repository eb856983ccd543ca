/// What the clients of other programs send, from discovery to pictures: our own versions of their requests, in
/// tests/server/replays, each file in its order. Pictures are drawn here.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "server/base64.h"
#include "server/fake_service.h"
#include "server/schema_check.h"

namespace tessera::testing {
namespace replay_test {

using nlohmann::json;

/// A picture of this size; white: the box [x, y, w, h] of it that is white, all else black.
std::string drawn(const json& what, const char* size_name) {
  const auto size = what[size_name];
  Image image(size[0], size[1], what.contains("white") ? Colour{0, 0, 0} : Colour{9, 90, 200});
  if (what.contains("white")) {
    const auto& box = what["white"];
    for (int y = box[1]; y < box[1].get<int>() + box[3].get<int>(); ++y) {
      for (int x = box[0]; x < box[0].get<int>() + box[2].get<int>(); ++x) std::fill_n(image.at(x, y), 3, 255);
    }
  }
  return encode_png(image);
}

class Replay {
 public:
  explicit Replay(const std::string& name) {
    std::ifstream file(std::string(TESSERA_SOURCE_DIR) + "/tests/server/replays/" + name);
    script_ = json::parse(file, nullptr, false);
    EXPECT_TRUE(script_.is_object()) << name;
    document_ = json::parse(fake_.ask("GET", "/api/v1/openapi.json").body);
  }

  void run() {
    ASSERT_FALSE(script_["requests"].empty());
    for (const auto& request : script_["requests"]) {
      SCOPED_TRACE(request["method"].get<std::string>() + " " + request["path"].get<std::string>() + " " +
                   request.value("what", ""));
      send(request);
    }
  }

 private:
  void send(const json& request) {
    std::map<std::string, std::string> headers;
    const auto own = request.value("headers", json::object());
    for (const auto& [name, value] : own.items()) headers[name] = value;
    std::string body;
    if (request.contains("body")) {
      headers["content-type"] = "application/json";
      body = filled(request["body"]).dump();
    }
    if (request.contains("form")) {
      headers["content-type"] = "multipart/form-data; boundary=X";
      body = form(request["form"]);
    }
    const auto response = fake_.ask(request["method"], request["path"], body, headers);
    EXPECT_EQ(response.status, request.value("status", 200)) << response.body.substr(0, 400);
    const auto answer = json::parse(response.body, nullptr, false);
    ASSERT_FALSE(answer.is_discarded());
    if (response.status == 200) check_schema(request, answer);
    if (request.contains("save")) saved_[request["save"]] = answer;
    const auto answers = request.value("answer", json::object());
    for (const auto& [pointer, wanted] : answers.items()) check(answer, pointer, wanted);
  }

  /// Against what the document says of the route.
  void check_schema(const json& request, const json& answer) {
    auto path = request["path"].get<std::string>();
    path = path.substr(0, path.find('?'));
    if (path.starts_with("/v1/models/")) path = "/v1/models/{model}";
    auto method = request["method"].get<std::string>();
    for (auto& c : method) c = static_cast<char>(std::tolower(c));
    const auto& content = document_["paths"].at(path).at(method)["responses"]["200"]["content"];
    EXPECT_EQ(misfit(answer, content["application/json"]["schema"], document_), "");
  }

  /// A body with its pictures and with what an earlier request was answered.
  json filled(const json& value) {
    if (value.is_object() && value.contains("$uri")) return to_data_uri("image/png", drawn(value, "$uri"));
    if (!value.is_structured()) return value;
    json result = value.is_array() ? json::array() : json::object();
    if (value.is_object() && value.contains("$saved")) result = saved_.at(value["$saved"]);
    for (const auto& [key, item] : value.items()) {
      if (key == "$saved") continue;
      if (value.is_array()) {
        result.push_back(filled(item));
      } else {
        result[key] = filled(item);
      }
    }
    return result;
  }

  static std::string form(const json& parts) {
    std::string body;
    for (const auto& part : parts) {
      body += "--X\r\nContent-Disposition: form-data; name=\"" + part[0].get<std::string>() + "\"";
      if (part[1].is_object()) {
        body += "; filename=\"" + part[1]["file"].get<std::string>() + "\"\r\nContent-Type: image/png\r\n\r\n" +
                drawn(part[1], "picture") + "\r\n";
      } else {
        body += "\r\n\r\n" + part[1].get<std::string>() + "\r\n";
      }
    }
    return body + "--X--\r\n";
  }

  static void check(const json& answer, const std::string& pointer, const json& wanted) {
    SCOPED_TRACE(pointer);
    const json::json_pointer at(pointer);
    ASSERT_TRUE(answer.contains(at)) << answer.dump().substr(0, 400);
    const auto& value = answer[at];
    if (!wanted.is_object()) {
      EXPECT_EQ(value, wanted);
    } else if (wanted.contains("count")) {
      EXPECT_TRUE(value.is_array());
      EXPECT_EQ(value.size(), wanted["count"].get<std::size_t>());
    } else if (wanted.contains("type")) {
      EXPECT_EQ(std::string(value.type_name()), wanted["type"].get<std::string>());
    } else if (wanted.contains("has")) {
      EXPECT_NE(value.dump().find(wanted["has"].get<std::string>()), std::string::npos) << value.dump().substr(0, 400);
    } else if (wanted.contains("png")) {
      const auto bytes = from_base64(value.get<std::string>(), "png");
      const auto image = read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "png");
      EXPECT_EQ(json({image.width, image.height}), wanted["png"]);
    } else {
      ASSERT_TRUE(wanted.contains("json")) << wanted;
      const auto inner = json::parse(value.get<std::string>());
      for (const auto& [name, each] : wanted["json"].items()) check(inner, name, each);
    }
  }

  FakeService fake_;
  json script_, document_;
  std::map<std::string, json> saved_;
};

TEST(ServerReplays, OpenWebUI) {
  Replay("open-webui.json").run();
}
TEST(ServerReplays, LibreChat) {
  Replay("librechat.json").run();
}
TEST(ServerReplays, Sdwebuiapi) {
  Replay("sdwebuiapi.json").run();
}
TEST(ServerReplays, OpenOutpaint) {
  Replay("openoutpaint.json").run();
}
TEST(ServerReplays, SillyTavern) {
  Replay("sillytavern.json").run();
}
TEST(ServerReplays, OpenAIPackage) {
  Replay("openai.json").run();
}

}  // namespace replay_test
}  // namespace tessera::testing
