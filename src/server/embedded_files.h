/// The studio's files inside the program.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace tessera::server {

/// Bytes by path below src/server/studio ("index.html", "tasks/inpaint.js").
const std::map<std::string, std::string_view>& embedded_files();

}  // namespace tessera::server
