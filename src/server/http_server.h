/// The service on the network. Boost.Beast parses and writes HTTP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/service.h"
#include "server/tls.h"

namespace tessera::server {

struct ListenOptions {
  std::string address = "127.0.0.1";
  int port = 8080;                             // 0: any free one
  std::shared_ptr<const TlsContext> tls = {};  // none: plain HTTP
};

class HttpServer {
 public:
  /// Throws Error where this build has no server.
  HttpServer(Service& service, const ListenOptions& options);
  ~HttpServer();

  /// Takes the port. Throws Error where it cannot. Out: the port.
  int bind();
  /// Answers until stop() is called from another thread.
  void run();
  /// New connections get this certificate. From any thread.
  void set_tls(std::shared_ptr<const TlsContext> tls);
  /// Ends event streams and connections that wait; what is being answered is answered.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::server
