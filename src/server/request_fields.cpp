#include "server/request_fields.h"

#include <nlohmann/json.hpp>

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr double kMostSeed = 9007199254740991;  // 2^53 - 1: what every JSON reader holds exactly
constexpr double kMostSide = 65535;
constexpr double kMostLoraText = 1000;  // bytes

constexpr const char* kFillingVerbs = "giosvf";

std::vector<RequestField> own_fields() {
  using R = JobRequest;
  const std::string all = "giosvrf", filled = kFillingVerbs, region = "iv", feathered = "iosvf";
  return {
      {"seed", "image k of a seed is always the same", filled, "--seed", &R::seed, 0, kMostSeed, {}},
      {"count", "pictures", filled, "--count", &R::count, 1, 1e6, {}},
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
      {"loras",
       "small updates of the model that the service has, NAME or NAME:WEIGHT, with commas between them; empty: none",
       filled,
       "",
       &R::loras,
       0,
       kMostLoraText,
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
              {"properties",
               {{"image", described((*this)(Upload::image), "the picture that the piece is cut from")},
                {"from", described(numbers(4), "x, y, width, height in that picture, pixels")},
                {"to", described(numbers(2), "x, y on the canvas, pixels")}}}}}};
  }
  json operator()(const RequestField::Sampling& sampling) const { return sampling.option.schema(); }
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
  static json described(json schema, const char* description) {
    schema["description"] = description;
    return schema;
  }
  static json numbers(int count) {
    return {{"type", "array"}, {"items", {{"type", "integer"}}}, {"minItems", count}, {"maxItems", count}};
  }
};

}  // namespace

std::vector<RequestField> request_fields() {
  auto fields = own_fields();
  std::vector<RequestField> sampling;
  for (auto& option : SamplingOptions::fields()) {
    RequestField field{option.name,  option.help, kFillingVerbs, option.flag(), RequestField::Sampling{option},
                       option.least, option.most, option.choices};
    sampling.push_back(std::move(field));
  }
  // After seed and count.
  fields.insert(fields.begin() + 2, std::make_move_iterator(sampling.begin()), std::make_move_iterator(sampling.end()));
  return fields;
}

json schema_of(const RequestField& field) {
  auto schema = std::visit(SchemaOf{field}, field.target);
  if (!schema.contains("description")) schema["description"] = field.help;
  return schema;
}

}  // namespace tessera::server
