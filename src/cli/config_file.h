/// Defaults of a user: options of verbs in a TOML file.
#pragma once

#include <CLI/CLI.hpp>

namespace tessera::cli {

/// Adds --config FILE, which is read when the verb is known: keys before any table hold for every verb that has the
/// option, those of [VERB] or [train.codec] for that verb and before the others. What was typed, and what the
/// environment says, goes before all of them. Without --config: TESSERA_CONFIG, else ~/.config/tessera/config.toml
/// where that is there; empty: none. Errors name the file and the key.
void add_config_file(CLI::App& app);

}  // namespace tessera::cli
