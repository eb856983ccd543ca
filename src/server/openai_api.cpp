/// The images part of OpenAI's interface, as far as these models have its notions. Form: the reference of the Images
/// API (developers' site) and what its official client sends.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

#include "server/base64.h"
#include "server/job_json.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostImages = 16;

/// The fields of a request, from JSON or from a form.
struct Fields {
  std::map<std::string, json> values;
  std::vector<FormPart> files;

  std::string text(const std::string& name, const std::string& otherwise = {}) const {
    const auto found = values.find(name);
    if (found == values.end() || found->second.is_null()) return otherwise;
    if (!found->second.is_string()) refuse(name, "expected a text");
    return found->second.get<std::string>();
  }
  std::int64_t whole(const std::string& name, std::int64_t otherwise, std::int64_t least, std::int64_t most) const {
    const auto found = values.find(name);
    if (found == values.end() || found->second.is_null()) return otherwise;
    const auto& value = found->second;
    std::int64_t number = least - 1;
    if (value.is_number_integer()) {
      number = value.get<std::int64_t>();
    } else if (value.is_string()) {  // forms hold texts
      const auto text = value.get<std::string>();
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
      if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) number = least - 1;
    }
    if (number < least || number > most) refuse(name, "expected a whole number from {} to {}", least, most);
    return number;
  }
};

/// "image", and "image[]" or "image[0]" where there may be several.
bool is_file_of(const FormPart& part, const std::string& name) {
  return part.name == name || (part.name.starts_with(name + "[") && part.name.ends_with(']'));
}

/// known: the fields that a request may have; files: the names of its files. Anything else is refused.
Fields fields_of(const Call& call, const std::vector<std::string>& known, const std::vector<std::string>& files = {}) {
  Fields fields;
  if (const auto boundary = form_boundary(call.request.header("content-type")); !boundary.empty()) {
    for (auto& part : parse_form(call.request.body, boundary)) {
      if (part.filename.empty() && part.content_type.empty()) {
        fields.values[part.name] = part.content;
      } else {
        fields.files.push_back(std::move(part));
      }
    }
  } else {
    const auto body = parse_json(call.request.body);
    if (!body.is_object()) throw HttpError(400, "body: expected a JSON object");
    for (const auto& [key, value] : body.items()) fields.values[key] = value;
  }
  for (const auto& part : fields.files) {
    const bool taken =
        std::any_of(files.begin(), files.end(), [&](const std::string& name) { return is_file_of(part, name); });
    if (!taken) throw HttpError(400, "a file that is not taken here", part.name.substr(0, 60));
  }
  for (const auto& [key, value] : fields.values) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw HttpError(400, "unknown field", key.substr(0, 60));
    }
  }
  return fields;
}

/// What every request of this interface has.
struct Common {
  std::string response_format;
  std::vector<std::string> warnings;
};

Common read_common(Service& service, const Fields& fields, JobRequest& request) {
  Common common;
  const auto model = service.model(fields.text("model"));
  request.model = model.name;
  request.count = fields.whole("n", 1, 1, std::min(kMostImages, service.limits().count));
  request.previews = false;
  // Seeds are ours: without one every call gives other pictures, as clients of this interface expect.
  std::random_device device;
  request.seed = static_cast<std::uint64_t>(fields.whole("seed", device(), 0, (std::int64_t{1} << 53) - 1));
  if (const auto steps = fields.whole("steps", 0, 0, service.limits().steps); steps > 0 && model.takes_steps())
    request.sampling.set("steps", steps);
  const auto prompt = fields.text("prompt");
  if (model.condition == "text") {
    if (!prompt.empty()) request.sampling.set("prompt", prompt);
  } else if (!prompt.empty()) {
    common.warnings.push_back(fmt::format("prompt: ignored, the model {} takes no text", model.name));
  }
  request.format = fields.text("output_format", "png");
  const auto formats = picture_formats();
  if (std::find(formats.begin(), formats.end(), request.format) == formats.end()) {
    refuse("output_format", "expected one of png, webp, jpeg");
  }
  common.response_format = fields.text("response_format", "b64_json");
  if (common.response_format != "b64_json" && common.response_format != "url") {
    refuse("response_format", "expected b64_json or url");
  }
  const auto stream = fields.values.find("stream");
  if (stream != fields.values.end() && stream->second != false && stream->second != "false" &&
      !stream->second.is_null()) {
    refuse("stream", "not offered here, expected false; /api/v1/jobs has events");
  }
  if (fields.text("background", "auto") == "transparent") {
    refuse("background", "these models make opaque pictures, expected auto or opaque");
  }
  for (const char* name : {"quality", "style", "user", "moderation", "output_compression", "input_fidelity"}) {
    const auto found = fields.values.find(name);
    if (found != fields.values.end() && !found->second.is_null()) {
      common.warnings.push_back(fmt::format("{}: ignored", name));
    }
  }
  return common;
}

HttpResponse run(Service& service, const Call& call, JobRequest request, const Common& common) {
  complete(request, service.limits());
  const auto notes = request.notes;
  const auto job = service.run_to_end(std::move(request), call);
  const auto status = job->status();
  auto data = json::array();
  for (std::size_t k = 0; k < status.results.size(); ++k) {
    if (common.response_format == "url") {
      const auto host = call.request.header("host");
      data.push_back({{"url", fmt::format("http://{}/api/v1/jobs/{}/images/{}", host, job->id, k)}});
    } else {
      data.push_back({{"b64_json", to_base64(result_bytes(*job, status, k, job->format))}});
    }
  }
  const auto& picture = *status.results.at(0);
  json answer = {{"created", static_cast<std::int64_t>(std::time(nullptr))},
                 {"data", std::move(data)},
                 {"output_format", job->format},
                 {"size", fmt::format("{}x{}", picture.width, picture.height)},
                 {"seed", job->seed}};
  if (!common.warnings.empty()) answer["warnings"] = common.warnings;
  if (!notes.empty()) answer["notes"] = notes;
  return json_response(answer);
}

/// "64x64" -> both sides; "auto" or nothing: 0.
std::pair<std::int64_t, std::int64_t> size_of(const std::string& text) {
  if (text.empty() || text == "auto") return {0, 0};
  std::int64_t width = 0, height = 0;
  const auto* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, width);
  const bool crossed = first.ec == std::errc() && first.ptr != end && *first.ptr == 'x';
  const auto second = crossed ? std::from_chars(first.ptr + 1, end, height) : first;
  if (!crossed || second.ec != std::errc() || second.ptr != end || width < 1 || height < 1 || width > kMaxEditSide ||
      height > kMaxEditSide) {
    refuse("size", "expected WIDTHxHEIGHT in pixels, or auto");
  }
  return {width, height};
}

HttpResponse generate(Service& service, const Call& call) {
  const auto fields =
      fields_of(call, {"model", "prompt", "n", "size", "response_format", "output_format", "seed", "steps", "stream",
                       "background", "quality", "style", "user", "moderation", "output_compression", "partial_images"});
  JobRequest request;
  request.verb = "generate";
  const auto common = read_common(service, fields, request);
  std::tie(request.width, request.height) = size_of(fields.text("size"));
  return run(service, call, std::move(request), common);
}

/// Where the picture is to change: transparent pixels of the mask (or, without one, of the picture); of a mask without
/// any the white ones.
PixelMask editable(const FormPart* mask, const Picture& picture, JobRequest& request, const ServiceLimits& limits) {
  if (!mask && !picture->has_transparency()) {
    refuse("mask", "missing, and the image has no transparent pixels: expected one of them");
  }
  const auto drawn = mask ? read_upload(mask->content, "mask", limits) : picture;
  try {
    return PixelMask::from_image(*drawn, mask ? "mask" : "image", picture->width, picture->height, request.notes,
                                 MaskReading::holes);
  } catch (const Error& error) {
    throw HttpError(400, error.what(), mask ? "mask" : "image");
  }
}

/// The one file of this name; that further ones are ignored is warned of.
const FormPart* first_file(const Fields& fields, const std::string& name, Common& common) {
  std::size_t number = 0;
  const FormPart* first = nullptr;
  for (const auto& part : fields.files) {
    if (!is_file_of(part, name)) continue;
    if (!first) {
      first = &part;
    } else {
      common.warnings.push_back(fmt::format("{}[{}] ({}): ignored, the first one is taken", name, number,
                                            json(part.filename.substr(0, 80)).dump()));
    }
    ++number;
  }
  return first;
}

void require_own_size(const Fields& fields, const Picture& picture) {
  const auto [width, height] = size_of(fields.text("size"));
  if (width != 0 && (width != picture->width || height != picture->height)) {
    refuse("size", "{}x{}, expected the picture's own {}x{}, or auto", width, height, picture->width, picture->height);
  }
}

HttpResponse edit(Service& service, const Call& call) {
  const auto fields =
      fields_of(call,
                {"model", "prompt", "n", "size", "response_format", "output_format", "seed", "steps", "stream",
                 "background", "quality", "user", "output_compression", "input_fidelity", "partial_images"},
                {"image", "mask"});
  JobRequest request;
  request.verb = "inpaint";
  auto common = read_common(service, fields, request);
  const auto* image = first_file(fields, "image", common);
  if (!image) refuse("image", "missing, expected a form with the file");
  request.image = read_upload(image->content, "image", service.limits());
  require_own_size(fields, request.image);
  request.mask = editable(first_file(fields, "mask", common), request.image, request, service.limits());
  return run(service, call, std::move(request), common);
}

HttpResponse vary(Service& service, const Call& call) {
  const auto fields =
      fields_of(call, {"model", "n", "size", "response_format", "output_format", "seed", "steps", "user"}, {"image"});
  JobRequest request;
  request.verb = "variations";
  auto common = read_common(service, fields, request);
  const auto* image = first_file(fields, "image", common);
  if (!image) refuse("image", "missing, expected a form with the file");
  request.image = read_upload(image->content, "image", service.limits());
  require_own_size(fields, request.image);
  return run(service, call, std::move(request), common);
}

json model_entry(const ModelInfo& info) {
  return {{"id", info.name}, {"object", "model"}, {"created", 0}, {"owned_by", "tessera"}};
}

HttpResponse models(Service& service, const Call&) {
  auto data = json::array();
  for (const auto& info : service.backend().models()) data.push_back(model_entry(info));
  return json_response({{"object", "list"}, {"data", std::move(data)}});
}

HttpResponse model(Service& service, const Call& call) {
  return json_response(model_entry(service.model(call.captures.at("model"))));
}

}  // namespace

void add_openai_routes(std::vector<Route>& routes) {
  routes.push_back({"POST", "/v1/images/generations", "OpenAI: pictures from nothing, or from a text",
                    "OpenAIGeneration", "OpenAIImages", 200, false, generate});
  routes.push_back({"POST", "/v1/images/edits",
                    "OpenAI: a part of a picture made anew; the mask's transparent pixels, else its white ones",
                    "OpenAIEdit", "OpenAIImages", 200, false, edit});
  routes.push_back({"POST", "/v1/images/variations", "OpenAI: pictures near a given one", "OpenAIVariation",
                    "OpenAIImages", 200, false, vary});
  routes.push_back({"GET", "/v1/models", "OpenAI: the models", "", "OpenAIModels", 200, false, models});
  routes.push_back({"GET", "/v1/models/{model}", "OpenAI: one model", "", "OpenAIModel", 200, false, model});
}

}  // namespace tessera::server
