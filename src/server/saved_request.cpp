#include "server/saved_request.h"

#include <nlohmann/json.hpp>

#include "runtime/bounded_json.h"
#include "server/base64.h"
#include "server/request_fields.h"

namespace tessera::server {
namespace {

using nlohmann::json;

Image picture_of_mask(const PixelMask& mask) {
  Image picture(mask.width(), mask.height(), Colour{0, 0, 0});
  for (int y = 0; y < mask.height(); ++y) {
    for (int x = 0; x < mask.width(); ++x) {
      if (mask.at(x, y)) std::fill_n(picture.at(x, y), 3, std::uint8_t{255});
    }
  }
  return picture;
}

/// The value of one field; its pictures go to the files.
struct SavedField {
  const JobRequest& request;
  const RequestField& field;
  std::vector<FormPart>& files;
  const PngWriter& png;

  template <typename Value>
  json operator()(Value JobRequest::*member) const {
    return request.*member;
  }
  json operator()(RequestField::MaybeNumber member) const {
    return request.*member ? json(*(request.*member)) : json();
  }
  json operator()(const RequestField::Sampling& sampling) const {
    const auto& given = request.sampling.given();
    const auto found = given.find(sampling.option.name);
    return found == given.end() ? json() : json_of(found->second);
  }
  json operator()(Upload upload) const {
    if (upload == Upload::image && request.image) add(field.name, *request.image);
    if (upload == Upload::onto && request.onto) add(field.name, *request.onto);
    const bool drawn = request.mask && (request.drawn || request.boxes.empty());
    if (drawn && request.keep == (upload == Upload::keep_mask) &&
        (upload == Upload::mask || upload == Upload::keep_mask)) {
      add(field.name, picture_of_mask(*request.mask));
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
    for (std::size_t i = 0; i < request.pieces.size(); ++i) {
      const auto& piece = request.pieces[i];
      add(fmt::format("piece{}", i), *piece.image);
      list.push_back({{"from", {piece.from.x, piece.from.y, piece.from.width, piece.from.height}},
                      {"to", {piece.to_x, piece.to_y}}});
    }
    return list;
  }
  json operator()(RequestField::Tokens) const { return request.tokens ? to_json(*request.tokens) : json(); }

  void add(const std::string& name, const Image& picture) const {
    files.push_back({name, name + ".png", "image/png", png(picture)});
  }
};

}  // namespace

SavedRequest saved_request(const JobRequest& request, const PngWriter& png) {
  SavedRequest saved;
  json record = {{"verb", request.verb}, {"model", request.model}};
  for (const auto& field : request_fields()) {
    if (!field.taken_by(request.verb)) continue;
    auto value = std::visit(SavedField{request, field, saved.files, png}, field.target);
    // What was not given and could not be given as it stands is left out.
    const bool open = value.is_null() || value == "" || (value.is_number() && value.get<double>() < field.least);
    if (!open) record[field.name] = std::move(value);
  }
  saved.json = record.dump(-1, ' ', false, json::error_handler_t::replace);
  return saved;
}

JobRequest read_saved(const SavedRequest& saved, const std::vector<std::string>& notes, const ServiceLimits& limits) {
  auto request = parse_job_request(parse_json(saved.json, "request"), saved.files, limits);
  request.notes = notes;
  return request;
}

json with_pictures(const SavedRequest& saved) {
  auto whole = read_json(saved.json, "request");
  for (const auto& file : saved.files) {
    const auto uri = to_data_uri("image/png", file.content);
    if (file.name.starts_with("piece")) {
      whole["pieces"][static_cast<std::size_t>(std::stoul(file.name.substr(5)))]["image"] = uri;
    } else {
      whole[file.name] = uri;
    }
  }
  return whole;
}

}  // namespace tessera::server
