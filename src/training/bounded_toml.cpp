#include "training/bounded_toml.h"

#include <cstddef>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

constexpr std::size_t kDeepestKey = 32, kDeepestTable = 64;

/// The byte after a string that begins at `at`, or after the line where it does not end (the parser will say so).
std::size_t after_string(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const std::string_view three = text.substr(at, 3);
  const bool lines = three.size() == 3 && three[1] == quote && three[2] == quote;
  for (at += lines ? 3 : 1; at < text.size(); ++at) {
    if (quote == '"' && text[at] == '\\') {
      ++at;
    } else if (!lines && (text[at] == quote || text[at] == '\n')) {
      return at + 1;
    } else if (lines && text.substr(at, 3) == three) {
      return at + 3;
    }
  }
  return text.size();
}

/// Counts what nests: brackets within each other, and the dots of one key.
void check_nesting(std::string_view text, const std::string& where) {
  std::size_t line = 1, dots = 0, open = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      const auto end = after_string(text, at);
      for (; at < end; ++at) line += text[at] == '\n';
      continue;
    }
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    dots = c == '.' ? dots + 1 : c == '\n' || c == '=' || c == ',' || c == '{' || c == '[' ? 0 : dots;
    if (c == '[' || c == '{') ++open;
    if ((c == ']' || c == '}') && open > 0) --open;
    require(dots < kDeepestKey, "{}:{}: a key of more than {} parts", where, line, kDeepestKey);
    require(open <= kDeepestTable, "{}:{}: nested deeper than {}", where, line, kDeepestTable);
    line += c == '\n';
    ++at;
  }
}

}  // namespace

toml::table read_toml(std::string_view text, const std::string& where) {
  check_nesting(text, where);
  try {
    return toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    fail("{}:{}: {}", where, error.source().begin.line, printable(error.description()));
  }
}

}  // namespace tessera
