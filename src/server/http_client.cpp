#include "server/http_client.h"

#include <nlohmann/json.hpp>

#include "runtime/bounded_json.h"
#include "runtime/printable.h"
#include "runtime/version.h"
#include "server/service.h"

#ifdef TESSERA_WITH_SERVER
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#endif

namespace tessera::server {
namespace {

/// What a service says of a refusal.
std::string words_of(const ServiceClient::Answer& answer) {
  const auto said = json_or_discarded(answer.body);
  if (said.is_object() && said.contains("error") && said["error"].is_object() &&
      said["error"].value("message", nlohmann::json()).is_string())
    return printable(said["error"]["message"].get<std::string>(), 1 << 12);
  return fmt::format("answered {}", answer.status);
}

class LocalClient : public ServiceClient {
 public:
  explicit LocalClient(Service& service) : service_(service) {}

  Answer send(const std::string& method, const std::string& path, const std::string& body) override {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.headers = {{"host", "localhost"}, {"content-type", "application/json"}};
    request.address = "127.0.0.1";
    request.body = body;
    auto response = service_.handle(request);
    return {response.status, std::move(response.body)};
  }
  std::string name() const override { return "job"; }

 private:
  Service& service_;
};

#ifdef TESSERA_WITH_SERVER

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

struct Address {
  bool tls = false;
  std::string host, port;
};

/// One request a connection; each wait has a bound.
class RemoteClient : public ServiceClient {
 public:
  RemoteClient(std::string url, Address address, std::string key)
      : url_(std::move(url)), address_(std::move(address)), key_(std::move(key)) {
    if (!address_.tls) return;
    tls_.set_default_verify_paths();
    tls_.set_verify_mode(asio::ssl::verify_peer);
  }

  Answer send(const std::string& method, const std::string& path, const std::string& body) override {
    http::request<http::string_body> request{http::verb::get, path, 11};
    request.method_string(method);
    request.set(http::field::host, address_.host + ":" + address_.port);
    request.set(http::field::user_agent, std::string("Tessera ") + version());
    if (!key_.empty()) request.set(http::field::authorization, "Bearer " + key_);
    if (!body.empty()) request.set(http::field::content_type, "application/json");
    request.body() = body;
    request.prepare_payload();
    request.keep_alive(false);
    if (!address_.tls) {
      beast::tcp_stream stream(io_);
      connect(stream);
      return exchange(stream, stream, request);
    }
    beast::ssl_stream<beast::tcp_stream> stream(io_, tls_);
    ::SSL_set_tlsext_host_name(stream.native_handle(), address_.host.c_str());
    stream.set_verify_callback(asio::ssl::host_name_verification(address_.host));
    auto& below = beast::get_lowest_layer(stream);
    connect(below);
    wait(below, kSecondsToConnect, [&](auto done) { stream.async_handshake(asio::ssl::stream_base::client, done); });
    return exchange(stream, below, request);
  }
  std::string name() const override { return url_; }

 private:
  static constexpr int kSecondsToConnect = 10, kSecondsToAnswer = 120;  // a picture is decoded within that
  static constexpr std::uint64_t kMostAnswer = std::uint64_t{1} << 30;

  void connect(beast::tcp_stream& stream) {
    error_code error;
    asio::ip::tcp::resolver resolver(io_);
    const auto found = resolver.resolve(address_.host, address_.port, error);
    require(!error, "{}: cannot be reached: {}", url_, error.message());
    wait(stream, kSecondsToConnect, [&](auto done) {
      stream.async_connect(found, [done](error_code why, const asio::ip::tcp::endpoint&) mutable { done(why); });
    });
  }

  template <typename Stream>
  Answer exchange(Stream& stream, beast::tcp_stream& below, const http::request<http::string_body>& request) {
    wait(below, kSecondsToAnswer, [&](auto done) {
      http::async_write(stream, request, [done](error_code why, std::size_t) mutable { done(why); });
    });
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMostAnswer);
    wait(below, kSecondsToAnswer, [&](auto done) {
      http::async_read(stream, buffer, parser, [done](error_code why, std::size_t) mutable { done(why); });
    });
    return {static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
  }

  /// Runs one operation to its end.
  template <typename Begin>
  void wait(beast::tcp_stream& stream, int seconds, Begin begin) {
    error_code error;
    stream.expires_after(std::chrono::seconds(seconds));
    begin([&error](error_code why) { error = why; });
    io_.restart();
    io_.run();
    require(!error, "{}: cannot be reached: {}", url_, error.message());
  }

  const std::string url_;
  const Address address_;
  const std::string key_;
  asio::io_context io_;
  asio::ssl::context tls_{asio::ssl::context::tls_client};
};

#endif

}  // namespace

nlohmann::json ServiceClient::ask(const std::string& method, const std::string& path, const std::string& body) {
  const auto answer = send(method, path, body);
  require(answer.status >= 200 && answer.status < 300, "{}: {}", name(), words_of(answer));
  return read_json_object(answer.body, name());
}

std::string ServiceClient::fetch(const std::string& path) {
  auto answer = send("GET", path);
  require(answer.status == 200, "{}: {}", name(), words_of(answer));
  return std::move(answer.body);
}

std::unique_ptr<ServiceClient> remote_service(const std::string& url, const std::string& key) {
  auto rest = url;
  while (rest.ends_with('/')) rest.pop_back();
  const bool tls = rest.starts_with("https://");
  rest = tls ? rest.substr(8) : rest.starts_with("http://") ? rest.substr(7) : std::string();
  if (rest.empty() || rest.find_first_of("/?#@ ") != std::string::npos)
    throw UsageError(fmt::format("--server {}: expected http://HOST:PORT or https://HOST:PORT", url));
#ifdef TESSERA_WITH_SERVER
  const auto end = rest.starts_with('[') ? rest.find(']') : std::string::npos;  // of an address of version 6
  const auto colon = rest.rfind(':');
  const bool has_port = colon != std::string::npos && (end == std::string::npos || colon > end);
  auto host = has_port ? rest.substr(0, colon) : rest;
  if (end != std::string::npos) host = host.substr(1, end - 1);
  return std::make_unique<RemoteClient>(url,
                                        Address{tls, host,
                                                has_port ? rest.substr(colon + 1)
                                                : tls    ? "443"
                                                         : "80"},
                                        key);
#else
  fail("--server: this build has no HTTP; build with TESSERA_WITH_SERVER=ON");
#endif
}

std::unique_ptr<ServiceClient> local_service(Service& service) {
  return std::make_unique<LocalClient>(service);
}

}  // namespace tessera::server
