/// The picture at each step of a fill, to watch the order in which it comes about.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "image/image.h"

namespace tessera::cli {

/// Numbered PNGs in a folder and animation.webp of them, which keeps at most 150, evenly chosen.
class Frames {
 public:
  /// Makes the folder.
  explicit Frames(std::filesystem::path folder);
  void add(const Image& image);
  /// Writes the animation; the last frame stays for a second.
  void finish() const;

 private:
  std::filesystem::path folder_;
  std::vector<Image> kept_;
  std::int64_t count_ = 0, every_ = 1;  // frames so far; of which every so many is kept
  Image last_;
};

}  // namespace tessera::cli
