/// The program's one logger, on standard error (results go to standard output).
#pragma once

#include <spdlog/spdlog.h>

#include <functional>
#include <string_view>

namespace tessera {

/// The logger. Warnings are one line each. Set its level with set_verbose.
spdlog::logger& log();
/// Where lines go instead, without colours; one call at a time, from any thread. Progress is shown no more.
void set_log_target(std::function<void(spdlog::level::level_enum level, std::string_view line)> target);
/// Whether progress of long work may be written to standard error.
bool shows_progress();
/// true: debug lines too.
void set_verbose(bool verbose);

}  // namespace tessera
