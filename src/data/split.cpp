#include "data/split.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::array<std::pair<std::string_view, Split>, 10> kSplitWords = {{{"train", Split::train},
                                                                             {"training", Split::train},
                                                                             {"val", Split::validation},
                                                                             {"valid", Split::validation},
                                                                             {"validation", Split::validation},
                                                                             {"dev", Split::validation},
                                                                             {"test", Split::test},
                                                                             {"testing", Split::test},
                                                                             {"eval", Split::test},
                                                                             {"evaluation", Split::test}}};

}  // namespace

Split parse_split(const std::string& name) {
  for (const auto split : {Split::train, Split::validation, Split::test, Split::all}) {
    if (name == split_name(split)) return split;
  }
  fail("split '{}': expected one of train, validation, test, all", name);
}

std::string_view split_name(Split split) {
  switch (split) {
    case Split::train:
      return "train";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
    case Split::all:
      return "all";
  }
  return {};
}

std::optional<Split> split_of_word(std::string_view word) {
  for (const auto& [name, split] : kSplitWords) {
    const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; };
    if (std::equal(word.begin(), word.end(), name.begin(), name.end(), same)) return split;
  }
  return std::nullopt;
}

std::optional<Split> split_of_archive(std::string_view file_name) {
  file_name.remove_prefix(file_name.rfind('/') + 1);
  return split_of_word(file_name.substr(0, file_name.find_first_of("-_.0123456789")));
}

}  // namespace tessera
