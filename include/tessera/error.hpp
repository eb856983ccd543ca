/// Errors of the library as exceptions. Every call of the C++ interface that fails throws one of these.
#pragma once

#include <tessera/tessera.h>

#include <stdexcept>
#include <string>

namespace tessera {

/// Why a call failed.
enum class Status {
  failed = TESSERA_FAILED,    // a file, a model or the machine
  usage = TESSERA_USAGE,      // an argument or option
  stopped = TESSERA_STOPPED,  // a callback asked for it
  memory = TESSERA_MEMORY     // out of memory
};

/// what(): one line that says what was found and what was expected.
class TESSERA_API Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  Status status() const noexcept { return status_; }

 private:
  Status status_;
};

/// An argument or option: unknown, out of its range, or of no use to the model.
class TESSERA_API UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(Status::usage, message) {}
};

/// A callback has stopped the call.
class TESSERA_API Stopped : public Error {
 public:
  explicit Stopped(const std::string& message) : Error(Status::stopped, message) {}
};

namespace detail {

/// Throws what the calling thread's last call has failed with.
[[noreturn]] inline void throw_error(tessera_status status) {
  std::string message = tessera_error_message();
  if (message.empty()) message = "tessera: status " + std::to_string(static_cast<int>(status));
  if (status == TESSERA_USAGE) throw UsageError(message);
  if (status == TESSERA_STOPPED) throw Stopped(message);
  throw Error(status == TESSERA_MEMORY ? Status::memory : Status::failed, message);
}

inline void check(tessera_status status) {
  if (status != TESSERA_OK) throw_error(status);
}

/// A string for the C interface, which ends at the first zero byte. Throws UsageError where that is not its end.
inline const char* c_text(const std::string& text, const char* what) {
  if (text.find('\0') != std::string::npos) throw UsageError(std::string(what) + ": a zero byte in it");
  return text.c_str();
}

}  // namespace detail
}  // namespace tessera
