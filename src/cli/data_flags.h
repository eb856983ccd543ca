/// What of a data set's files is the caption, the part and the picture: flags of every verb that reads one.
#pragma once

#include <CLI/CLI.hpp>

#include "data/catalogue_choice.h"

namespace tessera::cli {

/// group: the flags' heading in the verb's help; empty: the usual one.
void add_choice_flags(CLI::App& verb, CatalogueChoice& choice, const std::string& group = {});

}  // namespace tessera::cli
