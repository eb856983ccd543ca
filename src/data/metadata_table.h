/// metadata.jsonl and metadata.csv: one image a line, named by file_name.
#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/bounded_json.h"

namespace tessera {

struct MetadataRow {
  std::size_t line = 0;                  // in the file, from 1
  std::string problem;                   // what is wrong with it: no JSON object, no file name; empty: nothing
  std::string file_name;                 // as written
  nlohmann::json fields;                 // object, without the name
  std::vector<std::string> other_files;  // further pictures that the line names: mask_file_name ...
};

/// In: name, of the table, which tells its format; text, UTF-8; image_field, the column of the picture's name where it
/// is none of file_name, image_file_name, filename, image, path; limits.held, what the rows of other tables took. Calls
/// take(row) for each. Throws Error where the rows take more than limits.bytes.
void read_metadata(const std::string& name, const std::string& text, const std::string& image_field,
                   const JsonLimits& limits, const std::function<void(MetadataRow)>& take);

}  // namespace tessera
