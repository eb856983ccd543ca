/// The service on a socket of the loopback.
#ifdef TESSERA_WITH_SERVER
#include "server/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "server/fake_service.h"

namespace tessera::testing {
namespace http_test {

using nlohmann::json;

struct Listening {
  explicit Listening(ServiceLimits limits = {})
      : fake(limits), http(fake.service, {"127.0.0.1", 0}), port(http.bind()) {
    thread = std::thread([this] { http.run(); });
  }
  ~Listening() {
    fake.service.worker().stop(std::chrono::seconds(0));
    http.stop();
    thread.join();
  }
  httplib::Client client() const {
    httplib::Client made("127.0.0.1", port);
    made.set_read_timeout(20);
    return made;
  }

  FakeService fake;
  HttpServer http;
  int port;
  std::thread thread;
};

/// A bare connection, for what no decent client sends.
class Raw {
 public:
  explicit Raw(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    timeval patience{15, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  ~Raw() { ::close(socket_); }
  bool send(const std::string& text) { return ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) > 0; }
  /// Everything until the peer closes.
  std::string rest() {
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(socket_, buffer, sizeof(buffer), 0)) > 0;)
      text.append(buffer, static_cast<std::size_t>(got));
    return text;
  }

 private:
  int socket_;
};

TEST(ServerHttp, AClientSubmitsWatchesAndFetches) {
  const Listening server;
  auto client = server.client();
  const auto submitted = client.Post("/api/v1/jobs", R"({"verb": "generate", "seed": 2})", "application/json");
  ASSERT_TRUE(submitted);
  ASSERT_EQ(submitted->status, 202) << submitted->body;
  const auto job = json::parse(submitted->body);
  std::string events;
  const auto watched = client.Get(job["events"].get<std::string>(), [&](const char* data, std::size_t size) {
    events.append(data, size);
    return true;
  });
  ASSERT_TRUE(watched);
  EXPECT_NE(events.find("event: done"), std::string::npos);
  const auto picture = client.Get(job["url"].get<std::string>() + "/images/0");
  ASSERT_TRUE(picture);
  EXPECT_EQ(picture->get_header_value("Content-Type"), "image/png");
  EXPECT_EQ(picture->get_header_value("X-Content-Type-Options"), "nosniff");
}

TEST(ServerHttp, FormsArriveWhole) {
  const Listening server;
  auto client = server.client();
  const httplib::MultipartFormDataItems items = {
      {"request", R"({"verb": "generate", "count": 2})", "", "application/json"}};
  const auto answer = client.Post("/api/v1/jobs", items);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 202) << answer->body;
}

TEST(ServerHttp, OversizedBodiesAreRefusedByTheirLengthAndByWhatComes) {
  ServiceLimits limits;
  limits.body_mib = 1;
  const Listening server(limits);
  auto client = server.client();
  const auto stated = client.Post("/api/v1/jobs", std::string(3 << 20, ' '), "application/json");
  ASSERT_TRUE(stated);
  EXPECT_EQ(stated->status, 413);
  // Chunked: no length is stated.
  Raw raw(server.port);
  raw.send("POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
  const auto chunk = "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
  for (int i = 0; i < 64 && raw.send(chunk); ++i) {
  }
  const auto answer = raw.rest();
  EXPECT_TRUE(answer.empty() || answer.find(" 413 ") != std::string::npos || answer.find(" 400 ") != std::string::npos)
      << answer.substr(0, 200);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
}

TEST(ServerHttp, APeerThatDripsIsCutOff) {
  ServiceLimits limits;
  limits.slow_seconds = 1;
  const Listening server(limits);
  Raw raw(server.port);
  const auto begin = Clock::now();
  raw.send("GET /healthz HTTP/1.1\r\n");
  bool open = true;
  while (open && Clock::now() - begin < std::chrono::seconds(10)) {
    open = raw.send("X: y\r\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_FALSE(open);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(8));
}

TEST(ServerHttp, HeadersWithoutEndAreCutOff) {
  const Listening server;
  Raw raw(server.port);
  raw.send("GET /healthz HTTP/1.1\r\n");
  bool open = true;
  const auto until = Clock::now() + std::chrono::seconds(9);  // less than a slow peer is given
  for (int i = 0; open && Clock::now() < until; ++i) {
    open = raw.send(std::string("X-Header-") + std::to_string(i) + ": " + std::string(100, 'a') + "\r\n");
    if (i % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_FALSE(open);
}

TEST(ServerHttp, APostWithoutABodyIsAnsweredAtOnce) {
  const Listening server;
  Raw raw(server.port);
  const auto begin = Clock::now();
  raw.send("POST /sdapi/v1/interrupt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  EXPECT_NE(raw.rest().find(" 200 "), std::string::npos);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(3));
}

TEST(ServerHttp, MoreConnectionsThanAllowedAreToldToComeBack) {
  ServiceLimits limits;
  limits.connections = 4;
  const Listening server(limits);
  std::vector<std::unique_ptr<Raw>> held;
  for (int i = 0; i < 4; ++i) held.push_back(std::make_unique<Raw>(server.port));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  Raw extra(server.port);
  EXPECT_NE(extra.rest().find(" 503 "), std::string::npos);
  held.clear();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(server.client().Get("/healthz")->status, 200);
}

TEST(ServerHttp, AWaitingClientThatLeavesTakesItsJobWithIt) {
  Listening server;
  server.fake.backend.step_milliseconds = 100;
  {
    Raw raw(server.port);
    const std::string body = R"({"prompt": "x"})";
    raw.send("POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
             std::to_string(body.size()) + "\r\n\r\n" + body);
    for (int i = 0; i < 100 && server.fake.service.queue().jobs().empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_EQ(server.fake.service.queue().jobs().size(), 1u);
  const auto job = server.fake.service.queue().jobs().front();
  EXPECT_TRUE(job->wait_final(Clock::now() + std::chrono::seconds(10)));
  EXPECT_EQ(job->state(), JobState::cancelled);
}

TEST(ServerHttp, ManyClientsEachGetTheirOwnPictures) {
  const Listening server;
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (std::uint64_t seed = 100; seed < 116; ++seed) {
    clients.emplace_back([&, seed] {
      auto client = server.client();
      const auto submitted =
          client.Post("/api/v1/jobs", json({{"verb", "generate"}, {"seed", seed}}).dump(), "application/json");
      if (!submitted || submitted->status != 202) return;
      const auto job = json::parse(submitted->body);
      client.Get(job["events"].get<std::string>(), [](const char*, std::size_t) { return true; });
      const auto tokens = client.Get(job["url"].get<std::string>() + "/tokens/0");
      if (!tokens || tokens->status != 200) return;
      right += json::parse(tokens->body)["tokens"][1][1] == FakeBackend::code_of(seed, 0, 5);
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(right, 16);
}

TEST(ServerHttp, DoubtfulFramingIsAnsweredOnceAndTheConnectionCloses) {
  const Listening server;
  const std::string post = "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n", body = R"({"verb":"nope"})";
  const std::string second = "GET /api/v1/capabilities HTTP/1.1\r\nHost: localhost\r\n\r\n";
  for (const auto& bytes :
       {post + "Content-Length: 15\r\nContent-Length: 15\r\n\r\n" + body, post + "Content-Length : 15\r\n\r\n" + body,
        post + "Content-Length: +15\r\n\r\n" + body, post + "X: a" + std::string(1, '\0') + "b\r\n\r\n",
        std::string("GET /healthz HTTP/1.1\nHost: localhost\n\n"),
        post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        post + "Transfer-Encoding: chunked\r\n\r\n0xf\r\n" + body + "\r\n0\r\n\r\n",
        post + "Transfer-Encoding: chunked\r\n\r\nf\n" + body + "\n0\n\n",
        post + "Transfer-Encoding: chunked\r\n\r\nf;a=b\r\n" + body + "\r\n0\r\n\r\n",
        post + "Host: evil.example\r\n\r\n"}) {
    Raw raw(server.port);
    const auto begin = Clock::now();
    raw.send(bytes + second);
    const auto answer = raw.rest();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << bytes << "\n" << answer;
    EXPECT_EQ(answer.find("HTTP/1.1", 8), std::string::npos) << bytes << "\n" << answer;
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5)) << bytes;
  }
  // And what is in order goes on.
  Raw raw(server.port);
  raw.send(post + "Transfer-Encoding: chunked\r\n\r\nf\r\n" + body + "\r\n0\r\n\r\n" + second +
           "\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const auto answers = raw.rest();
  std::size_t count = 0;
  for (auto at = answers.find("HTTP/1.1 "); at != std::string::npos; at = answers.find("HTTP/1.1 ", at + 1)) ++count;
  EXPECT_EQ(count, 3u) << answers;
}

TEST(ServerHttp, BodiesUnderWayHaveABoundTogether) {
  ServiceLimits limits;
  limits.body_mib = 4;
  limits.bodies_mib = 1;
  const Listening server(limits);
  Raw first(server.port);
  first.send("POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n{");
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  auto client = server.client();
  const auto second = client.Post("/api/v1/jobs", std::string(2 << 20, ' '), "application/json");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->status, 503);
  const auto small = client.Post("/api/v1/jobs", R"({"verb": "generate"})", "application/json");
  ASSERT_TRUE(small);
  EXPECT_EQ(small->status, 202) << small->body;
}

TEST(ServerHttp, ABodyOfManySmallValuesIsRefusedInLinearTime) {
  const Listening server;
  auto client = server.client();
  for (const auto* piece : {"{},", "[],", "0,", "[0],", "{\"\":0},"}) {
    std::string body = R"({"verb":"generate","x":[)";
    while (body.size() < (std::size_t{8} << 20)) body += piece;
    body += "0]}";
    const auto begin = Clock::now();
    const auto answer = client.Post("/api/v1/jobs", body, "application/json");
    ASSERT_TRUE(answer) << piece;
    EXPECT_EQ(answer->status, 400) << piece;
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10)) << piece;
  }
  const auto deep = client.Post("/api/v1/jobs", std::string(std::size_t{8} << 20, '['), "application/json");
  ASSERT_TRUE(deep);
  EXPECT_EQ(deep->status, 400);
  EXPECT_NE(deep->body.find("nested deeper"), std::string::npos);
}

TEST(ServerHttp, ALongHeadIsAnsweredOnce) {
  Listening server;
  for (const auto* name : {"Cookie: ", "Range: bytes=", "Accept: "}) {
    Raw peer(server.port);
    ASSERT_TRUE(
        peer.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + (name + std::string(20'000, '1')) + "\r\n\r\n"));
    const auto answer = peer.rest();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer.substr(0, 200);
    EXPECT_EQ(answer.find("HTTP/1.1", 8), std::string::npos) << answer;
  }
}

/// A certificate of this machine's own, made by the system's openssl.
struct Certificate {
  Certificate() : folder(std::filesystem::temp_directory_path() / fmt::format("tessera-tls-{}", ::getpid())) {
    std::filesystem::create_directories(folder);
    made = std::system(fmt::format("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                                   "-subj /CN=localhost -keyout '{0}/key.pem' -out '{0}/cert.pem' >/dev/null 2>&1",
                                   folder.string())
                           .c_str()) == 0;
  }
  ~Certificate() { std::filesystem::remove_all(folder); }
  std::shared_ptr<const TlsContext> context() const {
    return std::make_shared<TlsContext>(folder / "cert.pem", folder / "key.pem");
  }
  std::filesystem::path folder;
  bool made = false;
};

/// What `openssl s_client` gets for a request.
std::string over_tls(int port, const std::string& request, const std::string& flags = {}) {
  const auto command = fmt::format(
      "printf '{}' | timeout 20 openssl s_client -quiet -no_ign_eof -ign_eof -connect 127.0.0.1:{} {} 2>/dev/null",
      request, port, flags);
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, got);
  ::pclose(pipe);
  return text;
}

TEST(ServerHttp, TlsAnswersWhatHttpAnswers) {
  const Certificate certificate;
  if (!certificate.made) GTEST_SKIP() << "no openssl program here";
  Listening server;
  server.http.set_tls(certificate.context());
  const std::string get = "GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n";
  const auto answer = over_tls(server.port, get);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_TRUE(over_tls(server.port, get, "-tls1_1").empty()) << "older versions are refused";
  EXPECT_TRUE(over_tls(server.port, get, "-tls1_2").starts_with("HTTP/1.1 200"));
  // A body of several records, and plain HTTP, which is no TLS.
  const auto body = std::string(100'000, 'x');
  const auto post = fmt::format(
      "POST /api/v1/jobs HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\nContent-Length: "
      "{}\\r\\nConnection: close\\r\\n\\r\\n{}",
      body.size(), body);
  EXPECT_TRUE(over_tls(server.port, post).starts_with("HTTP/1.1 400"));
  Raw plain(server.port);
  plain.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(plain.rest().find("HTTP/1.1 200"), std::string::npos);
}

TEST(ServerHttp, APeerThatDoesNotShakeHandsIsCutOff) {
  const Certificate certificate;
  if (!certificate.made) GTEST_SKIP() << "no openssl program here";
  ServiceLimits limits;
  limits.slow_seconds = 1;
  Listening server(limits);
  server.http.set_tls(certificate.context());
  Raw silent(server.port);
  EXPECT_EQ(silent.rest(), "");
}

TEST(ServerHttp, ACertificateThatIsNoneIsNamed) {
  const Certificate certificate;
  if (!certificate.made) GTEST_SKIP() << "no openssl program here";
  EXPECT_THROW(TlsContext(certificate.folder / "none.pem", certificate.folder / "key.pem"), Error);
  EXPECT_THROW(TlsContext(certificate.folder / "cert.pem", certificate.folder / "cert.pem"), Error);
}

}  // namespace http_test
}  // namespace tessera::testing
#endif
