#include "data/shard_pattern.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::size_t kMostNames = 100'000;
constexpr std::size_t kMostDigits = 9;

std::optional<std::int64_t> number(std::string_view digits) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  if (!whole || value < 0 || digits.size() > kMostDigits) return std::nullopt;
  return value;
}

bool is_padded(std::string_view digits) {
  return digits.size() > 1 && digits.front() == '0';
}

std::vector<std::string> numbers(std::int64_t first, std::int64_t last, std::size_t width, const std::string& pattern) {
  const std::int64_t step = first <= last ? 1 : -1;
  require(static_cast<std::size_t>((last - first) * step) < kMostNames, "{}: more than {} names", pattern, kMostNames);
  std::vector<std::string> texts;
  for (auto at = first; at != last + step; at += step) texts.push_back(fmt::format("{:0{}}", at, width));
  return texts;
}

/// The texts that a group stands for, without its braces; none: it is no group.
std::vector<std::string> alternatives(std::string_view group, const std::string& pattern) {
  std::vector<std::string> texts;
  if (const auto dots = group.find(".."); dots != std::string_view::npos) {
    const auto from = group.substr(0, dots), to = group.substr(dots + 2);
    const auto first = number(from), last = number(to);
    if (first && last)
      return numbers(*first, *last, is_padded(from) || is_padded(to) ? std::max(from.size(), to.size()) : 1, pattern);
  }
  if (group.find(',') == std::string_view::npos) return texts;
  for (std::size_t begin = 0; begin <= group.size();) {
    const auto end = std::min(group.find(',', begin), group.size());
    texts.emplace_back(group.substr(begin, end - begin));
    begin = end + 1;
  }
  return texts;
}

/// Expands the first group at or after `from`, then those behind it.
void expand(const std::string& text, std::size_t from, const std::string& pattern, std::vector<std::string>& names) {
  for (auto open = text.find('{', from); open != std::string::npos; open = text.find('{', open + 1)) {
    const auto close = text.find('}', open);
    if (close == std::string::npos) break;
    const auto texts = alternatives(std::string_view(text).substr(open + 1, close - open - 1), pattern);
    if (texts.empty()) continue;
    for (const auto& each : texts) {
      expand(text.substr(0, open) + each + text.substr(close + 1), open + each.size(), pattern, names);
    }
    return;
  }
  require(names.size() < kMostNames, "{}: more than {} names", pattern, kMostNames);
  names.push_back(text);
}

}  // namespace

std::vector<std::filesystem::path> expand_pattern(const std::filesystem::path& pattern) {
  std::error_code code;
  if (std::filesystem::exists(pattern, code)) return {pattern};
  std::vector<std::string> names;
  expand(pattern.string(), 0, pattern.string(), names);
  return {names.begin(), names.end()};
}

}  // namespace tessera
