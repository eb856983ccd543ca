/// The service without sockets, on models without a network.
#pragma once

#include "server/apart.h"

namespace tessera::testing {

/// A service of fake models whose requests need no sockets.
struct FakeService {
  explicit FakeService(ServiceLimits limits = {}, AccessRules access = {}, bool started = true,
                       std::filesystem::path workspace = {})
      : service(where.backend(), metrics, {limits, std::move(access), nullptr, std::move(workspace)}) {
    if (started) service.start();
  }

  HttpResponse ask(const std::string& method, const std::string& target, const std::string& body = {},
                   std::map<std::string, std::string> headers = {}) {
    HttpRequest request;
    request.method = method;
    request.path = target.substr(0, target.find('?'));
    for (auto at = target.find('?'); at != std::string::npos;) {
      const auto end = target.find('&', at + 1);
      const auto pair = target.substr(at + 1, end == std::string::npos ? end : end - at - 1);
      request.query[pair.substr(0, pair.find('='))] = pair.substr(pair.find('=') + 1);
      at = end;
    }
    request.headers = std::move(headers);
    request.headers.emplace("host", "localhost:8080");
    request.body = body;
    request.address = "127.0.0.1";
    return service.handle(request);
  }

  FakeBackend backend;
  Metrics metrics;
  MaybeApart where{backend, {}, metrics};
  Service service;
};

}  // namespace tessera::testing
