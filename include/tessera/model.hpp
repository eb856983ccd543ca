/// A model: makes, edits and judges images.
#pragma once

#include <tessera/callback.hpp>
#include <tessera/images.hpp>
#include <tessera/options.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tessera {

/// How far a fill is. What it points to lives as long as the callback runs.
struct Step {
  std::int64_t step = 0, steps = 0;      // 1 .. steps
  std::int64_t evaluations = 0;          // of the network so far, times images
  std::int64_t count = 0;                // images that are filled together
  std::int64_t height = 0, width = 0;    // cells
  const std::int32_t* tokens = nullptr;  // [count, height, width]; kMask where a cell is open

  /// Those of image i in [0, count).
  GridView grid(std::int64_t i) const { return {height, width, tokens + i * height * width}; }
};

/// After each step. false stops the fill: the call throws Stopped. What it throws comes out of the call.
using OnStep = std::function<bool(const Step&)>;

/// A part of an image, and where its corner lies on the canvas, pixels.
struct Piece {
  ImageView image;
  Box from;
  int to_x = 0, to_y = 0;

  Piece(const ImageView& whole, int x, int y) : Piece(whole, Box{0, 0, whole.width(), whole.height()}, x, y) {}
  Piece(const ImageView& of, const Box& part, int x, int y) : image(of), from(part), to_x(x), to_y(y) {}
};

namespace detail {

inline Step step_of(const tessera_step& step) {
  return {step.step, step.steps, step.evaluations, step.count, step.height, step.width, step.tokens};
}
using StepCall = Callback<Step, tessera_step, &step_of>;

}  // namespace detail

/// All calls but the constructor may be made by several threads at once. They take the sampling options
/// (options_schema()) and "seed", "count" (images), "batch" (images filled together), "first_image", "stride" and
/// "random_windows"; edits also "feather", "sharp" and "threshold". Errors are thrown as Error.
class Model {
 public:
  /// A bundle's folder, or the name of an installed model. options: "device" ("cpu", "cuda", "cuda:1"), "dtype"
  /// ("auto", "float32", "bfloat16", "float16", "int8"), "loras" (a list of files).
  explicit Model(const std::string& path, const Options& options = {}) {
    tessera_model* model = nullptr;
    detail::check(tessera_model_load(detail::c_text(path, "path"), options.json().c_str(), &model));
    model_.reset(model);
  }

  /// JSON: "image_size", "factor" (pixels a cell), "codebook_size", "grid" ([h, w]), "condition", "classes", "dtype"
  /// ...
  std::string info() const { return tessera_model_info(handle()); }

  /// New images; "width" and "height" in pixels, the model's own where they are left out.
  Images generate(const Options& options = {}, const OnStep& on_step = {}) const {
    return filled(options, on_step, [&](const char* json, auto function, void* user, tessera_images** out) {
      return tessera_generate(handle(), json, function, user, out);
    });
  }

  /// The cells under the mask are made anew. mask: of the image's size; grey of 128 and more, or opaque pixels, are
  /// meant.
  Images inpaint(const ImageView& image, const ImageView& mask, const Options& options = {},
                 const OnStep& on_step = {}) const {
    const tessera_image_view of = image.c_view(), where = mask.c_view();
    return filled(options, on_step, [&](const char* json, auto function, void* user, tessera_images** out) {
      return tessera_inpaint(handle(), &of, &where, json, function, user, out);
    });
  }
  /// The cells under the mask stay, all else is made anew.
  Images keep(const ImageView& image, const ImageView& mask, Options options = {}, const OnStep& on_step = {}) const {
    return inpaint(image, mask, options.set("keep", true), on_step);
  }

  /// New surroundings: "left", "right", "top", "bottom" in pixels.
  Images outpaint(const ImageView& image, const Options& options, const OnStep& on_step = {}) const {
    const tessera_image_view of = image.c_view();
    return filled(options, on_step, [&](const char* json, auto function, void* user, tessera_images** out) {
      return tessera_outpaint(handle(), &of, json, function, user, out);
    });
  }

  /// Images near a given one. "strength": share of cells in (0, 1] that are made anew, "by": "random" or "likelihood".
  Images variations(const ImageView& image, const Options& options = {}, const OnStep& on_step = {}) const {
    return variations(image, nullptr, options, on_step);
  }
  /// mask: where they may differ.
  Images variations(const ImageView& image, const ImageView& mask, const Options& options = {},
                    const OnStep& on_step = {}) const {
    const tessera_image_view where = mask.c_view();
    return variations(image, &where, options, on_step);
  }

  /// Pieces on an empty canvas of "width" x "height" pixels, the rest is filled.
  Images stitch(const std::vector<Piece>& pieces, const Options& options, const OnStep& on_step = {}) const {
    return stitch(pieces, nullptr, options, on_step);
  }
  /// Pieces on the image `onto`; "seam": pixels around each piece that are made anew.
  Images stitch(const std::vector<Piece>& pieces, const ImageView& onto, const Options& options = {},
                const OnStep& on_step = {}) const {
    const tessera_image_view canvas = onto.c_view();
    return stitch(pieces, &canvas, options, on_step);
  }

  /// The kMask cells of a grid of any extent are filled.
  Images fill(const GridView& grid, const Options& options = {}, const OnStep& on_step = {}) const {
    return fill(grid, nullptr, options, on_step);
  }
  /// The decode is laid over `onto` where cells changed.
  Images fill(const GridView& grid, const ImageView& onto, const Options& options = {},
              const OnStep& on_step = {}) const {
    const tessera_image_view under = onto.c_view();
    return fill(grid, &under, options, on_step);
  }

  /// An image's tokens: [height / factor, width / factor], rounded up.
  Grid encode(const ImageView& image) const {
    const tessera_image_view of = image.c_view();
    tessera_images* made = nullptr;
    detail::check(tessera_encode(handle(), &of, &made));
    return Images(made).tokens(0);
  }

  /// Whole grids of one extent, as images.
  Images decode(const std::vector<GridView>& grids) const {
    std::vector<tessera_grid_view> views;
    views.reserve(grids.size());
    for (const auto& grid : grids) views.push_back(grid.c_view());
    tessera_images* made = nullptr;
    detail::check(tessera_decode(handle(), views.data(), views.size(), &made));
    return Images(made);
  }
  Image decode(const GridView& grid) const { return decode(std::vector<GridView>{grid})[0]; }

  /// How likely each cell's code is, given the others: nats, [height, width] row by row, 0 where a cell is kMask.
  /// options: "prompt", "class" ..., "spacing".
  std::vector<double> score(const GridView& grid, const Options& options = {}) const {
    std::vector<double> result(grid.size());
    const tessera_grid_view of = grid.c_view();
    detail::check(tessera_score(handle(), &of, options.json().c_str(), result.data()));
    return result;
  }

  /// For calls of the C interface; it stays this object's. Throws UsageError where the model was moved away.
  tessera_model* handle() const {
    if (!model_) throw UsageError("model: it was moved from");
    return model_.get();
  }

 private:
  struct Free {
    void operator()(tessera_model* model) const { tessera_model_free(model); }
  };

  template <typename Call>
  Images filled(const Options& options, const OnStep& on_step, const Call& call) const {
    detail::StepCall step_call(on_step);
    tessera_images* made = nullptr;
    step_call.check(call(options.json().c_str(), step_call.function(), &step_call, &made));
    return Images(made);
  }

  Images variations(const ImageView& image, const tessera_image_view* mask, const Options& options,
                    const OnStep& on_step) const {
    const tessera_image_view of = image.c_view();
    return filled(options, on_step, [&](const char* json, auto function, void* user, tessera_images** out) {
      return tessera_variations(handle(), &of, mask, json, function, user, out);
    });
  }
  Images stitch(const std::vector<Piece>& pieces, const tessera_image_view* onto, const Options& options,
                const OnStep& on_step) const {
    std::vector<tessera_piece> parts;
    parts.reserve(pieces.size());
    for (const auto& piece : pieces) {
      parts.push_back({piece.image.c_view(), piece.from.x, piece.from.y, piece.from.width, piece.from.height,
                       piece.to_x, piece.to_y});
    }
    return filled(options, on_step, [&](const char* json, auto function, void* user, tessera_images** out) {
      return tessera_stitch(handle(), parts.data(), parts.size(), onto, json, function, user, out);
    });
  }
  Images fill(const GridView& grid, const tessera_image_view* onto, const Options& options,
              const OnStep& on_step) const {
    const tessera_grid_view of = grid.c_view();
    return filled(options, on_step, [&](const char* json, auto function, void* user, tessera_images** out) {
      return tessera_fill(handle(), &of, onto, json, function, user, out);
    });
  }

  std::unique_ptr<tessera_model, Free> model_;
};

}  // namespace tessera
