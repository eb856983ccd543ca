/// The one reader of TOML: recipes come from strangers too.
#pragma once

#include <toml++/toml.h>

#include <string>
#include <string_view>

namespace tessera {

/// The table of a text. Throws Error: "WHERE:LINE: what is wrong". Keys and tables nest at most 32 deep: toml++ bounds
/// the nesting of lists and inline tables itself, but not that of dotted keys.
toml::table read_toml(std::string_view text, const std::string& where);

}  // namespace tessera
