/// What a file is that stands where another was expected: a Git LFS pointer, a web page, nothing at all.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

/// In: the first bytes of a file (a few hundred suffice). Out: what it is in words, with the mend; empty: none of
/// these.
inline std::string foreign_bytes(std::string_view head) {
  if (head.empty()) return "an empty file";
  if (head.starts_with("version https://git-lfs.github.com/spec/"))
    return "a Git LFS pointer, not the file itself; 'git lfs pull' fetches it";
  while (!head.empty() && (head.front() == ' ' || head.front() == '\n' || head.front() == '\r' || head.front() == '\t'))
    head.remove_prefix(1);
  const auto begins = [&](std::string_view word) {  // in either case
    if (head.size() < word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i) {
      const char c = head[i] >= 'A' && head[i] <= 'Z' ? static_cast<char>(head[i] - 'A' + 'a') : head[i];
      if (c != word[i]) return false;
    }
    return true;
  };
  if (begins("<!doctype html") || begins("<html") || begins("<head"))
    return "a web page, not the file itself; the download asked for a login or another address";
  return {};
}

}  // namespace tessera
