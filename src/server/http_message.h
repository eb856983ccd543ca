/// A request and its response as the handlers see them: plain values, so that handlers run without sockets.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "runtime/error.h"

namespace tessera::server {

/// Text sent piece by piece while a job runs (text/event-stream).
class EventSource {
 public:
  virtual ~EventSource() = default;
  /// What there is to send, after at most `wait`; empty: nothing yet. None: the stream has ended.
  virtual std::optional<std::string> next(std::chrono::milliseconds wait) = 0;
};

struct HttpRequest {
  std::string method;                          // upper case
  std::string path;                            // decoded, without the query
  std::map<std::string, std::string> query;    // decoded; of a name given twice the first
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::string address;         // of the peer
  std::function<bool()> gone;  // true: the peer has closed the connection; none: not known

  /// The value, or nothing where the header is missing.
  std::string header(const std::string& lower_case_name) const {
    const auto found = headers.find(lower_case_name);
    return found == headers.end() ? std::string() : found->second;
  }
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers;
  std::unique_ptr<EventSource> events;  // sent in place of the body
};

/// A refusal with its status. The message is one line: the thing, what was found, what was expected.
class HttpError : public Error {
 public:
  HttpError(int http_status, const std::string& message, std::string of_field = {}, int retry_seconds = 0)
      : Error(message), status(http_status), field(std::move(of_field)), retry_after(retry_seconds) {}

  int status;
  std::string field;    // of the request; empty: none in particular
  int retry_after = 0;  // seconds; 0: not stated
};

/// 400 for a field of a request: "field: message".
template <typename... Args>
[[noreturn]] void refuse(const std::string& field, fmt::format_string<Args...> format, Args&&... args) {
  throw HttpError(400, fmt::format("{}: {}", field, fmt::format(format, std::forward<Args>(args)...)), field);
}

}  // namespace tessera::server
