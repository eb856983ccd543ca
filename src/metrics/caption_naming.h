/// What captions name: their phrases beside those of a picture's own caption, and the attributes that the phrases stand
/// for. Captions are lists of phrases with commas between them; which attribute a phrase is about is read off the data.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace tessera {

/// The phrases of a caption, without the commas between them.
std::vector<std::string> phrases_of(const std::string& caption);
/// What a phrase is compared by: its letters and digits, in lower case.
std::string phrase_key(const std::string& phrase);

/// Precision, recall and their harmonic mean, of counts over pictures.
struct NamingScore {
  std::int64_t right = 0, named = 0, there = 0;

  double precision() const { return named > 0 ? static_cast<double>(right) / static_cast<double>(named) : 0; }
  double recall() const { return there > 0 ? static_cast<double>(right) / static_cast<double>(there) : 0; }
  double f1() const;
  NamingScore& operator+=(const NamingScore& other);
};

/// A value that stands for nothing to be seen: empty, "none" or "hidden".
bool is_nothing(const std::string& value);

/// Which value of an attribute each phrase stands for: the one that every picture with the phrase has, and whose words
/// are all in the phrase.
class PhraseMeanings {
 public:
  /// In: of each picture its phrases and the attribute's value.
  PhraseMeanings(const std::vector<std::vector<std::string>>& phrases, const std::vector<std::string>& values);

  /// The values that phrases stand for; empty: of this attribute they say nothing.
  std::set<std::string> named_by(const std::vector<std::string>& phrases) const;

 private:
  std::map<std::string, std::string> meaning_;  // by phrase_key
};

/// How a caption's phrases compare with a picture's own, added to `score`.
void count_phrases(const std::vector<std::string>& said, const std::vector<std::string>& own, NamingScore& score);
/// The same of an attribute: named are the values that the phrases stand for.
void count_values(const std::set<std::string>& named, const std::string& value, NamingScore& score);

}  // namespace tessera
