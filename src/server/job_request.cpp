#include "server/job_request.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <semaphore>

#include "image/image_io.h"
#include "runtime/bounded_json.h"
#include "server/base64.h"
#include "server/http_message.h"
#include "server/request_fields.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr std::size_t kMostPieces = 64, kMostBoxes = 1024;
constexpr int kDeepest = 16;  // nesting of a body

std::int64_t whole(const json& value, const std::string& field, double least, double most) {
  // 3.0 is the same number in JSON.
  const bool is_whole =
      value.is_number_integer() || (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
  if (!is_whole || value.get<double>() < least || value.get<double>() > most) {
    refuse(field, "{}, expected a whole number from {} to {}", shown(value), static_cast<std::int64_t>(least),
           static_cast<std::int64_t>(most));
  }
  return value.is_number_float() ? static_cast<std::int64_t>(value.get<double>()) : value.get<std::int64_t>();
}

double number(const json& value, const std::string& field, double least, double most) {
  if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most)) {
    if (least == 1e-9) refuse(field, "{}, expected a number above 0 to {}", shown(value), most);
    refuse(field, "{}, expected a number from {} to {}", shown(value), least, most);
  }
  return value.get<double>();
}

std::vector<int> numbers(const json& value, std::size_t count, const std::string& field) {
  if (!value.is_array() || value.size() != count) refuse(field, "expected {} whole numbers", count);
  std::vector<int> result;
  for (const auto& item : value) result.push_back(static_cast<int>(whole(item, field, 0, (1 << 24) - 1)));
  return result;
}

PixelBox box(const json& value, const std::string& field) {
  const auto sides = numbers(value, 4, field);
  if (sides[2] < 1 || sides[3] < 1) refuse(field, "expected x, y, width, height with sides of at least 1 pixel");
  return {sides[0], sides[1], sides[2], sides[3]};
}

/// Reads the fields of one request into it.
class Reader {
 public:
  Reader(JobRequest& request, const std::vector<FormPart>& files, const ServiceLimits& limits)
      : request_(request), limits_(limits) {
    for (const auto& file : files) files_.emplace(file.name, &file);
  }

  void read(const RequestField& field, const json* value) {
    field_ = &field;
    value_ = value;
    std::visit(*this, field.target);
  }

  /// What regions were given, once the picture's size is known.
  void finish_regions() {
    const bool kept = keep_mask_ || !keep_boxes_.empty(), changed = mask_ || !boxes_.empty();
    if (kept && changed) {
      throw HttpError(400, "keep_mask and keep_boxes say what stays, mask and boxes what goes: expected one kind",
                      "keep_mask");
    }
    if (!kept && !changed) return;
    if (request_.tokens && !request_.image) {
      refuse("tokens", "without an image its null cells say what is regenerated, expected no region beside it");
    }
    if (!request_.image) {
      throw HttpError(400, "image: missing, expected the picture that the region is of", "image");
    }
    const std::string name = kept ? "keep_boxes" : "boxes";
    request_.keep = kept;
    request_.boxes = kept ? keep_boxes_ : boxes_;
    request_.mask = PixelMask(request_.image->width, request_.image->height);
    try {
      if (const auto& drawn = kept ? keep_mask_ : mask_) {
        request_.drawn = true;
        request_.mask->add(PixelMask::from_image(*drawn, kept ? "keep_mask" : "mask", request_.image->width,
                                                 request_.image->height, request_.notes));
      }
      for (const auto& area : request_.boxes) request_.mask->add(area, name);
    } catch (const Error& error) {
      throw HttpError(400, error.what(), kept ? (keep_mask_ ? "keep_mask" : name) : (mask_ ? "mask" : name));
    }
  }

  void operator()(RequestField::Whole member) {
    if (value_) request_.*member = whole(*value_, field_->name, field_->least, field_->most);
  }
  void operator()(RequestField::Count member) {
    if (value_) {
      request_.*member = static_cast<std::uint64_t>(whole(*value_, field_->name, field_->least, field_->most));
    }
  }
  void operator()(RequestField::Number member) {
    if (value_) request_.*member = number(*value_, field_->name, field_->least, field_->most);
  }
  void operator()(RequestField::MaybeNumber member) {
    if (value_) request_.*member = number(*value_, field_->name, field_->least, field_->most);
  }
  void operator()(const RequestField::Sampling& sampling) {
    if (!value_ || *value_ == "") return;  // an empty text: left open
    try {
      request_.sampling.set(field_->name, sampling.option.from_json(*value_));
    } catch (const UsageError& error) {
      throw HttpError(400, error.what(), field_->name);
    }
  }
  void operator()(RequestField::Flag member) {
    if (!value_) return;
    if (!value_->is_boolean()) refuse(field_->name, "{}, expected true or false", shown(*value_));
    request_.*member = value_->get<bool>();
  }
  void operator()(RequestField::Text member) {
    if (!value_) return;
    if (!value_->is_string()) refuse(field_->name, "{}, expected a text", shown(*value_));
    const auto& text = value_->get_ref<const std::string&>();
    const auto& choices = field_->choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
      refuse(field_->name, "{}, expected one of {}", shown(*value_), fmt::join(choices, ", "));
    }
    if (choices.empty() && text.size() > static_cast<std::size_t>(field_->most)) {
      refuse(field_->name, "{} bytes, expected at most {}", text.size(), field_->most);
    }
    request_.*member = text;
  }
  void operator()(Upload upload) {
    auto picture = upload_of(value_, field_->name);
    if (!picture) return;
    switch (upload) {
      case Upload::image:
        request_.image = picture;
        break;
      case Upload::mask:
        mask_ = picture;
        break;
      case Upload::keep_mask:
        keep_mask_ = picture;
        break;
      case Upload::onto:
        request_.onto = picture;
        break;
    }
  }
  void operator()(RequestField::Boxes boxes) {
    if (!value_) return;
    if (!value_->is_array() || value_->size() > kMostBoxes) {
      refuse(field_->name, "expected a list of at most {} boxes [x, y, w, h]", kMostBoxes);
    }
    auto& target = boxes.keep ? keep_boxes_ : boxes_;
    for (std::size_t i = 0; i < value_->size(); ++i) {
      target.push_back(box((*value_)[i], fmt::format("{}[{}]", field_->name, i)));
    }
  }
  void operator()(RequestField::Pieces) {
    if (!value_) return;
    if (!value_->is_array() || value_->empty() || value_->size() > kMostPieces) {
      refuse(field_->name, "expected a list of 1 to {} pieces", kMostPieces);
    }
    for (std::size_t i = 0; i < value_->size(); ++i) {
      const auto& entry = (*value_)[i];
      const auto name = fmt::format("pieces[{}]", i);
      if (!entry.is_object()) refuse(name, "{}, expected image, from and to", shown(entry));
      for (const auto& [key, ignored] : entry.items()) {
        if (key != "image" && key != "from" && key != "to") {
          refuse(name, "unknown field '{}', expected image, from, to", key);
        }
      }
      if (!entry.contains("from") || !entry.contains("to")) refuse(name, "expected image, from and to");
      PieceRequest piece;
      piece.image =
          upload_of(entry.contains("image") ? &entry["image"] : nullptr, name + ".image", fmt::format("piece{}", i));
      if (!piece.image) refuse(name + ".image", "missing, expected a picture");
      piece.from = box(entry["from"], name + ".from");
      const auto to = numbers(entry["to"], 2, name + ".to");
      piece.to_x = to[0];
      piece.to_y = to[1];
      request_.pieces.push_back(std::move(piece));
    }
  }
  void operator()(RequestField::Tokens) {
    if (value_) request_.tokens = parse_tokens(*value_, field_->name, limits_);
  }

 private:
  Picture upload_of(const json* value, const std::string& field, const std::string& part = {}) {
    const auto file = files_.find(part.empty() ? field : part);
    if (value && file != files_.end()) refuse(field, "given in the JSON and as a file, expected one of them");
    if (!value && file == files_.end()) return {};
    if (value && !value->is_string()) refuse(field, "{}, expected data:TYPE;base64,...", shown(*value));
    std::string bytes;
    try {
      if (value) bytes = from_data_uri(value->get_ref<const std::string&>(), field);
    } catch (const Error& error) {
      throw HttpError(400, error.what(), field);
    }
    auto picture = read_upload(value ? bytes : file->second->content, field, limits_);
    pixels_ += std::int64_t{picture->width} * picture->height;
    if (pixels_ > limits_.request_pixels) {
      refuse(field, "the pictures of the request hold more than {} pixels", limits_.request_pixels);
    }
    return picture;
  }

  JobRequest& request_;
  const ServiceLimits& limits_;
  std::map<std::string, const FormPart*> files_;
  const RequestField* field_ = nullptr;
  const json* value_ = nullptr;
  Picture mask_, keep_mask_;
  std::vector<PixelBox> boxes_, keep_boxes_;
  std::int64_t pixels_ = 0;
};

}  // namespace

std::uint64_t JobRequest::bytes() const {
  std::uint64_t sum = mask ? static_cast<std::uint64_t>(mask->width()) * static_cast<std::uint64_t>(mask->height()) : 0;
  const auto add = [&](const Picture& picture) { sum += picture ? picture->pixels.size() + picture->rgba.size() : 0; };
  add(image);
  add(onto);
  for (const auto& piece : pieces) add(piece.image);
  return sum + (tokens ? tokens->code.size() * sizeof(std::int32_t) : 0);
}

std::string JobRequest::join_key() const {
  // What an image shows is its own in a fill: other prompts join.
  auto shared = sampling;
  for (const auto& [name, value] : sampling.given()) {
    if (SamplingOptions::field(name).is_condition()) shared.erase(name);
  }
  return json({model, loras, shared.to_json(), stride, random_windows})
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<std::string> verb_names() {
  return {"fill", "generate", "inpaint", "outpaint", "reconstruct", "stitch", "variations"};
}

std::vector<std::string> picture_formats() {
  return {"png", "webp", "jpeg"};
}

std::string shown(const json& value) {
  constexpr std::size_t kMost = 60;  // bytes
  if (value.is_structured()) return value.type_name();
  // What is cut away later is not written out first: a text may fill a whole body.
  const auto* whole = value.get_ptr<const std::string*>();
  const auto text =
      (whole ? json(whole->substr(0, kMost)) : value).dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() <= kMost ? text : text.substr(0, kMost - 3) + "...";
}

json parse_json(const std::string& text, const std::string& what) {
  JsonLimits limits;
  limits.depth = kDeepest;
  try {
    return read_json(text, what, limits);
  } catch (const Error& error) {
    throw HttpError(400, error.what());
  }
}

Picture read_upload(const std::string& bytes, const std::string& field, const ServiceLimits& limits) {
  // Decoded pixels are the largest memory that a stranger can ask for: two pictures at a time.
  static std::counting_semaphore<2> places(2);
  places.acquire();
  struct Leave {
    ~Leave() { places.release(); }
  } leave;
  ReadOptions options;
  options.max_pixels = limits.upload_pixels;
  options.max_file_bytes = static_cast<std::uint64_t>(limits.body_mib) << 20;
  options.keep_alpha = true;
  try {
    return std::make_shared<Image>(
        read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, field, options));
  } catch (const Error& error) {
    throw HttpError(400, error.what(), field);
  }
}

TokenArray parse_tokens(const json& value, const std::string& field, const ServiceLimits& limits) {
  if (!value.is_array() || value.empty() || !value[0].is_array() || value[0].empty()) {
    refuse(field, "expected rows of codes [[..], ..], null where MASK");
  }
  TokenArray tokens;
  tokens.h = static_cast<std::int64_t>(value.size());
  tokens.w = static_cast<std::int64_t>(value[0].size());
  if (tokens.h > limits.pixels || tokens.w > limits.pixels / tokens.h) {
    refuse(field, "{}x{} cells, expected at most {} in all", tokens.w, tokens.h, limits.pixels);
  }
  tokens.code.reserve(static_cast<std::size_t>(tokens.h * tokens.w));
  for (std::size_t y = 0; y < value.size(); ++y) {
    if (!value[y].is_array() || value[y].size() != value[0].size()) {
      refuse(field, "row {} is not as long as the first, expected {} codes", y, tokens.w);
    }
    for (const auto& code : value[y]) {
      tokens.code.push_back(code.is_null() ? -1 : static_cast<std::int32_t>(whole(code, field, -1, (1 << 24) - 1)));
    }
  }
  return tokens;
}

json to_json(const TokenArray& tokens) {
  json rows = json::array();
  for (std::int64_t y = 0; y < tokens.h; ++y) {
    json row = json::array();
    for (std::int64_t x = 0; x < tokens.w; ++x) {
      const auto code = tokens.code[static_cast<std::size_t>(y * tokens.w + x)];
      row.push_back(code < 0 ? json() : json(code));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

JobRequest parse_job_request(const json& given, const std::vector<FormPart>& files, const ServiceLimits& limits) {
  if (!given.is_object()) throw HttpError(400, fmt::format("body: {}, expected a JSON object", given.type_name()));
  JobRequest request;
  const auto text = [&](const char* name) {
    const auto found = given.find(name);
    if (found == given.end() || found->is_null()) return std::string();
    if (!found->is_string() || found->get_ref<const std::string&>().size() > 256) {
      refuse(name, "{}, expected a name", shown(*found));
    }
    return found->get<std::string>();
  };
  request.verb = text("verb");
  request.model = text("model");
  const auto verbs = verb_names();
  if (std::find(verbs.begin(), verbs.end(), request.verb) == verbs.end()) {
    refuse("verb", "{}, expected one of {}", request.verb.empty() ? "missing" : shown(json(request.verb)),
           fmt::join(verbs, ", "));
  }
  std::vector<std::string> names = {"verb", "model"};
  for (const auto& field : request_fields()) {
    if (field.taken_by(request.verb)) names.push_back(field.name);
  }
  const auto known = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& [name, value] : given.items()) {
    if (known(name) || value.is_null()) continue;
    const auto& fields = request_fields();
    const bool elsewhere =
        std::any_of(fields.begin(), fields.end(), [&, &key = name](const auto& field) { return field.name == key; });
    if (elsewhere) refuse(name, "the verb {} does not take it, expected of {}", request.verb, fmt::join(names, ", "));
    throw HttpError(400, fmt::format("unknown field {}, expected of {}", shown(json(name)), fmt::join(names, ", ")),
                    name.substr(0, 60));
  }
  for (const auto& file : files) {
    const bool piece = request.verb == "stitch" && file.name.starts_with("piece");
    if (file.name != "request" && !piece && !known(file.name)) {
      throw HttpError(400, fmt::format("form: unknown part {}", shown(json(file.name.substr(0, 40)))),
                      file.name.substr(0, 40));
    }
  }
  Reader reader(request, files, limits);
  for (const auto& field : request_fields()) {
    if (!field.taken_by(request.verb)) continue;
    const auto found = given.find(field.name);
    reader.read(field, found == given.end() || found->is_null() ? nullptr : &*found);
  }
  reader.finish_regions();
  complete(request, limits);
  return request;
}

}  // namespace tessera::server
