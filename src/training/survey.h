/// What a set of pictures is like: the ground on which `tessera train` decides.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace tessera {

/// The files of a source, by their headers.
struct FileSurvey {
  std::int64_t pictures = 0;          // files that are pictures by their name
  std::int64_t unreadable = 0;        // of those looked at, whose header cannot be read
  std::vector<int> sides;             // shorter sides of the pictures looked at, pixels, ascending
  int largest = 0;                    // the longest side seen, pixels
  std::vector<std::string> problems;  // one line each: unreadable files, broken metadata

  /// Share of the pictures looked at whose shorter side is at least `side`, 0 to 1.
  double share_of(int side) const;
};

/// Looks at the headers of up to two thousand pictures, evenly spread. Throws Error where the source is none.
FileSurvey survey_files(const std::filesystem::path& data);

/// The pictures themselves, decoded.
struct PictureSurvey {
  std::int64_t pictures = 0, train = 0, held_out = 0, skipped = 0;
  std::int64_t captioned = 0;  // pictures with a caption
  std::int64_t labelled = 0;   // pictures with a class
  std::int64_t classes = 0;
  std::int64_t duplicates = 0;  // pictures that are the same, pixel for pixel, as an earlier one
  double flat_share = 0;        // of neighbouring pixels of equal colour: high in drawings, low in photographs
  bool photographs = false;     // by flat_share
};

PictureSurvey survey_pictures(const Dataset& data);

}  // namespace tessera
