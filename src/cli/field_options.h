/// Fields of an option struct as command-line flags, laid over a recipe.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "runtime/fields.h"

namespace tessera::cli {

/// Adds one flag a field (--snake-case). The flags' values are kept aside until the returned function is called, so
/// that a recipe file read in between gives way to what was typed. group: their heading in the help.
std::function<void()> add_field_options(CLI::App& app, const Fields& fields, const std::string& group = "Recipe");

}  // namespace tessera::cli
