#include "runtime/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace tessera {

spdlog::logger& log() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("tessera", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%^%l%$: %v");
    return made;
  }();
  return *logger;
}

void set_verbose(bool verbose) {
  log().set_level(verbose ? spdlog::level::debug : spdlog::level::info);
}

}  // namespace tessera
