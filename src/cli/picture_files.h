/// Pictures on their way to the disk.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "image/image_io.h"

namespace tessera::cli {

struct PictureFile {
  std::filesystem::path path;  // FILE.png
  Image image;
  PngText text;
};

/// What a picture carries: how it was made, and by which program.
PngText picture_text(const nlohmann::json& record);

/// Writes each file atomically, side by side on the program's threads: compressing a picture of 256x256 takes one
/// thread as long as an evaluation of the network takes two. Throws the Error of one that could not be written.
void write_pictures(const std::vector<PictureFile>& files);

}  // namespace tessera::cli
