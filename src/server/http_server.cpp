#include "server/http_server.h"

#ifdef TESSERA_WITH_SERVER
#include <arpa/inet.h>
#include <httplib.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "runtime/log.h"
#include "server/body_budget.h"
#include "server/http_connection.h"

namespace tessera::server {
namespace {

constexpr const char* kFormType = "x-tessera-form-type";  // keeps the Content-Type of a form from the library
constexpr int kWaitingConnections = 256;                  // that the system holds until they are accepted
constexpr int kRequestsPerConnection = 1000;              // then it is closed
constexpr std::chrono::seconds kIdle{5};                  // how long a connection waits for its next request
constexpr std::size_t kSmallBody = 256 << 10;             // bytes
constexpr std::chrono::seconds kBodyWait{5};              // for room among the bodies under way
constexpr std::chrono::milliseconds kBeat{250};           // between looks at whether to stop

/// What httplib reads from and writes to.
class ConnectionStream : public httplib::Stream {
 public:
  ConnectionStream(Connection& connection, std::string address, int port)
      : connection_(connection), address_(std::move(address)), port_(port) {}

  bool is_readable() const override { return true; }  // reading waits by itself
  bool is_writable() const override { return !connection_.peer_closed(); }
  ssize_t read(char* to, std::size_t size) override { return connection_.read(to, size); }
  ssize_t write(const char* from, std::size_t size) override { return connection_.write(from, size); }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = address_;
    port = port_;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  socket_t socket() const override { return connection_.socket(); }

 private:
  Connection& connection_;
  const std::string address_;
  const int port_;
};

/// The peer of a socket; nothing where it has gone already.
std::pair<std::string, int> peer_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  char text[INET6_ADDRSTRLEN] = "";
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return {text, ntohs(v4.sin_port)};
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
  return {text, ntohs(v6.sin6_port)};
}

thread_local Connection* present_connection = nullptr;  // of this thread
thread_local bool refused = false;                      // this connection is one too many

/// A thread for each connection, up to a bound: event streams and waiting requests hold theirs for long.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  ConnectionThreads(std::int64_t most, Metrics& metrics) : most_(most), metrics_(metrics) {}

  void enqueue(std::function<void()> work) override {
    {
      std::unique_lock lock(mutex_);
      if (running_ >= most_) {
        lock.unlock();
        refused = true;
        work();
        refused = false;
        return;
      }
      ++running_;
      metrics_.set("tessera_http_connections", static_cast<double>(running_));
    }
    std::thread([this, work = std::move(work)] {
      try {
        work();
      } catch (const std::exception& error) {
        log().error("connection: {}", error.what());
      }
      const std::lock_guard lock(mutex_);
      --running_;
      metrics_.set("tessera_http_connections", static_cast<double>(running_));
      ended_.notify_all();
    }).detach();
  }

  void shutdown() override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return running_ == 0; });
  }

 private:
  const std::int64_t most_;
  Metrics& metrics_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::int64_t running_ = 0;
};

HttpRequest request_of(const httplib::Request& from) {
  HttpRequest request;
  request.method = from.method;
  request.path = from.path;
  for (const auto& [name, value] : from.params) request.query.emplace(name, value);
  for (const auto& [name, value] : from.headers) {
    std::string lower = name;
    for (auto& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    request.headers.emplace(std::move(lower), value);
  }
  if (const auto form = request.headers.find(kFormType); form != request.headers.end()) {
    request.headers["content-type"] = form->second;
  }
  request.address = from.remote_addr;
  request.gone = [connection = present_connection] { return connection && connection->peer_closed(); };
  return request;
}

}  // namespace

class HttpServer::Impl : public httplib::Server {
 public:
  Impl(Service& service, const ListenOptions& listen_options)
      : service_(service),
        options_(listen_options),
        bodies_(static_cast<std::uint64_t>(service.limits().bodies_mib) << 20),
        tls_(listen_options.tls) {
    new_task_queue = [this] { return new ConnectionThreads(service_.limits().connections, service_.metrics()); };
    set_socket_options([](socket_t socket) {
      const int yes = 1;  // but not SO_REUSEPORT: two servers must not share a port unnoticed
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    set_tcp_nodelay(true);
    set_keep_alive_max_count(kRequestsPerConnection);  // what its answers tell clients
    set_pre_routing_handler([this](const httplib::Request& from, httplib::Response& to) {
      auto refusal = service_.refuse_early(request_of(from), length_of(from));
      if (!refusal) return HandlerResponse::Unhandled;
      answer(std::move(*refusal), to);
      present_connection->close_after();
      return HandlerResponse::Handled;
    });
    const Handler plain = [this](const httplib::Request& from, httplib::Response& to) {
      answer(service_.handle(request_of(from)), to);
    };
    const HandlerWithContentReader with_body = [this](const httplib::Request& from, httplib::Response& to,
                                                      const httplib::ContentReader& reader) {
      const auto most = static_cast<std::size_t>(service_.limits().body_mib) << 20;
      const auto stated = length_of(from);
      const auto expected = stated < 0 ? most : std::min(static_cast<std::size_t>(stated), most);
      // Small bodies need no leave.
      const BodyBudget::Share share(bodies_, expected <= kSmallBody ? 0 : expected, kBodyWait);
      if (!share.held()) {
        present_connection->close_after();
        const HttpError error(503, "body: larger ones are being read, expected fewer at one time", {}, 2);
        return answer(error_response(from.path, error), to);
      }
      auto request = request_of(from);  // goes before its share is given back
      if (stated > 0) request.body.reserve(expected);
      bool too_much = false;
      // Read as it comes, forms as well: our own parser takes them apart.
      const bool whole = reader([&](const char* data, std::size_t size) {
        too_much = request.body.size() + size > most;
        if (!too_much) request.body.append(data, size);
        return !too_much;
      });
      if (!whole) {
        present_connection->close_after();
        const HttpError error(too_much ? 413 : 400, too_much ? fmt::format("body: expected at most {} bytes", most)
                                                             : std::string("body: ended early"));
        return answer(error_response(request.path, error), to);
      }
      answer(service_.handle(request), to);
    };
    const std::string all = "[^]*";  // whatever the path; the service has its own routes
    Get(all, plain);
    Options(all, plain);
    Delete(all, plain);
    Delete(all, with_body);
    Post(all, with_body);
    Put(all, with_body);
    Patch(all, with_body);
    set_error_handler([](const httplib::Request& from, httplib::Response& to) {
      if (!to.body.empty() || to.status < 400) return;
      const HttpError error(to.status, to.status == 404 ? "no such path" : "the request is not HTTP as expected here");
      to.set_content(error_response(from.path, error).body, "application/json");
    });
  }

  int bind() {
    int port = options_.port;
    bool bound = false;
    if (port == 0) {
      port = bind_to_any_port(options_.address);
      bound = port > 0;
    } else {
      bound = bind_to_port(options_.address, port);
    }
    require(bound, "{} port {}: cannot be listened on (is another program there?)", options_.address, options_.port);
    ::listen(svr_sock_, kWaitingConnections);  // more than the library's few
    return port;
  }

  void stop_all() {
    stopping_ = true;
    stop();
  }

  void set_tls(std::shared_ptr<const TlsContext> tls) {
    const std::lock_guard lock(mutex_);
    tls_ = std::move(tls);
  }

 private:
  bool process_and_close_socket(socket_t socket) override {
    const auto [address, port] = peer_of(socket);
    const Counted counted(*this, address);
    if (refused || counted.too_many()) {
      constexpr std::string_view kBusy =
          "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
      service_.metrics().add("tessera_http_connections_refused_total");
      (void)::send(socket, kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      ::shutdown(socket, SHUT_RDWR);
      ::close(socket);
      return false;
    }
    Connection connection(socket, std::chrono::seconds(service_.limits().slow_seconds));
    ConnectionStream stream(connection, address, port);
    if (const auto tls = tls_context(); tls && !connection.start_tls(tls)) {
      if (connection.too_slow()) service_.metrics().add("tessera_http_slow_total");
      service_.metrics().add("tessera_http_tls_refused_total");
      ::shutdown(socket, SHUT_RDWR);
      ::close(socket);
      return false;
    }
    present_connection = &connection;
    for (int left = kRequestsPerConnection; left > 0; --left) {
      if (!connection.wait_for_request(kIdle, [&] { return stopping_.load(); })) break;
      const auto fault = connection.check_head();
      if (!fault) break;
      if (!fault->empty()) {
        refuse_head(connection, *fault);
        break;
      }
      bool closed = false;
      const bool more =
          process_request(stream, left == 1, closed, [&](httplib::Request& from) { prepare(from, connection); });
      if (connection.in_head()) connection.close_after();
      if (!more || closed || connection.closing()) break;
    }
    present_connection = nullptr;
    if (connection.too_slow()) service_.metrics().add("tessera_http_slow_total");
    connection.shut_down_tls();
    if (connection.closing()) connection.linger();
    ::shutdown(socket, SHUT_RDWR);
    ::close(socket);
    return true;
  }

  /// Answers what cannot be read in one way only, and has done with this peer.
  void refuse_head(Connection& connection, const std::string& fault) {
    const auto body = error_response("/", HttpError(400, "request: " + fault)).body;
    const auto text = fmt::format(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\nContent-Length: {}\r\n\r\n{}",
        body.size(), body);
    service_.metrics().add("tessera_http_requests_total", "status=\"400\"");
    (void)connection.write(text.data(), text.size());
    connection.close_after();
  }

  /// Called when the head of a request has been read.
  void prepare(httplib::Request& from, Connection& connection) {
    from.headers.erase("Range");  // results are small; ranges would only be a way to make them large
    from.ranges.clear();
    from.headers.erase("Accept-Encoding");  // pictures are packed already
    // The library would take forms apart by itself; ours come as they are.
    from.headers.erase(kFormType);
    if (const auto type = from.get_header_value("Content-Type"); from.is_multipart_form_data()) {
      from.headers.erase("Content-Type");
      from.headers.emplace(kFormType, type);
    }
    const bool chunked = from.has_header("Transfer-Encoding");
    if (!chunked && !from.has_header("Content-Length")) from.headers.emplace("Content-Length", "0");
    const bool takes_body = from.method != "GET" && from.method != "HEAD" && from.method != "OPTIONS";
    if (takes_body) {
      connection.allow_body((static_cast<std::uint64_t>(service_.limits().body_mib) << 20) + Connection::kMostHead);
    } else if (chunked || length_of(from) > 0) {
      connection.close_after();  // what follows is no request
    }
  }

  static std::int64_t length_of(const httplib::Request& from) {
    const auto text = from.get_header_value("Content-Length");
    std::int64_t length = -1;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), length);
    if (parsed.ec == std::errc::result_out_of_range) return std::numeric_limits<std::int64_t>::max();
    return length;
  }

  void answer(HttpResponse from, httplib::Response& to) {
    to.status = from.status;
    for (const auto& [name, value] : from.headers) to.set_header(name, value);
    if (!from.events) {
      to.set_content(std::move(from.body), from.content_type);
      return;
    }
    to.set_chunked_content_provider(from.content_type,
                                    [this, source = std::shared_ptr<EventSource>(std::move(from.events)),
                                     connection = present_connection](std::size_t, httplib::DataSink& sink) {
                                      if (stopping_ || connection->peer_closed()) return false;
                                      const auto text = source->next(kBeat);
                                      if (!text) {
                                        sink.done();
                                        return true;
                                      }
                                      return text->empty() || sink.write(text->data(), text->size());
                                    });
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

  Service& service_;
  const ListenOptions options_;
  std::shared_ptr<const TlsContext> tls_context() {
    const std::lock_guard lock(mutex_);
    return tls_;
  }

  BodyBudget bodies_;
  std::shared_ptr<const TlsContext> tls_;  // under mutex_
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::map<std::string, std::int64_t> by_address_;
};

HttpServer::HttpServer(Service& service, const ListenOptions& options)
    : impl_(std::make_unique<Impl>(service, options)) {}
HttpServer::~HttpServer() = default;
int HttpServer::bind() {
  return impl_->bind();
}
void HttpServer::run() {
  impl_->listen_after_bind();
}
void HttpServer::set_tls(std::shared_ptr<const TlsContext> tls) {
  impl_->set_tls(std::move(tls));
}
void HttpServer::stop() {
  impl_->stop_all();
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
