/// Comma-separated values with a header line, as spreadsheets write them. RFC 4180, with ';' and tab as separators too.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

struct CsvRow {
  std::size_t line = 0;  // in the file, from 1
  std::vector<std::string> cells;
};

/// Calls take(row) for every row, the header first; empty lines are left out. The separator is the one of `,` `;` and
/// tab that the first line holds most of. An open quote at the end takes the rest of the text. Of a row with more than
/// `most_cells` cells, one more than that is kept.
void parse_csv(std::string_view text, std::size_t most_cells, const std::function<void(CsvRow)>& take);

}  // namespace tessera
