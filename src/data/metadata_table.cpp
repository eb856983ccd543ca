#include "data/metadata_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/csv.h"
#include "data/file_names.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using Json = nlohmann::json;

constexpr const char* kFileNames[] = {"file_name", "image_file_name", "filename", "image", "path"};

/// The column that names the picture; empty: none.
std::string name_column(const Json& object, const std::string& image_field) {
  const auto is_text = [&](const std::string& name) { return object.contains(name) && object.at(name).is_string(); };
  for (const auto& name : {image_field, image_field + "_file_name"}) {
    if (!image_field.empty() && is_text(name)) return name;
  }
  for (const char* name : kFileNames) {
    if (is_text(name)) return name;
  }
  return {};
}

MetadataRow make_row(std::size_t line, Json object, const std::string& image_field) {
  MetadataRow row;
  row.line = line;
  const auto column = name_column(object, image_field);
  if (column.empty()) {
    row.problem = "no file_name";
    return row;
  }
  row.file_name = object.at(column).get<std::string>();
  object.erase(column);
  for (const auto& [name, value] : object.items()) {
    const bool names_file = name.ends_with("_file_name") || name == "file_name";
    if (names_file && value.is_string()) row.other_files.push_back(value.get<std::string>());
  }
  row.fields = std::move(object);
  return row;
}

MetadataRow broken_row(std::size_t line, std::string problem) {
  MetadataRow row;
  row.line = line;
  row.problem = std::move(problem);
  return row;
}

using TakeRow = std::function<void(MetadataRow)>;

constexpr std::size_t kRowBytes = 256;  // of a row itself, and of what is said of it where it is broken

/// Counts a row. Throws Error above the bound.
void charge_row(const std::string& name, const JsonLimits& limits) {
  *limits.held += kRowBytes;
  require(*limits.held <= limits.bytes, "{}: describes more than {} MiB of values", printable(name),
          limits.bytes >> 20);
}

void read_json_lines(const std::string& name, const std::string& text, const std::string& image_field,
                     const JsonLimits& limits, const TakeRow& take) {
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r\v\f") == std::string_view::npos) continue;
    charge_row(name, limits);
    auto object = json_or_discarded(line, limits);
    take(object.is_object() ? make_row(line_number, std::move(object), image_field)
                            : broken_row(line_number, "not a JSON object"));
  }
}

/// A cell of a table: a list of texts where it is one, whole numbers of labels as numbers.
Json cell_value(const std::string& column, const std::string& cell, const JsonLimits& limits) {
  if (cell.starts_with('[')) {
    auto list = json_or_discarded(cell, limits);
    if (list.is_array() && std::all_of(list.begin(), list.end(), [](const auto& one) { return one.is_string(); }))
      return list;
  }
  const bool number = !cell.empty() && cell.size() <= 9 &&
                      std::all_of(cell.begin(), cell.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (column == "label" && number) return std::stoul(cell);
  return cell;
}

void read_csv(const std::string& name, const std::string& text, const std::string& image_field,
              const JsonLimits& limits, const TakeRow& take) {
  constexpr std::size_t kCellBytes = 144;  // of a field of a JSON object, beside its text
  constexpr std::size_t kMostColumns = 4096;
  std::vector<std::string> header;
  parse_csv(text, kMostColumns, [&](CsvRow row) {
    if (header.empty()) {
      header = std::move(row.cells);
      return;
    }
    charge_row(name, limits);
    if (row.cells.size() > header.size()) {
      take(
          broken_row(row.line, fmt::format("{} cells, expected {} as in the header", row.cells.size(), header.size())));
      return;
    }
    Json object = Json::object();
    for (std::size_t column = 0; column < row.cells.size(); ++column) {
      if (row.cells[column].empty()) continue;
      *limits.held += kCellBytes;
      object[header[column]] = cell_value(header[column], row.cells[column], limits);
    }
    take(make_row(row.line, std::move(object), image_field));
  });
}

}  // namespace

void read_metadata(const std::string& name, const std::string& text, const std::string& image_field,
                   const JsonLimits& limits, const std::function<void(MetadataRow)>& take) {
  std::size_t own = 0;
  JsonLimits shared = limits;
  if (!shared.held) shared.held = &own;
  if (ending_of(name) == "csv") {
    read_csv(name, text, image_field, shared, take);
  } else {
    read_json_lines(name, text, image_field, shared, take);
  }
}

}  // namespace tessera
