/// Samples that hold several pictures: 0001.jpg, 0001.mask.png, 0001.txt. One of them is the picture, the others are
/// counted. The key of a sample is its name up to the first dot that begins its fields (the WebDataset convention), but
/// for numbers: the key of 22.0/0.05.png is 22.0/0.05.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

struct SampleName {
  std::string_view key;    // with its folder
  std::string_view field;  // "jpg", "mask.png"
};

SampleName sample_name(std::string_view name);

struct SampleChoice {
  std::vector<std::size_t> kept;     // places in the list of names, ascending
  std::vector<std::size_t> left;     // pictures of samples of which another is kept
  std::vector<std::size_t> without;  // pictures of samples that lack the field that was asked for
  std::string field;                 // what was taken, where any sample holds several pictures
  std::vector<std::string> fields;   // the picture fields of these samples
};

/// In: names of pictures; from_tar: the rule of WebDataset, by which every field of a key belongs to one sample.
/// Elsewhere only fields that are usual names of such companions (mask, depth ...) do. field: the one to take; empty:
/// the first of the usual ones.
SampleChoice choose_pictures(const std::vector<std::string_view>& names, bool from_tar, const std::string& field);

}  // namespace tessera
