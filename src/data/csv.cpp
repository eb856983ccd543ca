#include "data/csv.h"

#include <algorithm>

namespace tessera {
namespace {

char separator_of(std::string_view text) {
  std::size_t counts[3] = {};
  constexpr char kSeparators[3] = {',', ';', '\t'};
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '\n') break;
    for (int i = 0; i < 3; ++i) counts[i] += c == kSeparators[i];
  }
  return kSeparators[std::max_element(counts, counts + 3) - counts];
}

}  // namespace

void parse_csv(std::string_view text, std::size_t most_cells, const std::function<void(CsvRow)>& take) {
  const char separator = separator_of(text);
  std::size_t line = 1, at = 0;
  while (at < text.size()) {
    CsvRow row{line, {}};
    bool ended = false;
    while (!ended) {
      std::string cell;
      if (at < text.size() && text[at] == '"') {
        for (++at; at < text.size(); ++at) {
          if (text[at] == '\n') ++line;
          if (text[at] != '"') {
            cell.push_back(text[at]);
          } else if (at + 1 < text.size() && text[at + 1] == '"') {
            cell.push_back(text[at++]);
          } else {
            ++at;
            break;
          }
        }
      }
      const auto begin = at;
      while (at < text.size() && text[at] != separator && text[at] != '\n') ++at;
      cell += text.substr(begin, at - begin);
      ended = at >= text.size() || text[at] == '\n';
      if (ended && !cell.empty() && cell.back() == '\r') cell.pop_back();
      if (row.cells.size() <= most_cells) row.cells.push_back(std::move(cell));
      if (at < text.size()) ++at;
    }
    ++line;
    if (row.cells.size() > 1 || !row.cells.front().empty()) take(std::move(row));
  }
}

}  // namespace tessera
