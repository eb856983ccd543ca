/// The files of networks/ inside the program, so that it needs none of them at run time (cmake/embed_networks.cmake).
#pragma once

#include <string>
#include <string_view>

namespace tessera {

/// The bytes of a file, by its name in networks/. Throws Error where the program holds no such file.
std::string_view embedded_network(const std::string& name);

}  // namespace tessera
