/// Pictures on their way in and out: files, and standard input and output as "-".
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "image/image_io.h"

namespace tessera::cli {

inline constexpr const char* kOutputHelp =
    "a folder, or FILE.png (.jpg, .webp; -: a PNG on standard output) for one picture or a contact sheet";

struct PictureFile {
  std::filesystem::path path;  // FILE.png
  Image image;
  PngText text;
};

/// What a picture carries: how it was made, and by which program.
PngText picture_text(const nlohmann::json& record);
/// The same of several pictures laid on one, which data sets leave out.
PngText sheet_text(const nlohmann::json& record);

/// Writes each file atomically, side by side on the program's threads: compressing a picture of 256x256 takes one
/// thread as long as an evaluation of the network takes two. Throws the Error of one that could not be written.
void write_pictures(const std::vector<PictureFile>& files);

/// The format of one picture that an --output names: "png", "webp" or "jpeg" by its ending, "png" for "-" (standard
/// output); empty: a folder. Throws UsageError where the ending is that of a format that is not written, and for "-"
/// on a terminal.
std::string picture_format(const std::string& output);
inline bool is_standard_output(const std::string& output) {
  return output == "-";
}
/// One picture to where picture_format says; only a PNG carries the text. Throws Error where it cannot be written.
void write_picture(const std::string& output, const Image& image, const PngText& text);

/// What standard input holds; it can be read once. Throws Error beyond so many bytes.
std::string read_standard_input(std::uint64_t most_bytes);
/// One picture's bytes as they are, to a file or to standard output.
void write_bytes(const std::string& output, const std::string& bytes);

/// The picture of a file; "-": of standard input, which can be read once. Errors as read_image's.
Image read_picture(const std::string& path, const ReadOptions& options);

/// What becomes of the pictures that an earlier run left in the folder of a new one.
struct EarlierResults {
  std::string choice = "aside";  // aside: into FOLDER.1, FOLDER.2 ..; replace: deleted; keep
  static constexpr const char* kHelp =
      "an earlier run's pictures in the folder: aside (they go to FOLDER.1 ..), replace, keep";

  /// Throws UsageError.
  void validate() const;
  /// Makes the folder, and takes out of it what an earlier run left: numbered pictures and sheets that carry a record
  /// of this program, no other file.
  void make_folder(const std::filesystem::path& folder) const;
};

}  // namespace tessera::cli
