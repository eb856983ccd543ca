#include "server/access.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "server/base64.h"
#include "server/fake_service.h"

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
  EXPECT_EQ(before.headers.at("Access-Control-Allow-Methods"), "POST, GET");
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

struct KeyFile {
  explicit KeyFile(const std::string& text)
      : path(std::filesystem::temp_directory_path() / fmt::format("tessera-quota-{}", ::getpid())) {
    write(text);
  }
  ~KeyFile() { std::filesystem::remove(path); }
  void write(const std::string& text) const { std::ofstream(path) << text; }
  AccessRules rules() const {
    AccessRules made;
    read_keys(path, made);
    made.loopback = false;
    return made;
  }
  std::filesystem::path path;
};

using Headers = std::map<std::string, std::string>;

Headers bearer(const std::string& key) {
  return {{"authorization", "Bearer " + key}, {"content-type", "application/json"}};
}

TEST(ServerAccess, QuotasStandBehindTheirKeys) {
  const KeyFile file(kKey + " name=alice jobs=2 requests=60 pixels=1000000\nanother-key-that-is-long-enough\n");
  const auto rules = file.rules();
  ASSERT_EQ(rules.key_digests.size(), 2U);
  ASSERT_EQ(rules.quotas.size(), 1U);
  EXPECT_EQ(rules.quotas.begin()->second, (KeyQuota{"alice", 2, 60, 1'000'000}));
  for (const auto* wrong : {" jobs=0", " jobs=-1", " jobs=x", " jobs", " pixel=5", " name="}) {
    file.write(kKey + wrong + "\n");
    EXPECT_THROW((void)file.rules(), Error) << wrong;
  }
}

TEST(ServerAccess, AKeyHasItsShareOfRequestsAMinute) {
  QuotaBook book;
  const KeyQuota quota{"", 0, 3, 0};
  const auto begin = QuotaBook::Clock::now();
  for (int i = 0; i < 3; ++i) book.take_request("a", quota, begin + std::chrono::seconds(10 * i));
  try {
    book.take_request("a", quota, begin + std::chrono::seconds(30));
    FAIL() << "taken";
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status, 429);
    EXPECT_EQ(error.retry_after, 30);
  }
  EXPECT_NO_THROW(book.take_request("b", quota, begin + std::chrono::seconds(30)));
  EXPECT_NO_THROW(book.take_request("a", quota, begin + std::chrono::seconds(60)));
  EXPECT_THROW(book.take_request("a", quota, begin + std::chrono::seconds(61)), HttpError);
}

TEST(ServerAccess, AKeysJobsAndPixelsHaveTheirQuotaAndOthersAreServed) {
  const KeyFile file(kKey + " name=alice jobs=2\nanother-key-that-is-long-enough pixels=200\n");
  FakeService fake({}, file.rules(), false);
  const std::string job = R"({"verb":"generate","model":"tiny"})";
  EXPECT_EQ(fake.ask("POST", "/api/v1/jobs", job, bearer(kKey)).status, 202);
  EXPECT_EQ(fake.ask("POST", "/api/v1/jobs", job, bearer(kKey)).status, 202);
  const auto refused = fake.ask("POST", "/api/v1/jobs", job, bearer(kKey));
  EXPECT_EQ(refused.status, 429);
  EXPECT_NE(refused.body.find("this key's quota is 2"), std::string::npos) << refused.body;
  // 64 pixels each.
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(fake.ask("POST", "/api/v1/jobs", job, bearer("another-key-that-is-long-enough")).status, 202) << i;
  const auto pixels = fake.ask("POST", "/api/v1/jobs", job, bearer("another-key-that-is-long-enough"));
  EXPECT_EQ(pixels.status, 429);
  EXPECT_NE(pixels.body.find("256 pixels within 3600 s, this key's quota is 200"), std::string::npos) << pixels.body;
}

TEST(ServerAccess, OtherKeysAreTakenWhileItRuns) {
  const KeyFile file(kKey + "\n");
  FakeService fake({}, file.rules(), false);
  EXPECT_EQ(fake.ask("GET", "/api/v1/capabilities", "", bearer(kKey)).status, 200);
  file.write("a-third-key-of-some-length\n");
  fake.service.set_keys(file.rules());
  EXPECT_EQ(fake.ask("GET", "/api/v1/capabilities", "", bearer(kKey)).status, 401);
  EXPECT_EQ(fake.ask("GET", "/api/v1/capabilities", "", bearer("a-third-key-of-some-length")).status, 200);
}

TEST(ServerAccess, TheAuditLogSaysWhoAskedForWhatWithoutKeysAndPrompts) {
  const auto log = std::filesystem::temp_directory_path() / fmt::format("tessera-audit-{}.jsonl", ::getpid());
  std::filesystem::remove(log);
  const auto audit = std::make_shared<AuditLog>(log);
  HttpRequest request;
  request.method = "POST";
  request.path = "/api/v1/jobs\n\x1b[31m";
  request.address = "10.0.0.7";
  request.body = R"({"prompt":"a secret"})";
  request.headers = bearer(kKey);
  HttpResponse response;
  response.status = 202;
  audit->note(request, "alice", response, std::chrono::milliseconds(2));
  const auto moved = log.string() + ".1";
  std::filesystem::rename(log, moved);
  audit->reopen();
  audit->note(request, "alice", response, std::chrono::milliseconds(2));
  for (const auto& file : {log.string(), moved}) {
    std::ifstream stream(file);
    std::string line, more;
    ASSERT_TRUE(std::getline(stream, line)) << file;
    EXPECT_FALSE(std::getline(stream, more));
    const auto record = nlohmann::json::parse(line);
    EXPECT_EQ(record["client"], "alice");
    EXPECT_EQ(record["status"], 202);
    EXPECT_EQ(record["bytes_in"], request.body.size());
    EXPECT_EQ(line.find("secret"), std::string::npos);
    EXPECT_EQ(line.find(kKey), std::string::npos);
    EXPECT_EQ(line.find('\x1b'), std::string::npos);
    EXPECT_EQ(std::filesystem::status(file).permissions() & std::filesystem::perms::others_read,
              std::filesystem::perms::none);
    std::filesystem::remove(file);
  }
}

}  // namespace access_test
}  // namespace tessera::testing
