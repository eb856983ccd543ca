#include "server/request_fields.h"

#include <nlohmann/json.hpp>

#include "sampling/fill.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr double kMostSeed = 9007199254740991;  // 2^53 - 1: what every JSON reader holds exactly
constexpr double kMostSide = 65535;

std::vector<RequestField> make_fields() {
  using R = JobRequest;
  const std::string all = "giosvrf", filled = "giosvf", region = "iv", feathered = "iosvf";
  return {
      {"seed", "image k of a seed is always the same", filled, "--seed", &R::seed, 0, kMostSeed, {}},
      {"count", "pictures", filled, "--count", &R::count, 1, 1e6, {}},
      {"steps", "denoiser steps; 0: as many as the process has", filled, "--steps", &R::steps, 0, 1 << 20, {}},
      {"temperature",
       "logits are divided by it; 0: the most probable token [1; 0.8 on a canvas larger than the model's]",
       filled,
       "--temperature",
       &R::temperature,
       0,
       1e6,
       {}},
      {"sampler", "[by the model]", filled, "--sampler", &R::sampler, 0, 0, sampler_names()},
      {"top_k", "keep the k likeliest tokens; 0 disables", filled, "--top-k", &R::top_k, 0, 1 << 20, {}},
      {"top_p", "keep the likeliest tokens of this mass; 1 disables", filled, "--top-p", &R::top_p, 1e-9, 1, {}},
      {"typical_p",
       "keep the tokens of most typical surprise, of this mass; 1 disables",
       filled,
       "--typical-p",
       &R::typical_p,
       1e-9,
       1,
       {}},
      {"choice_temperature",
       "noise on confidences (sampler confidence); 0 disables",
       filled,
       "--choice-temperature",
       &R::choice_temperature,
       0,
       1e6,
       {}},
      {"purity",
       "sharpens sure cells by this (sampler purity); 0 disables",
       filled,
       "--purity",
       &R::purity,
       0,
       1000,
       {}},
      {"context_guidance",
       "above 1: leans towards what the cells known so far speak for; 1: none [by the model]",
       filled,
       "--context-guidance",
       &R::context_guidance,
       0,
       100,
       {}},
      {"prompt", "what the pictures show (models with text)", filled, "--prompt", &R::prompt, 0, 4096, {}},
      {"negative_prompt",
       "what they are steered away from (models with text)",
       filled,
       "--negative-prompt",
       &R::negative_prompt,
       0,
       4096,
       {}},
      {"class", "class label (models with classes); -1: none", filled, "--class", &R::label, -1, 1 << 24, {}},
      {"cfg_scale",
       "guidance towards the prompt or class; 1: none [by the model]",
       filled,
       "--cfg-scale",
       &R::cfg_scale,
       0,
       1000,
       {}},
      {"width", "pixels [the model's own]", "gs", "--width", &R::width, 1, kMostSide, {}},
      {"height", "pixels [the model's own]", "gs", "--height", &R::height, 1, kMostSide, {}},
      {"stride",
       "cells between windows of a larger canvas; 0: half a window",
       filled,
       "--stride",
       &R::stride,
       0,
       4096,
       {}},
      {"random_windows",
       "shift the windows by a random part of the stride at each step",
       filled,
       "--random-windows",
       &R::random_windows,
       0,
       0,
       {}},
      {"image", "the picture; fill: what the result is laid over", "iovrf", "--image", Upload::image, 0, 0, {}},
      {"mask",
       "picture whose white pixels (where it has transparency: its opaque ones) are regenerated",
       region,
       "--mask",
       Upload::mask,
       0,
       0,
       {}},
      {"boxes", "[[x, y, w, h], ..] in pixels to regenerate", region, "--box", RequestField::Boxes{false}, 0, 0, {}},
      {"keep_mask",
       "picture whose white (or opaque) pixels are kept, all else is regenerated",
       region,
       "--keep-mask",
       Upload::keep_mask,
       0,
       0,
       {}},
      {"keep_boxes", "[[x, y, w, h], ..] in pixels to keep", region, "--keep-box", RequestField::Boxes{true}, 0, 0, {}},
      {"feather",
       "pixels over which the edit fades into the picture; 0: the decode as it is; -1: one cell",
       feathered,
       "--feather",
       &R::feather,
       -1,
       4096,
       {}},
      {"sharp",
       "the edit shows on the region's own pixels alone, without a feather",
       region,
       "--sharp",
       &R::sharp,
       0,
       0,
       {}},
      {"threshold",
       "share of a cell that the mask must hold, 0 to 1; 0: one pixel is enough",
       region,
       "--mask-threshold",
       &R::threshold,
       0,
       1,
       {}},
      {"left", "pixels to add on the left", "o", "--left", &R::left, 0, kMostSide, {}},
      {"right", "pixels to add on the right", "o", "--right", &R::right, 0, kMostSide, {}},
      {"top", "pixels to add at the top", "o", "--top", &R::top, 0, kMostSide, {}},
      {"bottom", "pixels to add at the bottom", "o", "--bottom", &R::bottom, 0, kMostSide, {}},
      {"pieces",
       "[{image, from: [x, y, w, h], to: [X, Y]}, ..]; later ones lie on top",
       "s",
       "--piece",
       RequestField::Pieces{},
       0,
       0,
       {}},
      {"onto", "picture to paste on; without it the canvas is empty", "s", "--onto", Upload::onto, 0, 0, {}},
      {"seam", "pixels around the pieces that are regenerated on a picture", "s", "--seam", &R::seam, 0, 4096, {}},
      {"strength",
       "share of the cells that are made anew, above 0 to 1 [0.5; 1 in a region]",
       "v",
       "--strength",
       &R::strength,
       1e-9,
       1,
       {}},
      {"by",
       "which cells: random ones, or those the model finds least likely",
       "v",
       "",
       &R::by,
       0,
       0,
       {"random", "likelihood"}},
      {"tokens",
       "[h][w] codes, null or -1 where MASK: what is to be filled; beside an image and a region, the image's own codes",
       "ivf",
       "",
       RequestField::Tokens{},
       0,
       0,
       {}},
      {"format", "of the result's bytes", all, "", &R::format, 0, 0, picture_formats()},
      {"previews", "send preview events", all, "", &R::previews, 0, 0, {}},
  };
}

struct SchemaOf {
  const RequestField& field;

  json operator()(RequestField::Whole) const { return range("integer"); }
  json operator()(RequestField::Count) const { return range("integer"); }
  json operator()(RequestField::Number) const { return range("number"); }
  json operator()(RequestField::MaybeNumber) const { return range("number"); }
  json operator()(RequestField::Flag) const { return {{"type", "boolean"}}; }
  json operator()(RequestField::Text) const {
    if (!field.choices.empty()) return {{"type", "string"}, {"enum", field.choices}};
    return {{"type", "string"}, {"maxLength", static_cast<std::int64_t>(field.most)}};
  }
  json operator()(Upload) const { return {{"type", "string"}, {"contentEncoding", "base64"}}; }
  json operator()(RequestField::Boxes) const { return {{"type", "array"}, {"items", numbers(4)}}; }
  json operator()(RequestField::Pieces) const {
    return {{"type", "array"},
            {"items",
             {{"type", "object"},
              {"required", {"image", "from", "to"}},
              {"properties", {{"image", (*this)(Upload::image)}, {"from", numbers(4)}, {"to", numbers(2)}}}}}};
  }
  json operator()(RequestField::Tokens) const {
    return {{"type", "array"}, {"items", {{"type", "array"}, {"items", {{"type", {"integer", "null"}}}}}}};
  }

  json range(const char* type) const {
    json schema = {{"type", type}};
    if (type == std::string("integer")) {
      schema["minimum"] = static_cast<std::int64_t>(field.least);
      schema["maximum"] = static_cast<std::int64_t>(field.most);
    } else {
      schema["minimum"] = field.least;
      schema["maximum"] = field.most;
    }
    return schema;
  }
  static json numbers(int count) {
    return {{"type", "array"}, {"items", {{"type", "integer"}}}, {"minItems", count}, {"maxItems", count}};
  }
};

}  // namespace

const std::vector<RequestField>& request_fields() {
  static const auto fields = make_fields();
  return fields;
}

json schema_of(const RequestField& field) {
  auto schema = std::visit(SchemaOf{field}, field.target);
  schema["description"] = field.help;
  return schema;
}

}  // namespace tessera::server
