/// Files that come with the program: models, networks.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace tessera {

/// Where `name` ("models/general128") lies: below $TESSERA_HOME, beside the program as installed
/// (<prefix>/share/tessera), or in a folder above the program (the checkout that it was built in). Empty: nowhere.
std::optional<std::filesystem::path> find_shipped(const std::string& name);

}  // namespace tessera
