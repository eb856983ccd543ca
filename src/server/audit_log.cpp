#include "server/audit_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "runtime/log.h"

namespace tessera::server {
namespace {

constexpr std::size_t kMostPath = 200;

std::string time_text() {
  const auto now = std::chrono::system_clock::now();
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = milliseconds / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:03}Z", text, milliseconds % 1000);
}

std::unique_ptr<AppendFile> opened(const std::filesystem::path& path) {
  // Who asks for what is the owner's business alone.
  const int made = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (made >= 0) ::close(made);
  return std::make_unique<AppendFile>(path);
}

}  // namespace

AuditLog::AuditLog(std::filesystem::path file) : path_(std::move(file)), file_(opened(path_)) {}

void AuditLog::reopen() {
  try {
    auto next = opened(path_);
    const std::lock_guard lock(mutex_);
    file_ = std::move(next);
  } catch (const Error& error) {
    log().error("{}; writing on into the old file", error.what());
  }
}

void AuditLog::note(const HttpRequest& request, const std::string& client, const HttpResponse& response,
                    std::chrono::duration<double> took) {
  const nlohmann::ordered_json line = {{"time", time_text()},
                                       {"client", client},
                                       {"address", request.address},
                                       {"method", request.method.substr(0, 16)},
                                       {"path", request.path.substr(0, kMostPath)},
                                       {"status", response.status},
                                       {"bytes_in", request.body.size()},
                                       {"bytes_out", response.body.size()},
                                       {"ms", std::round(took.count() * 1e4) / 10}};
  const auto text = line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
  const std::lock_guard lock(mutex_);
  file_->append(text);
  file_->flush();
}

}  // namespace tessera::server
