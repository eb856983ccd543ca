#include "server/http_server.h"

#ifdef TESSERA_WITH_SERVER
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <limits>
#include <map>
#include <mutex>

#include "server/beast_stream.h"
#include "server/body_budget.h"
#include "server/http_connection.h"
#include "server/listener.h"
#include "server/url_text.h"

namespace tessera::server {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr int kRequestsPerConnection = 1000;     // then it is closed
constexpr std::chrono::seconds kIdle{5};         // how long a connection waits for its next request
constexpr std::size_t kSmallBody = 256 << 10;    // bytes
constexpr std::chrono::seconds kBodyWait{5};     // for room among the bodies under way
constexpr std::chrono::milliseconds kBeat{250};  // between looks at whether to stop

using Parser = http::request_parser<http::string_body>;

bool takes_body(const std::string& method) {
  return method != "GET" && method != "HEAD" && method != "OPTIONS";
}

/// The request without its body.
HttpRequest request_of(const Parser& parser, const std::string& address) {
  const auto& from = parser.get();
  HttpRequest request;
  request.method = std::string(from.method_string());
  const std::string_view target(from.target().data(), from.target().size());
  const auto mark = std::min(target.find('?'), target.size());
  request.path = percent_decoded(target.substr(0, std::min(mark, target.find('#'))), false);
  if (mark < target.size()) request.query = query_of(target.substr(mark + 1, target.find('#', mark) - mark - 1));
  for (const auto& field : from) {
    std::string lower(field.name_string());
    for (auto& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    request.headers.emplace(std::move(lower), std::string(field.value()));
  }
  request.address = address;
  return request;
}

/// A response's head, whatever its body.
template <typename Body>
http::response<Body> head_of(const HttpResponse& from, unsigned version, bool stays) {
  http::response<Body> to{http::int_to_status(static_cast<unsigned>(from.status)), version};
  to.result(static_cast<unsigned>(from.status));
  to.set(http::field::content_type, from.content_type);
  for (const auto& [name, value] : from.headers) to.set(name, value);
  to.keep_alive(stays);
  return to;
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(Service& service, const ListenOptions& options)
      : service_(service),
        options_(options),
        bodies_(static_cast<std::uint64_t>(service.limits().bodies_mib) << 20),
        tls_(options.tls) {}

  int bind() { return listener_.bind(options_.address, options_.port); }

  void run() {
    listener_.run(
        service_.limits().connections, [this](int socket) { serve(socket); }, [this](int socket) { refuse(socket); },
        [this](std::int64_t count) { service_.metrics().set("tessera_http_connections", static_cast<double>(count)); });
  }

  void stop() { listener_.stop(); }

  void set_tls(std::shared_ptr<const TlsContext> tls) {
    const std::lock_guard lock(mutex_);
    tls_ = std::move(tls);
  }

 private:
  /// One connection too many: of all, or of its address.
  void refuse(int socket) {
    constexpr std::string_view kBusy =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    service_.metrics().add("tessera_http_connections_refused_total");
    (void)::send(socket, kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    close_socket(socket);
  }

  void serve(int socket) {
    const auto address = peer_address(socket);
    const Counted counted(*this, address);
    if (counted.too_many()) return refuse(socket);
    Connection connection(socket, std::chrono::seconds(service_.limits().slow_seconds));
    if (const auto tls = tls_context(); tls && !connection.start_tls(tls)) {
      service_.metrics().add("tessera_http_tls_refused_total");
    } else {
      answer_requests(connection, address);
      connection.shut_down_tls();
      if (connection.closing()) connection.linger();
    }
    if (connection.too_slow()) service_.metrics().add("tessera_http_slow_total");
    close_socket(socket);
  }

  void answer_requests(Connection& connection, const std::string& address) {
    for (int left = kRequestsPerConnection; left > 0; --left) {
      if (!connection.wait_for_request(kIdle, [&] { return listener_.stopping(); })) return;
      const auto fault = connection.check_head();
      if (!fault) return;
      if (!fault->empty()) return refuse_head(connection, *fault);
      if (!answer_request(connection, address, left > 1)) return;
      if (connection.in_head()) connection.close_after();
      if (connection.closing()) return;
    }
  }

  /// Answers what cannot be read in one way only, and has done with this peer.
  void refuse_head(Connection& connection, const std::string& fault) {
    service_.metrics().add("tessera_http_requests_total", "status=\"400\"");
    connection.close_after();
    auto response = error_response("/", HttpError(400, "request: " + fault));
    response.headers["X-Content-Type-Options"] = "nosniff";
    send(connection, std::move(response), 11, false, false);
  }

  /// Reads one request, its head being known to be sound, and answers it. Out: whether the connection may go on.
  bool answer_request(Connection& connection, const std::string& address, bool may_stay) {
    BeastStream stream(connection);
    boost::beast::flat_buffer buffer;
    Parser parser;
    parser.header_limit(static_cast<std::uint32_t>(Connection::kMostHead));
    const auto most = static_cast<std::uint64_t>(service_.limits().body_mib) << 20;
    // What is stated is looked at first, what comes below. (1.74 takes no limit for a limit of 0.)
    parser.body_limit(std::numeric_limits<std::uint64_t>::max());
    error_code error;
    http::read_header(stream, buffer, parser, error);
    if (error) {
      if (connection.too_slow() || connection.peer_closed()) return false;
      refuse_head(connection, "not HTTP as expected here");
      return false;
    }
    auto request = request_of(parser, address);
    request.gone = [&connection] { return connection.peer_closed(); };
    const auto stated = parser.content_length();
    const bool has_body = parser.chunked() || stated.value_or(0) > 0;
    const auto version = parser.get().version();
    const bool stays = may_stay && parser.keep_alive() && (!has_body || takes_body(request.method));
    if (!stays) connection.close_after();
    const auto answer = [&](HttpResponse response) {
      return send(connection, std::move(response), version, stays && !connection.closing(), request.method == "HEAD");
    };
    const auto length = parser.chunked() ? std::int64_t{-1}
                                         : static_cast<std::int64_t>(std::min<std::uint64_t>(
                                               stated.value_or(0), std::numeric_limits<std::int64_t>::max()));
    if (auto refusal = service_.refuse_early(request, length)) {
      connection.close_after();
      return answer(std::move(*refusal));
    }
    if (!has_body || !takes_body(request.method)) return answer(service_.handle(request));

    const auto expected = parser.chunked() ? most : std::min(stated.value_or(0), most);
    // Small bodies need no leave.
    const BodyBudget::Share share(bodies_, expected <= kSmallBody ? 0 : expected, kBodyWait);
    if (!share.held()) {
      connection.close_after();
      return answer(error_response(
          request.path, HttpError(503, "body: larger ones are being read, expected fewer at one time", {}, 2)));
    }
    connection.allow_body(most + Connection::kMostHead);
    connection.expect_body(stated.value_or(0));
    if (boost::beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
      if (connection.write(kGoOn.data(), kGoOn.size()) < 0) return false;
    }
    parser.body_limit(most);
    http::read(stream, buffer, parser, error);
    if (error) {
      connection.close_after();
      const bool too_much = error == http::error::body_limit;
      return answer(error_response(
          request.path, HttpError(too_much ? 413 : 400, too_much ? fmt::format("body: expected at most {} bytes", most)
                                                                 : std::string("body: ended early"))));
    }
    request.body = std::move(parser.get().body());
    auto response = service_.handle(request);
    request.body = {};  // goes before its share is given back
    return answer(std::move(response));
  }

  /// Out: whether all of it went.
  bool send(Connection& connection, HttpResponse response, unsigned version, bool stays, bool head_alone) {
    BeastStream stream(connection);
    error_code error;
    if (response.events) return stream_events(connection, std::move(response), version);
    auto message = head_of<http::string_body>(response, version, stays);
    message.content_length(response.body.size());
    if (!head_alone) message.body() = std::move(response.body);
    http::write(stream, message, error);
    return !error;
  }

  /// Server-sent events: in chunks, and to those of HTTP/1.0 until the end.
  bool stream_events(Connection& connection, HttpResponse response, unsigned version) {
    BeastStream stream(connection);
    error_code error;
    const bool chunked = version >= 11;
    auto message = head_of<http::empty_body>(response, version, chunked && !connection.closing());
    message.chunked(chunked);
    http::response_serializer<http::empty_body> serializer(message);
    http::write_header(stream, serializer, error);
    while (!error && !listener_.stopping() && !connection.peer_closed()) {
      const auto text = response.events->next(kBeat);
      if (!text) {
        if (chunked) boost::asio::write(stream, http::make_chunk_last(), error);
        return !error && chunked;
      }
      if (text->empty()) continue;
      if (chunked) {
        boost::asio::write(stream, http::make_chunk(boost::asio::buffer(*text)), error);
      } else {
        boost::asio::write(stream, boost::asio::buffer(*text), error);
      }
    }
    return false;
  }

  /// One of the connections of an address.
  class Counted {
   public:
    Counted(Impl& impl, std::string address) : impl_(impl), address_(std::move(address)) {
      const std::lock_guard lock(impl_.mutex_);
      count_ = ++impl_.by_address_[address_];
    }
    ~Counted() {
      const std::lock_guard lock(impl_.mutex_);
      if (--impl_.by_address_[address_] == 0) impl_.by_address_.erase(address_);
    }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    bool too_many() const {
      const auto most = impl_.service_.limits().address_connections;
      return most > 0 && count_ > most;
    }

   private:
    Impl& impl_;
    const std::string address_;
    std::int64_t count_ = 0;
  };

  std::shared_ptr<const TlsContext> tls_context() {
    const std::lock_guard lock(mutex_);
    return tls_;
  }

  Service& service_;
  const ListenOptions options_;
  BodyBudget bodies_;
  std::mutex mutex_;
  std::shared_ptr<const TlsContext> tls_;           // under mutex_
  std::map<std::string, std::int64_t> by_address_;  // under mutex_
  Listener listener_;
};

HttpServer::HttpServer(Service& service, const ListenOptions& options)
    : impl_(std::make_unique<Impl>(service, options)) {}
HttpServer::~HttpServer() = default;
int HttpServer::bind() {
  return impl_->bind();
}
void HttpServer::run() {
  impl_->run();
}
void HttpServer::set_tls(std::shared_ptr<const TlsContext> tls) {
  impl_->set_tls(std::move(tls));
}
void HttpServer::stop() {
  impl_->stop();
}

}  // namespace tessera::server

#else

namespace tessera::server {

class HttpServer::Impl {};

HttpServer::HttpServer(Service&, const ListenOptions&) {
  fail("serve: this build has no HTTP server; build with TESSERA_WITH_SERVER=ON");
}
HttpServer::~HttpServer() = default;
int HttpServer::bind() {
  return 0;
}
void HttpServer::run() {}
void HttpServer::set_tls(std::shared_ptr<const TlsContext>) {}
void HttpServer::stop() {}

}  // namespace tessera::server

#endif
