/// Who asked for what, and what came of it: a line of JSON for each request.
///   {"time":"2026-01-31T12:00:00.123Z","client":"alice","address":"10.0.0.7","method":"POST","path":"/api/v1/jobs",
///    "status":202,"bytes_in":512,"bytes_out":80,"ms":1.2}
/// Never a key, a prompt or a picture.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/append_file.h"
#include "server/http_message.h"

namespace tessera::server {

class AuditLog {
 public:
  /// Opens or makes the file, readable by its owner alone. Throws Error naming it.
  explicit AuditLog(std::filesystem::path file);
  /// Opens the file anew: whoever rotates logs has moved the old one. Where that fails the old one is written on.
  void reopen();
  void note(const HttpRequest& request, const std::string& client, const HttpResponse& response,
            std::chrono::duration<double> took);

 private:
  const std::filesystem::path path_;
  std::mutex mutex_;
  std::unique_ptr<AppendFile> file_;
};

}  // namespace tessera::server
