/// Pieces of several pictures pasted as tokens on an empty or an existing grid; the model fills the rest.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "canvas/edit_plan.h"

namespace tessera {

struct Piece {
  std::filesystem::path file;
  PixelBox from;           // of its picture
  int to_x = 0, to_y = 0;  // pixels of the canvas
};

/// In: "FILE@x,y,w,h->X,Y". Throws UsageError.
Piece parse_piece(std::string_view text);

struct Layout {
  int width = 0, height = 0;                  // pixels; 0: as `onto`
  std::optional<std::filesystem::path> onto;  // the picture that pieces are pasted on; none: an empty grid
  std::vector<Piece> pieces;                  // later ones lie over earlier ones
};

/// Reads {"width", "height", "onto", "pieces": [{"image", "from": [x, y, w, h], "to": [X, Y]}]}; files are relative to
/// the layout's folder. Throws Error naming the file and the field.
Layout read_layout(const std::filesystem::path& path);

/// A piece with its picture in memory.
struct LoadedPiece {
  Piece piece;
  Picture image;
};

struct StitchOptions {
  RegionOptions region{0, 0};  // feather 0: the decode as it is, so that pieces meet in the tokens
  int seam = 0;                // pixels around each piece that are regenerated (pieces themselves are kept); 0: none
};

/// Pieces are snapped to whole cells (a note says so) and encoded with their surroundings. canvas: the existing
/// picture, or an empty one of width x height pixels. Throws Error naming the piece that leaves its picture or the
/// canvas.
EditPlan plan_stitch(Codec codec, const Picture& canvas, int width, int height, const std::vector<LoadedPiece>& pieces,
                     const StitchOptions& options = {});

}  // namespace tessera
