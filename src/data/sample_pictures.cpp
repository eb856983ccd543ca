#include "data/sample_pictures.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "data/file_names.h"

namespace tessera {
namespace {

constexpr std::array<std::string_view, 11> kPictureEndings = {"jpg", "jpeg", "png",  "webp", "jpe", "jfif",
                                                              "jif", "tif",  "tiff", "gif",  "apng"};
constexpr std::array<std::string_view, 9> kPictureWords = {"image", "img",    "picture",  "photo", "rgb",
                                                           "input", "target", "original", "output"};
constexpr std::array<std::string_view, 30> kCompanionWords = {
    "mask",    "masks",        "seg",      "segm",      "segmentation", "semantic", "instance", "panoptic",
    "label",   "labels",       "depth",    "normal",    "normals",      "edge",     "edges",    "canny",
    "hed",     "pose",         "openpose", "keypoints", "alpha",        "matte",    "sketch",   "lineart",
    "control", "conditioning", "cond",     "thumb",     "thumbnail",    "preview"};

template <std::size_t N>
std::size_t place_in(const std::array<std::string_view, N>& words, std::string_view word) {
  return static_cast<std::size_t>(std::find(words.begin(), words.end(), word) - words.begin());
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

/// Letters, digits, '_' and '-', a letter first: no part of a number or of a sentence.
bool is_field_word(std::string_view word) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  constexpr std::size_t kLongest = 32;
  return !word.empty() && word.size() <= kLongest && letter(word.front()) &&
         std::all_of(word.begin(), word.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-'; });
}

/// "mask" of "mask.png"; empty: only an ending.
std::string first_word(const std::string& field) {
  const auto dot = field.find('.');
  return dot == std::string::npos ? std::string() : field.substr(0, dot);
}

/// Which field comes first: a plain ending, a word for the picture, an unknown word, a word for a companion.
std::pair<int, std::size_t> rank_of(const std::string& field) {
  const auto word = first_word(field);
  if (word.empty()) return {0, place_in(kPictureEndings, field)};
  if (const auto place = place_in(kPictureWords, word); place < kPictureWords.size()) return {1, place};
  return {place_in(kCompanionWords, word) < kCompanionWords.size() ? 3 : 2, 0};
}

struct SamplePicture {
  std::size_t place;
  std::string field;  // lower case
};

bool before(const SamplePicture& left, const SamplePicture& right) {
  const auto first = rank_of(left.field), second = rank_of(right.field);
  return first != second ? first < second : left.field < right.field;
}

bool is_named(const std::string& field, const std::string& wanted) {
  return field == wanted || first_word(field) == wanted || field.substr(field.rfind('.') + 1) == wanted;
}

using Samples = std::map<std::string_view, std::vector<SamplePicture>>;

/// Whether a field is one of a sample and not the end of a picture's own name: it has a usual name, or comes again.
bool is_field(const std::string& field, const std::map<std::string, std::size_t>& occurrences, bool from_tar) {
  const auto word = first_word(field);
  if (place_in(kCompanionWords, word) < kCompanionWords.size()) return true;
  if (!from_tar) return false;
  return word.empty() || rank_of(field).first == 1 || occurrences.at(field) > 1;
}

}  // namespace

SampleName sample_name(std::string_view name) {
  const auto folder = folder_of(name).size();
  auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot <= folder) return {name, {}};
  while (true) {
    const auto before_dot = name.rfind('.', dot - 1);
    if (before_dot == std::string_view::npos || before_dot <= folder) break;
    if (!is_field_word(name.substr(before_dot + 1, dot - before_dot - 1))) break;
    dot = before_dot;
  }
  return {name.substr(0, dot), name.substr(dot + 1)};
}

SampleChoice choose_pictures(const std::vector<std::string_view>& names, bool from_tar, const std::string& field) {
  Samples samples;
  std::map<std::string, std::size_t> occurrences;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto sample = sample_name(names[i]);
    samples[sample.key].push_back({i, lower(sample.field)});
    ++occurrences[lower(sample.field)];
  }
  SampleChoice choice;
  std::set<std::string> taken, fields;
  const auto wanted = lower(field);
  for (auto& [key, pictures] : samples) {
    std::sort(pictures.begin(), pictures.end(), before);
    if (!wanted.empty()) {
      const auto found = std::find_if(pictures.begin(), pictures.end(),
                                      [&](const auto& picture) { return is_named(picture.field, wanted); });
      for (auto at = pictures.begin(); at != pictures.end(); ++at) {
        (found == pictures.end() ? choice.without : at == found ? choice.kept : choice.left).push_back(at->place);
        if (pictures.size() > 1) fields.insert(at->field);
      }
      if (pictures.size() > 1 && found != pictures.end()) taken.insert(found->field);
      continue;
    }
    // The first is the picture; what is no field of a sample is a picture too.
    bool several = false;
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const bool other = i > 0 && is_field(pictures[i].field, occurrences, from_tar);
      (other ? choice.left : choice.kept).push_back(pictures[i].place);
      if (other) fields.insert(pictures[i].field);
      several = several || other;
    }
    if (several) {
      fields.insert(pictures.front().field);
      taken.insert(pictures.front().field);
    }
  }
  for (auto* places : {&choice.kept, &choice.left, &choice.without}) std::sort(places->begin(), places->end());
  for (const auto& name : taken) choice.field += (choice.field.empty() ? "" : ", ") + name;
  choice.fields.assign(fields.begin(), fields.end());
  return choice;
}

}  // namespace tessera
