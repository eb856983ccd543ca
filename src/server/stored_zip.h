/// Zip archives whose members are stored as they are. Format: PKWARE APPNOTE 6.3, sections 4.3.7, 4.3.12, 4.3.16.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tessera::server {

/// In: names (ASCII) and contents. Throws Error from 2 GiB or 65,535 members on.
std::string stored_zip(const std::vector<std::pair<std::string, std::string>>& members);

}  // namespace tessera::server
