/// tessera stitch: pieces of several pictures on one grid, the model fills the rest.
#include "canvas/stitch.h"

#include <algorithm>
#include <map>

#include "cli/edit_run.h"
#include "cli/region_flags.h"
#include "cli/verbs.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

struct StitchFlags {
  EditFlags edit;
  StitchOptions stitch;
  std::vector<std::string> pieces;
  std::string layout, onto;
  PictureFlags reading;
  int width = 0, height = 0;
};

Layout layout_of(const StitchFlags& flags) {
  Layout layout;
  if (!flags.layout.empty()) layout = read_layout(flags.layout);
  for (const auto& piece : flags.pieces) layout.pieces.push_back(parse_piece(piece));
  if (layout.pieces.empty()) throw UsageError("stitch: expected --piece FILE@x,y,w,h->X,Y or --layout FILE.json");
  if (!flags.onto.empty()) layout.onto = flags.onto;
  if (flags.width != 0) layout.width = flags.width;
  if (flags.height != 0) layout.height = flags.height;
  if (layout.onto && (layout.width != 0 || layout.height != 0)) {
    throw UsageError("stitch: the picture pasted on decides the size; expected no width and height beside it");
  }
  return layout;
}

void stitch(const CLI::App& verb, const StitchFlags& flags) {
  validate(flags.edit);
  const auto layout = layout_of(flags);
  constexpr std::size_t kMostPieces = 1024;
  require(layout.pieces.size() <= kMostPieces, "stitch: {} pieces, expected at most {}", layout.pieces.size(),
          kMostPieces);
  require(layout.width <= flags.reading.most_pixels() / std::max(layout.height, 1),
          "stitch: a canvas of {}x{} pixels, expected at most {} in all (--max-pixels)", layout.width, layout.height,
          flags.reading.most_pixels());
  std::vector<LoadedPiece> pieces;
  std::map<std::string, Picture> read;  // each once, however many pieces are cut from it
  for (const auto& piece : layout.pieces) {
    auto& picture = read[piece.file.string()];
    if (!picture) picture = flags.reading.read(piece.file.string());
    pieces.push_back({piece, picture});
  }
  const auto canvas = layout.onto ? flags.reading.read(layout.onto->string()) : Picture();
  auto pipeline = load_model(flags.edit.model);
  const auto native = static_cast<int>(pipeline.codec()->options().image_size);
  const int width = layout.width != 0 ? layout.width : native, height = layout.height != 0 ? layout.height : native;
  const auto plan = plan_stitch(pipeline.codec(), canvas, width, height, pieces, flags.stitch);
  run_edits(verb, flags.edit, pipeline, repeated({plan}, flags.edit.count));
}

}  // namespace

void add_stitch(CLI::App& app) {
  auto flags = std::make_shared<StitchFlags>();
  auto* verb = app.add_subcommand("stitch", "paste pieces of pictures on one canvas and let the model fill the rest");
  verb->add_option("--piece", flags->pieces,
                   "FILE@x,y,w,h->X,Y: that part of the picture at X,Y; later ones lie on top; repeatable");
  verb->add_option("--layout", flags->layout, "JSON: width, height, onto, pieces [{image, from, to}]");
  verb->add_option("--onto", flags->onto, "picture to paste on; without it the canvas is empty");
  verb->add_option("-W,--width", flags->width, "of the empty canvas, pixels [the model's own]");
  verb->add_option("-H,--height", flags->height, "of the empty canvas, pixels [the model's own]");
  verb->add_option("--seam", flags->stitch.seam, "pixels around the pieces that are regenerated on a picture")
      ->capture_default_str();
  add_reading_flags(*verb, flags->reading);
  add_region_flags(*verb, flags->stitch.region);
  add_edit_flags(*verb, flags->edit);
  verb->callback([verb, flags] {
    if (!flags->edit.server.url.empty()) return run_on_server(*verb, flags->edit);
    stitch(*verb, *flags);
  });
}

}  // namespace tessera::cli
