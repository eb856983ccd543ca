/// The one reader of YAML, for the configurations that come beside foreign checkpoints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace tessera {

/// The first document of a text as JSON: plain scalars that read as numbers or booleans become such, entries whose keys
/// are no scalars are left out, aliases stand for what they name. Nesting and nodes are bounded while it is read; an
/// alias counts as much as what it stands for. Throws Error that begins with `where`.
nlohmann::json read_yaml(const std::string& text, const std::string& where);

}  // namespace tessera
