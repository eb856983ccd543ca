#include "runtime/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <atomic>
#include <mutex>
#include <utility>

namespace tessera {
namespace {

std::atomic<bool> shown{true};

/// Hands each line on as it is.
class FunctionSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  using Target = std::function<void(spdlog::level::level_enum, std::string_view)>;
  void set(Target target) {
    const std::lock_guard<std::mutex> lock(mutex_);
    target_ = std::move(target);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    target_(message.level, std::string_view(message.payload.data(), message.payload.size()));
  }
  void flush_() override {}

 private:
  Target target_;
};

}  // namespace

spdlog::logger& log() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("tessera", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%^%l%$: %v");
    return made;
  }();
  return *logger;
}

void set_log_target(std::function<void(spdlog::level::level_enum level, std::string_view line)> target) {
  static const auto sink = [] {
    auto only = std::make_shared<FunctionSink>();
    log().sinks() = {only};
    shown = false;
    return only;
  }();
  sink->set(std::move(target));
}

bool shows_progress() {
  return shown && log().should_log(spdlog::level::info);
}

void set_verbose(bool verbose) {
  log().set_level(verbose ? spdlog::level::debug : spdlog::level::info);
}

}  // namespace tessera
