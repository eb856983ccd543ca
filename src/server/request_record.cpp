/// What a job was asked, for its record and as a command line; and what its verb must have.
#include <nlohmann/json.hpp>

#include "server/http_message.h"
#include "server/request_fields.h"

namespace tessera::server {
namespace {

using nlohmann::json;

json size_of(const Picture& picture) {
  if (!picture) return {};
  return {{"width", picture->width}, {"height", picture->height}};
}

struct RecordOf {
  const JobRequest& request;

  template <typename Value>
  json operator()(Value JobRequest::*member) const {
    return request.*member;
  }
  json operator()(const RequestField::Sampling& sampling) const {
    const auto& given = request.sampling.given();
    const auto found = given.find(sampling.option.name);
    return found == given.end() ? json() : json_of(found->second);
  }
  json operator()(RequestField::MaybeNumber member) const {
    return request.*member ? json(*(request.*member)) : json();
  }
  json operator()(Upload upload) const {
    const bool region = request.mask.has_value();
    switch (upload) {
      case Upload::image:
        return size_of(request.image);
      case Upload::onto:
        return size_of(request.onto);
      case Upload::mask:
        return region && !request.keep ? json({{"pixels", request.mask->count()}}) : json();
      case Upload::keep_mask:
        return region && request.keep ? json({{"pixels", request.mask->count()}}) : json();
    }
    return {};
  }
  json operator()(RequestField::Boxes boxes) const {
    if (request.boxes.empty() || boxes.keep != request.keep) return {};
    json list = json::array();
    for (const auto& box : request.boxes) list.push_back({box.x, box.y, box.width, box.height});
    return list;
  }
  json operator()(RequestField::Pieces) const {
    json list = json::array();
    for (const auto& piece : request.pieces) {
      list.push_back({{"image", size_of(piece.image)},
                      {"from", {piece.from.x, piece.from.y, piece.from.width, piece.from.height}},
                      {"to", {piece.to_x, piece.to_y}}});
    }
    return list;
  }
  json operator()(RequestField::Tokens) const {
    return request.tokens ? json({{"h", request.tokens->h}, {"w", request.tokens->w}}) : json();
  }
};

std::string record_of(const JobRequest& request) {
  json record = {{"verb", request.verb}, {"model", request.model}};
  for (const auto& field : request_fields()) {
    if (!field.taken_by(request.verb)) continue;
    auto value = std::visit(RecordOf{request}, field.target);
    // What was not given and could not be given as it stands is left out, so that a record can be sent again.
    const bool open = value.is_null() || value == "" || (value.is_number() && value.get<double>() < field.least);
    if (!open) record[field.name] = std::move(value);
  }
  return record.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                          "0123456789_@%+=:,./-") == std::string::npos;
  if (plain) return word;
  std::string result = "'";
  for (const char c : word) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

/// The flags of one field; nothing where it has its default.
struct FlagsOf {
  const JobRequest& request;
  const RequestField& field;

  template <typename Value>
  std::string operator()(Value JobRequest::*member) const {
    static const JobRequest defaults;
    if (request.*member == defaults.*member || field.flag.empty()) return {};
    if constexpr (std::is_same_v<Value, bool>) {
      return " " + field.flag;
    } else if constexpr (std::is_same_v<Value, std::optional<double>>) {
      return fmt::format(" {} {}", field.flag, *(request.*member));
    } else {
      return fmt::format(" {} {}", field.flag, quoted(fmt::format("{}", request.*member)));
    }
  }
  std::string operator()(Upload upload) const {
    const bool drawn = request.mask && (request.drawn || request.boxes.empty());
    const bool given = upload == Upload::image  ? request.image != nullptr
                       : upload == Upload::onto ? request.onto != nullptr
                                                : drawn && request.keep == (upload == Upload::keep_mask);
    return given ? fmt::format(" {} {}.png", field.flag, field.name) : "";
  }
  std::string operator()(RequestField::Boxes boxes) const {
    std::string flags;
    if (boxes.keep != request.keep) return flags;
    for (const auto& box : request.boxes) flags += fmt::format(" {} {}", field.flag, to_string(box));
    return flags;
  }
  std::string operator()(RequestField::Pieces) const {
    std::string flags;
    for (std::size_t i = 0; i < request.pieces.size(); ++i) {
      const auto& piece = request.pieces[i];
      flags += fmt::format(" {} 'piece{}.png@{}->{},{}'", field.flag, i, to_string(piece.from), piece.to_x, piece.to_y);
    }
    return flags;
  }
  std::string operator()(RequestField::Tokens) const { return {}; }
  std::string operator()(const RequestField::Sampling& sampling) const {
    const auto& given = request.sampling.given();
    const auto found = given.find(sampling.option.name);
    if (found == given.end() || found->second == sampling.option.fallback) return {};
    return fmt::format(" {} {}", field.flag, quoted(text_of(found->second)));
  }
};

std::string command_of(const JobRequest& request) {
  if (request.verb == "fill" || (request.verb == "inpaint" && !request.mask)) return {};
  auto line = fmt::format("tessera {} -m {}", request.verb, quoted(request.model));
  for (const auto& field : request_fields()) {
    if (field.taken_by(request.verb)) line += std::visit(FlagsOf{request, field}, field.target);
  }
  if (request.by == "likelihood") line += " --least-likely";
  if (request.verb == "reconstruct") line += " --output reconstructed.png";
  return line;
}

void require_image(const JobRequest& request) {
  if (!request.image) refuse("image", "missing, expected a picture for {}", request.verb);
}

void require_pixels(const std::string& field, std::int64_t width, std::int64_t height, const ServiceLimits& limits) {
  if (width > limits.pixels / height) {
    refuse(field, "a picture of {}x{} pixels, expected at most {} in all", width, height, limits.pixels);
  }
}

}  // namespace

void complete(JobRequest& request, const ServiceLimits& limits) {
  const auto& verb = request.verb;
  if (request.count > limits.count) refuse("count", "{}, expected at most {}", request.count, limits.count);
  const auto steps = request.sampling.get<std::int64_t>("steps");
  if (steps > limits.steps) refuse("steps", "{}, expected at most {}", steps, limits.steps);
  if (verb == "inpaint" && !request.tokens) {
    require_image(request);
    if (!request.mask) {
      throw HttpError(400, "inpaint: expected mask, boxes, keep_mask or keep_boxes", "mask");
    }
  }
  if (verb == "inpaint" && request.keep && request.mask->inverted().count() == 0) {
    refuse("keep_mask", "all of the picture is kept, nothing to regenerate");
  }
  if (request.sharp && request.feather >= 0) refuse("sharp", "has no feather, expected no feather beside it");
  if (verb == "variations" || verb == "reconstruct" || verb == "outpaint") require_image(request);
  if (verb == "outpaint") {
    if (request.left + request.right + request.top + request.bottom == 0) {
      refuse("left", "outpaint: expected at least one of left, right, top, bottom above 0 pixels");
    }
    require_pixels("left", request.image->width + request.left + request.right,
                   request.image->height + request.top + request.bottom, limits);
  }
  if (verb == "stitch") {
    if (request.pieces.empty()) refuse("pieces", "missing, expected at least one piece");
    if (request.onto && (request.width != 0 || request.height != 0)) {
      refuse("onto", "it decides the size, expected no width and height beside it");
    }
    for (std::size_t i = 0; i < request.pieces.size(); ++i) {
      const auto& piece = request.pieces[i];
      if (piece.from.right() > piece.image->width || piece.from.bottom() > piece.image->height) {
        refuse(fmt::format("pieces[{}].from", i), "{} leaves its picture of {}x{} pixels", to_string(piece.from),
               piece.image->width, piece.image->height);
      }
    }
  }
  if (verb == "fill" && !request.tokens) refuse("tokens", "missing, expected [h][w] codes, null where MASK");
  if (request.width > 0 || request.height > 0) {
    require_pixels("width", std::max<std::int64_t>(1, request.width), std::max<std::int64_t>(1, request.height),
                   limits);
  }
  request.record = record_of(request);
  request.command = command_of(request);
}

}  // namespace tessera::server
