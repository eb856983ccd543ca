/// Asks a service for jobs: one that runs elsewhere, or one inside this process.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tessera::server {

class Service;

class ServiceClient {
 public:
  virtual ~ServiceClient() = default;

  struct Answer {
    int status = 0;
    std::string body;
  };
  /// In: path with its query; body: JSON, or nothing. Throws Error where the service cannot be reached.
  virtual Answer send(const std::string& method, const std::string& path, const std::string& body = {}) = 0;
  /// What errors call it: its address.
  virtual std::string name() const = 0;

  /// The answer's JSON. Throws Error with the service's own words where it refuses.
  nlohmann::json ask(const std::string& method, const std::string& path, const std::string& body = {});
  /// The answer's bytes, likewise.
  std::string fetch(const std::string& path);
};

/// In: url "http://HOST:PORT" or "https://..", key: shown as a bearer's; empty: none. Throws UsageError where the
/// address is none; nothing is sent before the first question.
std::unique_ptr<ServiceClient> remote_service(const std::string& url, const std::string& key);

/// service must live longer, and have been started.
std::unique_ptr<ServiceClient> local_service(Service& service);

}  // namespace tessera::server
