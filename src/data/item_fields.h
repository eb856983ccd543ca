/// What the metadata of a picture say under the names that several readers ask for.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace tessera {

/// What stands between commas, without blanks around it; empty parts are left out.
std::vector<std::string> comma_parts(const std::string& text);
/// The field `keywords`: a list of texts, or one text with commas between them. Empty: there is none.
std::vector<std::string> keywords_of(const DatasetItem& item);
/// A field that is a text; empty where it is none or not there.
std::string text_field(const DatasetItem& item, const std::string& name);

}  // namespace tessera
