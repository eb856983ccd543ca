/// What stands behind the ? of a request, checked. Throws HttpError (400) naming it.
#pragma once

#include <cstdint>
#include <string>

#include "server/service.h"

namespace tessera::server {

/// Valid UTF-8 of at most 1024 bytes; empty where it is missing.
std::string query_text(const Call& call, const std::string& name);
std::int64_t query_whole(const Call& call, const std::string& name, std::int64_t otherwise, std::int64_t least,
                         std::int64_t most);
/// "true" or "false"; false where it is missing.
bool query_flag(const Call& call, const std::string& name);

}  // namespace tessera::server
