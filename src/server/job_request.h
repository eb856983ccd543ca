/// What a client asks for, typed and checked. Source: docs/http-api.md.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "canvas/edit_plan.h"
#include "sampling/sampling_options.h"
#include "server/limits.h"
#include "server/multipart.h"

namespace tessera::server {

/// A grid of codes as JSON carries it; -1 is MASK.
struct TokenArray {
  std::int64_t h = 0, w = 0;       // cells
  std::vector<std::int32_t> code;  // h * w, row by row
  bool operator==(const TokenArray&) const = default;
};

/// A part of a picture and its place on a canvas.
struct PieceRequest {
  Picture image;
  PixelBox from;           // of its picture
  int to_x = 0, to_y = 0;  // pixels of the canvas
};

struct JobRequest {
  std::string verb;   // one of verb_names()
  std::string model;  // empty: the first one served
  std::string loras;  // server/served_loras.h; empty: none
  std::uint64_t seed = 0;
  std::int64_t count = 1;  // pictures
  SamplingOptions sampling;
  std::int64_t width = 0, height = 0;  // pixels; 0: the model's own
  std::int64_t stride = 0;             // cells; 0: half a window
  bool random_windows = false;
  Picture image;
  std::optional<PixelMask> mask;  // set where the picture is regenerated (keep: kept); none: no region
  std::vector<PixelBox> boxes;    // of the mask, for the record
  bool drawn = false;             // a picture is part of the mask beside boxes
  bool keep = false;              // the region stays and all else is regenerated
  std::int64_t feather = -1;
  bool sharp = false;  // the edit ends at the mask's own pixels
  double threshold = 0;
  std::int64_t left = 0, right = 0, top = 0, bottom = 0;  // pixels to add
  std::vector<PieceRequest> pieces;
  Picture onto;  // none: an empty canvas
  std::int64_t seam = 0;
  std::optional<double> strength;  // none: 0.5, or 1 in a region
  std::string by = "random";       // random or likelihood
  std::optional<TokenArray> tokens;
  std::string format = "png";  // png, webp or jpeg
  bool previews = true;

  std::vector<std::string> notes;  // what was scaled or ignored, one line each
  /// The options given and the defaults that matter, pictures and tokens left out, as JSON text.
  std::string record;
  /// The same as a `tessera` command line; empty where the command line has no such verb.
  std::string command;

  /// Bytes of the pictures held.
  std::uint64_t bytes() const;
  /// Jobs of equal keys ask for the same kind of fill: they can be filled together where their grids agree.
  std::string join_key() const;
};

/// fill, generate, inpaint, outpaint, reconstruct, stitch, variations
std::vector<std::string> verb_names();
std::vector<std::string> picture_formats();

/// In: a JSON object, and the files of a form that stand for its pictures ("image", "mask", "keep_mask", "onto",
/// "piece0" ..). Throws HttpError (400) naming the field, what was found and what was expected.
JobRequest parse_job_request(const nlohmann::json& json, const std::vector<FormPart>& files,
                             const ServiceLimits& limits);

/// A value for a message: at most 60 bytes, whatever it holds.
std::string shown(const nlohmann::json& value);

/// A JSON text; depth and duplicates bounded. Throws HttpError (400) where it is malformed; `what` begins the message.
nlohmann::json parse_json(const std::string& text, const std::string& what = "body");

/// The picture in these bytes within the limits; decodes few at a time. Throws HttpError (400) naming the field.
Picture read_upload(const std::string& bytes, const std::string& field, const ServiceLimits& limits);

/// [[..], ..] with null or -1 for MASK. Throws HttpError (400) naming the field.
TokenArray parse_tokens(const nlohmann::json& json, const std::string& field, const ServiceLimits& limits);
nlohmann::json to_json(const TokenArray& tokens);

/// Checks that need no picture: what each verb must have. Fills in `record` and `command`.
void complete(JobRequest& request, const ServiceLimits& limits);

}  // namespace tessera::server
