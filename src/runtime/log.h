/// The program's one logger, on standard error (results go to standard output).
#pragma once

#include <spdlog/spdlog.h>

namespace tessera {

/// The logger. Warnings are one line each. Set its level with set_verbose.
spdlog::logger& log();
/// true: debug lines too.
void set_verbose(bool verbose);

}  // namespace tessera
