/// TOML recipes: a table's keys are the fields of an option struct.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runtime/fields.h"

namespace tessera {

/// Reads table `table` of the file into the fields. A missing table changes nothing; an unknown key, a value of another
/// type and a syntax error (with its line) are Errors. Other tables are left to others, unknown ones are Errors too.
void read_recipe(const std::filesystem::path& file, const std::string& table, const Fields& fields);

/// The tables as TOML, each field on a line with its help as a comment; read_recipe reads it again. comment: lines that
/// go before, without '#'.
std::string recipe_text(const std::vector<std::pair<std::string, Fields>>& tables, const std::string& comment);

/// The fields as a JSON object, by name.
nlohmann::json to_json(const Fields& fields);

}  // namespace tessera
