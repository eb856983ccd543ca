#include "data/metadata_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/csv.h"
#include "data/file_names.h"
#include "runtime/bounded_json.h"

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

std::vector<MetadataRow> read_json_lines(const std::string& text, const std::string& image_field) {
  std::vector<MetadataRow> rows;
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r\v\f") == std::string_view::npos) continue;
    auto object = json_or_discarded(line);
    rows.push_back(object.is_object() ? make_row(line_number, std::move(object), image_field)
                                      : broken_row(line_number, "not a JSON object"));
  }
  return rows;
}

/// A cell of a table: a list of texts where it is one, whole numbers of labels as numbers.
Json cell_value(const std::string& column, const std::string& cell) {
  if (cell.starts_with('[')) {
    auto list = json_or_discarded(cell);
    if (list.is_array() && std::all_of(list.begin(), list.end(), [](const auto& one) { return one.is_string(); }))
      return list;
  }
  const bool number = !cell.empty() && cell.size() <= 9 &&
                      std::all_of(cell.begin(), cell.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (column == "label" && number) return std::stoul(cell);
  return cell;
}

std::vector<MetadataRow> read_csv(const std::string& text, const std::string& image_field) {
  std::vector<MetadataRow> rows;
  const auto lines = parse_csv(text);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto& header = lines.front().cells;
    const auto& [line, cells] = lines[i];
    if (cells.size() > header.size()) {
      rows.push_back(
          broken_row(line, fmt::format("{} cells, expected {} as in the header", cells.size(), header.size())));
      continue;
    }
    Json object = Json::object();
    for (std::size_t column = 0; column < cells.size(); ++column)
      if (!cells[column].empty()) object[header[column]] = cell_value(header[column], cells[column]);
    rows.push_back(make_row(line, std::move(object), image_field));
  }
  return rows;
}

}  // namespace

std::vector<MetadataRow> read_metadata(const std::string& name, const std::string& text,
                                       const std::string& image_field) {
  return ending_of(name) == "csv" ? read_csv(text, image_field) : read_json_lines(text, image_field);
}

}  // namespace tessera
