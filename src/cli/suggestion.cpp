#include "cli/suggestion.h"

#include <algorithm>

namespace tessera::cli {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> least(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) least[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) least[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      auto& best = least[i][j];
      best = std::min({least[i - 1][j] + 1, least[i][j - 1] + 1, least[i - 1][j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        best = std::min(best, least[i - 2][j - 2] + 1);
    }
  }
  return least[a.size()][b.size()];
}

std::string nearest_word(const std::string& typed, const std::vector<std::string>& words) {
  constexpr std::size_t kLongest = 64;
  if (typed.empty() || typed.size() > kLongest) return {};
  std::string best;
  std::size_t best_distance = kLongest;
  for (const auto& word : words) {
    const auto allowed = std::clamp<std::size_t>(word.size() / 3, 1, 3);
    const auto distance = edit_distance(typed, word);
    if (distance <= allowed && distance < best_distance) {
      best = word;
      best_distance = distance;
    }
  }
  if (!best.empty()) return best;
  const auto begins = [&](const std::string& word) { return typed.size() > 2 && word.starts_with(typed); };
  const auto found = std::find_if(words.begin(), words.end(), begins);
  return found != words.end() && std::count_if(words.begin(), words.end(), begins) == 1 ? *found : std::string();
}

std::string did_you_mean(const std::string& typed, const std::vector<std::string>& words) {
  const auto word = nearest_word(typed, words);
  return word.empty() ? word : "; did you mean " + word + "?";
}

}  // namespace tessera::cli
