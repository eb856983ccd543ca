#include "metrics/caption_naming.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "data/item_fields.h"

namespace tessera {
namespace {

std::set<std::string> words_of(const std::string& phrase) {
  std::istringstream stream(phrase);
  std::set<std::string> words;
  for (std::string word; stream >> word;) words.insert(phrase_key(word));
  return words;
}

}  // namespace

std::vector<std::string> phrases_of(const std::string& caption) {
  auto phrases = comma_parts(caption);
  std::erase_if(phrases, [](const std::string& phrase) { return phrase_key(phrase).empty(); });
  return phrases;
}

std::string phrase_key(const std::string& phrase) {
  std::string key;
  for (const char c : phrase) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte) != 0) key += static_cast<char>(byte < 0x80 ? std::tolower(byte) : byte);
  }
  return key;
}

double NamingScore::f1() const {
  const auto all = named + there;
  return all > 0 ? 2 * static_cast<double>(right) / static_cast<double>(all) : 0;
}

NamingScore& NamingScore::operator+=(const NamingScore& other) {
  right += other.right;
  named += other.named;
  there += other.there;
  return *this;
}

bool is_nothing(const std::string& value) {
  return value.empty() || value == "none" || value == "hidden";
}

PhraseMeanings::PhraseMeanings(const std::vector<std::vector<std::string>>& phrases,
                               const std::vector<std::string>& values) {
  std::map<std::string, std::set<std::string>> of_phrase;  // the values of the pictures that have it
  std::map<std::string, std::set<std::string>> words;
  for (std::size_t i = 0; i < phrases.size(); ++i) {
    for (const auto& phrase : phrases[i]) {
      const auto key = phrase_key(phrase);
      of_phrase[key].insert(values[i]);
      words.emplace(key, words_of(phrase));
    }
  }
  for (const auto& [key, found] : of_phrase) {
    if (found.size() != 1 || is_nothing(*found.begin())) continue;
    const auto of_value = words_of(*found.begin());
    const auto& own = words.at(key);
    if (std::includes(own.begin(), own.end(), of_value.begin(), of_value.end())) meaning_[key] = *found.begin();
  }
}

std::set<std::string> PhraseMeanings::named_by(const std::vector<std::string>& phrases) const {
  std::set<std::string> named;
  for (const auto& phrase : phrases) {
    const auto found = meaning_.find(phrase_key(phrase));
    if (found != meaning_.end()) named.insert(found->second);
  }
  return named;
}

void count_phrases(const std::vector<std::string>& said, const std::vector<std::string>& own, NamingScore& score) {
  const auto keys = [](const std::vector<std::string>& phrases) {
    std::set<std::string> all;
    for (const auto& phrase : phrases) all.insert(phrase_key(phrase));
    return all;
  };
  const auto named = keys(said), there = keys(own);
  score.named += static_cast<std::int64_t>(named.size());
  score.there += static_cast<std::int64_t>(there.size());
  for (const auto& key : named) score.right += there.count(key) > 0;
}

void count_values(const std::set<std::string>& named, const std::string& value, NamingScore& score) {
  score.named += static_cast<std::int64_t>(named.size());
  score.there += !is_nothing(value);
  score.right += named.count(value) > 0;
}

}  // namespace tessera
