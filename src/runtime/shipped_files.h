/// Files that come with the program: models, networks.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace tessera {

/// Where `name` ("models/general128") lies: below $TESSERA_HOME, else below share/tessera of the prefix that the
/// program (or the library in another program) was installed in, or in the checkout that it was built in. Empty:
/// nowhere.
std::optional<std::filesystem::path> find_shipped(const std::string& name);

/// The folder of a model that a user has named: the path as it is where it exists or is more than a name, else
/// "portraits" stands for the shipped models/portraits.
std::filesystem::path find_model(const std::filesystem::path& model);

}  // namespace tessera
