/// The library as a whole: version, threads, log, options.
#pragma once

#include <tessera/error.hpp>

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace tessera {

/// Of the library that runs, "0.2.0": semantic versions.
inline std::string version() {
  return tessera_version();
}

/// A JSON array of all sampling options: name, type, range, default, help, choices.
inline std::string options_schema() {
  return tessera_options_schema();
}

/// Threads that computing takes; 0: one a processor, as from the start. Throws UsageError.
inline void set_threads(int threads) {
  detail::check(tessera_set_threads(threads));
}

enum class LogLevel { debug = 0, information = 1, warning = 2, error = 3 };

/// A line of the log. Called from any thread, one at a time; what it throws is dropped.
using OnLog = std::function<void(LogLevel, std::string_view)>;

/// Where lines of the log go; an empty function: nowhere, as from the start.
inline void set_log(OnLog function) {
  // Never destroyed: threads of the library may log while the program ends.
  static auto& mutex = *new std::mutex;
  static auto& current = *new OnLog;
  const std::lock_guard lock(mutex);
  tessera_set_log(nullptr, nullptr);
  current = std::move(function);
  if (!current) return;
  tessera_set_log(
      [](void* user, int level, const char* line) {
        try {
          (*static_cast<OnLog*>(user))(static_cast<LogLevel>(level), line);
        } catch (...) {
        }
      },
      &current);
}

}  // namespace tessera
