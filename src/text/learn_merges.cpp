#include "text/learn_merges.h"

#include <algorithm>
#include <map>

namespace tessera {

ClipTokenizer learn_tokenizer(const std::vector<std::string>& texts, std::int64_t most) {
  const ClipTokenizer bytes({}, {});
  const auto symbols = bytes.symbols();
  // Words in the pattern's sense, as bytes' symbols, with how often they occur.
  std::map<std::vector<std::int64_t>, std::int64_t> counted;
  for (const auto& text : texts) {
    std::vector<std::int64_t> word;
    for (const auto id : bytes.encode(text)) {
      if (id >= bytes.start_token()) continue;
      word.push_back(id);
      if (id < 256) continue;
      ++counted[word];  // the second half of the bytes ends a word
      word.clear();
    }
  }
  std::vector<std::string> names(symbols.begin(), symbols.begin() + 512);
  std::vector<std::pair<std::vector<std::int64_t>, std::int64_t>> words(counted.begin(), counted.end());
  std::vector<std::pair<std::string, std::string>> merges;
  while (static_cast<std::int64_t>(merges.size()) < most) {
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> pairs;
    for (const auto& [word, count] : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) pairs[{word[i], word[i + 1]}] += count;
    }
    const auto best =
        std::max_element(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    if (best == pairs.end() || best->second < 2) break;
    const auto [first, second] = best->first;
    const auto made = static_cast<std::int64_t>(names.size());
    const auto left = names[static_cast<std::size_t>(first)], right = names[static_cast<std::size_t>(second)];
    names.push_back(left + right);
    merges.emplace_back(left, right);
    for (auto& [word, count] : words) {
      std::size_t kept = 0;
      for (std::size_t i = 0; i < word.size(); ++kept) {
        const bool joins = i + 1 < word.size() && word[i] == first && word[i + 1] == second;
        word[kept] = joins ? made : word[i];
        i += joins ? 2 : 1;
      }
      word.resize(kept);
    }
  }
  return {merges, {}};
}

}  // namespace tessera
