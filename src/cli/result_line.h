/// What a verb made, on standard output.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace tessera::cli {

inline constexpr const char* kJsonHelp = "report as JSON on standard output";

/// `plain` as a line of its own, or with --json the object.
void print_result(bool as_json, const nlohmann::json& object, const std::string& plain);

}  // namespace tessera::cli
