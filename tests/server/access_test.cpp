#include "server/access.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/base64.h"
#include "server/fake_backend.h"

namespace tessera::testing {
namespace access_test {

const std::string kKey = "a-key-of-more-than-16-characters";

AccessRules with_key() {
  const auto file = std::filesystem::temp_directory_path() / fmt::format("tessera-keys-{}", ::getpid());
  std::ofstream(file) << "# ours\n" << kKey << "\nanother-key-that-is-long-enough\n";
  AccessRules rules;
  rules.key_digests = read_key_digests(file);
  rules.loopback = false;
  std::filesystem::remove(file);
  return rules;
}

TEST(ServerAccess, WithoutAGoodKeyOnlyThePageAndHealthAreAnswered) {
  FakeService fake({}, with_key(), false);
  EXPECT_EQ(fake.ask("GET", "/").status, 200);
  EXPECT_EQ(fake.ask("GET", "/healthz").status, 200);
  for (const auto* target : {"/api/v1/capabilities", "/metrics", "/api/v1/jobs/x", "/v1/models", "/nowhere"}) {
    EXPECT_EQ(fake.ask("GET", target).status, 401) << target;
    EXPECT_EQ(fake.ask("GET", target, "", {{"authorization", "Bearer " + kKey + "x"}}).status, 401) << target;
  }
  EXPECT_EQ(fake.ask("GET", "/api/v1/capabilities", "", {{"authorization", "Bearer " + kKey}}).status, 200);
  EXPECT_EQ(fake.ask("GET", "/v1/models", "", {{"authorization", "bearer another-key-that-is-long-enough"}}).status,
            200);
  EXPECT_EQ(fake.ask("GET", "/sdapi/v1/options", "", {{"authorization", "Basic " + to_base64("user:" + kKey)}}).status,
            200);
}

TEST(ServerAccess, KeysThatAreShortOrMissingAreRefused) {
  const auto file = std::filesystem::temp_directory_path() / fmt::format("tessera-short-{}", ::getpid());
  std::ofstream(file) << "short\n";
  EXPECT_THROW(read_key_digests(file), Error);
  std::ofstream(file) << "# nothing\n";
  EXPECT_THROW(read_key_digests(file), Error);
  std::filesystem::remove(file);
}

TEST(ServerAccess, AStrangeNameOfThisMachineIsRefusedOnTheLoopback) {
  FakeService fake({}, {}, false);
  EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"host", "rebound.example.org"}}).status, 403);
  for (const auto* host : {"localhost", "127.0.0.1:8080", "[::1]:8080", "127.3.2.1"}) {
    EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"host", host}}).status, 200) << host;
  }
}

TEST(ServerAccess, ANameThatOnlyBeginsLikeAnAddressIsStrange) {
  FakeService fake({}, {}, false);
  for (const auto* host : {"127.evil.example", "127.evil.example:8080", "127.0.0.1.evil.example", "127.1", "127.",
                           "localhost.evil.example", "::ffff:127.0.0.1", "[::ffff:1.2.3.4]", "[::2]", "0.0.0.0",
                           "1.127.0.0", "0177.0.0.1", "2130706433"}) {
    EXPECT_EQ(fake.ask("POST", "/api/v1/jobs", R"({"verb": "generate"})", {{"host", host}}).status, 403) << host;
  }
  for (const auto* host : {"LOCALHOST", "localhost.:80", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]:8080"})
    EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"host", host}}).status, 200) << host;
  EXPECT_FALSE(is_loopback("127.evil.example"));
  EXPECT_TRUE(is_loopback("127.255.0.1"));
}

TEST(ServerAccess, ListedNamesAreThisMachinesToo) {
  AccessRules rules;
  rules.hosts = {"studio.example.org"};
  FakeService fake({}, rules, false);
  EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"host", "Studio.Example.org:8080"}}).status, 200);
  EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"host", "localhost"}}).status, 200);
  EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"host", "a.studio.example.org"}}).status, 403);
  rules.loopback = false;
  FakeService open({}, rules, false);
  EXPECT_EQ(open.ask("GET", "/healthz", "", {{"host", "other.example.org"}}).status, 403);
}

TEST(ServerAccess, PagesOfOtherOriginsMayNotAskAndNoOriginIsReflected) {
  FakeService fake({}, {}, false);
  const auto strange =
      fake.ask("POST", "/api/v1/jobs", R"({"verb": "generate"})", {{"origin", "https://evil.example"}});
  EXPECT_EQ(strange.status, 403);
  EXPECT_EQ(strange.headers.count("Access-Control-Allow-Origin"), 0u);
  EXPECT_EQ(strange.body.find("evil"), std::string::npos);
  EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"origin", "null"}}).status, 403);
  EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"origin", "http://localhost:8080"}}).status, 200);
}

TEST(ServerAccess, ListedOriginsAreAnsweredByTheirListedName) {
  AccessRules rules;
  rules.origins = {"https://studio.example.org"};
  FakeService fake({}, rules, false);
  const auto answer = fake.ask("GET", "/healthz", "", {{"origin", "https://studio.example.org"}});
  EXPECT_EQ(answer.headers.at("Access-Control-Allow-Origin"), "https://studio.example.org");
  EXPECT_EQ(answer.headers.at("Vary"), "Origin");
  const auto before = fake.ask("OPTIONS", "/api/v1/jobs", "", {{"origin", "https://studio.example.org"}});
  EXPECT_EQ(before.status, 204);
  EXPECT_EQ(before.headers.at("Access-Control-Allow-Methods"), "POST");
  EXPECT_EQ(fake.ask("GET", "/healthz", "", {{"origin", "https://studio.example.org.evil"}}).status, 403);
  EXPECT_THROW(check_origin("*"), Error);
  EXPECT_THROW(check_origin("https://a.example/path"), Error);
}

TEST(ServerAccess, ClientsOfOneMachineCanTellThemselvesApart) {
  HttpRequest request;
  request.address = "127.0.0.1";
  request.headers = {{"x-tessera-client", "tab 2"}};
  EXPECT_EQ(client_of(request, {}, true), "127.0.0.1/tab 2");
  request.address = "192.0.2.7";
  EXPECT_EQ(client_of(request, {}, true), "192.0.2.7");
}

TEST(ServerAccess, EqualityLooksAtEveryCharacter) {
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_in_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_in_constant_time("abc", "xbc"));
  EXPECT_FALSE(equal_in_constant_time("abc", "abcd"));
}

TEST(ServerAccess, ABodyIsRefusedBeforeItIsRead) {
  FakeService fake({}, with_key(), false);
  HttpRequest request;
  request.method = "POST";
  request.path = "/api/v1/jobs";
  request.address = "192.0.2.7";
  EXPECT_EQ(fake.service.refuse_early(request, 10)->status, 401);
  request.headers["authorization"] = "Bearer " + kKey;
  EXPECT_FALSE(fake.service.refuse_early(request, 10).has_value());
  EXPECT_EQ(fake.service.refuse_early(request, std::int64_t{1} << 40)->status, 413);
  request.headers["content-encoding"] = "gzip";
  EXPECT_EQ(fake.service.refuse_early(request, 10)->status, 415);
}

}  // namespace access_test
}  // namespace tessera::testing
