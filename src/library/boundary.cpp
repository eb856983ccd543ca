#include "library/boundary.h"

#include <atomic>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/failure.h"
#include "runtime/heap.h"
#include "runtime/log.h"
#include "runtime/threads.h"
#include "runtime/version.h"
#include "sampling/sampling_options.h"

namespace tessera::library {
namespace {

std::atomic<bool> threads_chosen{false};

}  // namespace

void be_quiet() {
  set_log_target([](spdlog::level::level_enum, std::string_view) {});
}

std::string& error_message() {
  thread_local std::string message;
  return message;
}

void begin_call() {
  static const bool quiet = (be_quiet(), true);  // from the start: a program's standard error is its own
  (void)quiet;
  error_message().clear();
}

tessera_status end_call_with_exception() {
  try {
    throw;
  } catch (const Stopped&) {
    error_message() = "stopped by its caller";
    return TESSERA_STOPPED;
  } catch (...) {
    auto failure = current_failure();
    error_message() = std::move(failure.text);
    switch (failure.kind) {
      case FailureKind::usage:
        return TESSERA_USAGE;
      case FailureKind::interrupted:
        return TESSERA_STOPPED;
      case FailureKind::memory:
        return TESSERA_MEMORY;
      default:
        return TESSERA_FAILED;
    }
  }
}

void choose_threads() {
  threads_chosen = true;
}

void prepare_to_compute() {
  static const bool done = [] {
    keep_freed_memory();
    if (!threads_chosen) set_threads(0);
    return true;
  }();
  (void)done;
}

void require_given(bool given, const char* name) {
  if (!given) throw UsageError(fmt::format("{}: is NULL", name));
}

}  // namespace tessera::library

using tessera::library::guarded;

extern "C" {

const char* tessera_version(void) {
  return tessera::version();
}

const char* tessera_error_message(void) {
  return tessera::library::error_message().c_str();
}

tessera_status tessera_set_threads(int threads) {
  return guarded([&] {
    tessera::set_threads(threads);
    tessera::library::choose_threads();
  });
}

void tessera_set_log(tessera_log_function function, void* user) {
  (void)guarded([&] {
    if (function == nullptr) return tessera::library::be_quiet();
    tessera::set_log_target([function, user](spdlog::level::level_enum level, std::string_view line) {
      const auto text = tessera::one_line(std::string(line));
      const int number = level <= spdlog::level::debug  ? 0
                         : level == spdlog::level::info ? 1
                         : level == spdlog::level::warn ? 2
                                                        : 3;
      function(user, number, text.c_str());
    });
  });
}

const char* tessera_options_schema(void) {
  static const std::string text = [] {
    auto list = nlohmann::json::array();
    for (const auto& field : tessera::SamplingOptions::fields()) {
      list.push_back(field.form());
    }
    return list.dump();
  }();
  return text.c_str();
}

}  // extern "C"
