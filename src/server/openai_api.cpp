/// The images part of OpenAI's interface, as far as these models have its notions. Form: the reference of the Images
/// API (developers' site) and what its official client sends.
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

#include "image/image_io.h"
#include "server/base64.h"
#include "server/job_json.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostImages = 16, kMostPartialImages = 3;
constexpr std::chrono::seconds kSilence{15};  // of a stream, until it says that it is there

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
  /// true or false, as a text of a form too.
  bool flag(const std::string& name) const {
    const auto found = values.find(name);
    if (found == values.end() || found->second.is_null()) return false;
    const auto& value = found->second;
    if (value == true || value == "true" || value == "True") return true;
    if (value == false || value == "false" || value == "False" || value == "") return false;
    refuse(name, "{}, expected true or false", server::shown(value));
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
        fields.values[part.name] = std::move(part.content);
      } else {
        fields.files.push_back(std::move(part));
      }
    }
  } else {
    auto body = parse_json(call.request.body);
    if (!body.is_object()) throw HttpError(400, "body: expected a JSON object");
    for (auto& [key, value] : body.items()) fields.values[key] = std::move(value);
  }
  for (const auto& part : fields.files) {
    const bool taken =
        std::any_of(files.begin(), files.end(), [&](const std::string& name) { return is_file_of(part, name); });
    if (!taken)
      refuse(part.name.substr(0, 60), "a file that is not taken here, expected of {}", fmt::join(files, ", "));
  }
  for (const auto& [key, value] : fields.values) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      refuse(key.substr(0, 60), "unknown field, expected of {}", fmt::join(known, ", "));
    }
  }
  return fields;
}

/// What every request of this interface has.
struct Common {
  std::string response_format;
  std::vector<std::string> warnings;
  bool strict_size = false;                            // the canvas is of the size asked for
  std::int64_t deliver_width = 0, deliver_height = 0;  // pixels that the answer is scaled to; 0: as it is
  bool stream = false;
  int partial_images = 0;
};

/// Our names of what this interface calls otherwise.
const FieldNames& field_names() {
  static const FieldNames names = {{"count", "n"}, {"width", "size"}, {"height", "size"}};
  return names;
}

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
  common.strict_size = fields.flag("strict_size");
  common.stream = fields.flag("stream");
  common.partial_images = static_cast<int>(fields.whole("partial_images", 0, 0, kMostPartialImages));
  if (common.stream && common.response_format == "url") {
    refuse("response_format", "url, expected b64_json: a stream carries the pictures");
  }
  if (!common.stream && common.partial_images > 0) {
    common.warnings.emplace_back("partial_images: ignored, expected stream: true beside it");
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

/// A picture of the answer in base64, scaled where it must be.
std::string picture_text(const Job& job, const JobStatus& status, std::size_t k, const Common& common) {
  return to_base64(scaled_bytes(job, status, k, job.format, common.deliver_width, common.deliver_height));
}

std::string size_text(std::int64_t width, std::int64_t height) {
  return fmt::format("{}x{}", width, height);
}

/// A job as the events of this interface: partial images, then each picture.
class PictureStream : public EventSource {
 public:
  /// kind: "image_generation" or "image_edit".
  PictureStream(std::shared_ptr<Job> job, JobQueue& queue, Common common, const char* kind)
      : job_(std::move(job)), queue_(queue), common_(std::move(common)), kind_(kind) {}
  ~PictureStream() override {
    if (!ended_) queue_.cancel(*job_);  // nobody waits for it any more
  }

  std::optional<std::string> next(std::chrono::milliseconds wait) override {
    if (ended_) return {};
    if (!job_->look(seen_, Clock::now() + wait)) {
      if (Clock::now() - spoken_ < kSilence) return std::string();
      spoken_ = Clock::now();
      return ": waiting\n\n";
    }
    spoken_ = Clock::now();
    std::string text;
    for (const auto& partial : job_->partials(partials_)) {
      ++partials_;
      for (std::size_t n = 0; n < partial.images.size(); ++n) {
        auto data = common_data(partial.images[n].width, partial.images[n].height);
        data["b64_json"] = partial_text(partial.images[n]);
        data["partial_image_index"] = partial.number;
        data["image_index"] = partial.first + static_cast<std::int64_t>(n);
        text += event("partial_image", std::move(data));
      }
    }
    const auto& status = seen_.status;
    if (!is_final(status.state)) return text;
    ended_ = true;
    if (status.state != JobState::done) {
      const auto message = status.state == JobState::cancelled ? std::string("the job was cancelled") : status.error;
      const json error = {{"message", message}, {"type", "server_error"}, {"param", json()}, {"code", json()}};
      return text + written("error", {{"type", "error"}, {"error", error}});
    }
    for (std::size_t k = 0; k < status.results.size(); ++k) {
      auto data = common_data(status.results[k]->width, status.results[k]->height);
      data["b64_json"] = picture_text(*job_, status, k, common_);
      data["image_index"] = k;
      data["seed"] = job_->seed;
      // What is made here are codes; those of a prompt are not counted.
      const auto codes = status.h * status.w;
      data["usage"] = {{"input_tokens", 0},
                       {"input_tokens_details", {{"text_tokens", 0}, {"image_tokens", 0}}},
                       {"output_tokens", codes},
                       {"total_tokens", codes}};
      if (!common_.warnings.empty()) data["warnings"] = common_.warnings;
      if (!status.notes.empty()) data["notes"] = status.notes;
      text += event("completed", std::move(data));
    }
    return text;
  }

 private:
  json common_data(int width, int height) const {
    const bool scaled = common_.deliver_width > 0;
    return {{"background", "opaque"},
            {"created_at", static_cast<std::int64_t>(std::time(nullptr))},
            {"output_format", job_->format},
            {"quality", "auto"},
            {"size", scaled ? size_text(common_.deliver_width, common_.deliver_height) : size_text(width, height)}};
  }
  std::string partial_text(const Image& image) const {
    const auto factor = std::max<std::int64_t>(1, seen_.status.factor);
    const auto scaled =
        common_.deliver_width > 0 ? scaled_to(image, factor, common_.deliver_width, common_.deliver_height) : image;
    return to_base64(encode_image(scaled, job_->format));
  }
  std::string event(const char* what, json data) const {
    const auto type = fmt::format("{}.{}", kind_, what);
    data["type"] = type;
    return written(type, data);
  }
  static std::string written(const std::string& type, const json& data) {
    return fmt::format("event: {}\ndata: {}\n\n", type, data.dump(-1, ' ', false, json::error_handler_t::replace));
  }

  const std::shared_ptr<Job> job_;
  JobQueue& queue_;
  const Common common_;
  const char* const kind_;
  Job::View seen_;
  std::size_t partials_ = 0;
  bool ended_ = false;
  Clock::time_point spoken_ = Clock::now();
};

/// kind: of the events, where they are streamed.
HttpResponse run(Service& service, const Call& call, JobRequest request, const Common& common, const char* kind) {
  try {
    complete(request, service.limits());
    if (common.stream) {
      HttpResponse response;
      response.content_type = "text/event-stream";
      response.headers["X-Accel-Buffering"] = "no";
      response.events = std::make_unique<PictureStream>(
          service.submit(std::move(request), call.client, common.partial_images), service.queue(), common, kind);
      return response;
    }
    const auto job = service.run_to_end(std::move(request), call);
    const auto status = job->status();
    const bool scaled = common.deliver_width > 0;
    auto data = json::array();
    for (std::size_t k = 0; k < status.results.size(); ++k) {
      if (common.response_format == "url") {
        auto url = fmt::format("http://{}/api/v1/jobs/{}/images/{}", call.request.header("host"), job->id, k);
        if (scaled) url += fmt::format("?width={}&height={}", common.deliver_width, common.deliver_height);
        data.push_back({{"url", std::move(url)}});
      } else {
        data.push_back({{"b64_json", picture_text(*job, status, k, common)}});
      }
    }
    const auto& picture = *status.results.at(0);
    json answer = {{"created", static_cast<std::int64_t>(std::time(nullptr))},
                   {"data", std::move(data)},
                   {"output_format", job->format},
                   {"size", scaled ? size_text(common.deliver_width, common.deliver_height)
                                   : size_text(picture.width, picture.height)},
                   {"seed", job->seed}};
    if (!common.warnings.empty()) answer["warnings"] = common.warnings;
    if (!status.notes.empty()) answer["notes"] = status.notes;
    return json_response(answer);
  } catch (const HttpError& error) {
    throw renamed(error, field_names());
  }
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

/// What the answer is scaled to, where the work is done at another size. Throws HttpError (400) where it is too large.
void deliver(Common& common, JobRequest& request, const ServiceLimits& limits,
             std::pair<std::int64_t, std::int64_t> size, std::pair<std::int64_t, std::int64_t> made, const char* why) {
  if (made == size) return;
  require_deliverable(request, limits, size.first, size.second, "size");
  std::tie(common.deliver_width, common.deliver_height) = size;
  request.notes.push_back(fmt::format("size: made at {}x{}, {}, and scaled to {}x{}; strict_size: true does without",
                                      made.first, made.second, why, size.first, size.second));
}

HttpResponse generate(Service& service, const Call& call) {
  const auto fields = fields_of(
      call, {"model", "prompt", "n", "size", "strict_size", "response_format", "output_format", "seed", "steps",
             "stream", "partial_images", "background", "quality", "style", "user", "moderation", "output_compression"});
  JobRequest request;
  request.verb = "generate";
  auto common = read_common(service, fields, request);
  if (const auto size = size_of(fields.text("size")); size.first > 0) {
    const auto made = common.strict_size ? size : well_made_size(service.model(request.model), size.first, size.second);
    std::tie(request.width, request.height) = made;
    deliver(common, request, service.limits(), size, made, "a size that the model makes well");
  }
  return run(service, call, std::move(request), common, "image_generation");
}

/// Where the picture is to change: transparent pixels of the mask (or, without one, of the picture); of a mask without
/// any the white ones.
PixelMask editable(const FormPart* mask, const Picture& picture, JobRequest& request, const ServiceLimits& limits) {
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

/// The size of the answer is the picture's own or the one asked for. everywhere: the whole picture is made anew, which
/// is done at a size that the model makes well.
void take_size(Service& service, const Fields& fields, Common& common, JobRequest& request, bool everywhere) {
  const std::pair<std::int64_t, std::int64_t> own{request.image->width, request.image->height};
  auto size = size_of(fields.text("size"));
  if (size.first == 0) size = own;
  if (common.strict_size) {
    if (size != own) {
      refuse("size", "{}x{}, expected the picture's own {}x{}, auto, or no strict_size", size.first, size.second,
             own.first, own.second);
    }
    return;
  }
  if (!everywhere) {
    deliver(common, request, service.limits(), size, own, "the picture's own size");
    return;
  }
  const auto made = well_made_size(service.model(request.model), own.first, own.second);
  deliver(common, request, service.limits(), size, made, "a size that the model makes well");
  if (made != own) {
    request.image = std::make_shared<Image>(
        resize_exact(*request.image, static_cast<int>(made.first), static_cast<int>(made.second)));
  }
}

HttpResponse edit(Service& service, const Call& call) {
  const auto fields = fields_of(call,
                                {"model", "prompt", "n", "size", "strict_size", "response_format", "output_format",
                                 "seed", "steps", "stream", "partial_images", "background", "quality", "style", "user",
                                 "moderation", "output_compression", "input_fidelity"},
                                {"image", "mask"});
  JobRequest request;
  auto common = read_common(service, fields, request);
  const auto* image = first_file(fields, "image", common);
  if (!image) refuse("image", "missing, expected a form with the file");
  request.image = read_upload(image->content, "image", service.limits());
  const auto* mask = first_file(fields, "mask", common);
  const bool everywhere = !mask && !request.image->has_transparency();
  take_size(service, fields, common, request, everywhere);
  if (everywhere) {
    // What clients send whose models need no mask: a picture near the given one.
    request.verb = "variations";
    request.notes.emplace_back(
        "mask: none, and the image has no transparent pixels: half of the cells of the whole picture are made anew");
  } else {
    request.verb = "inpaint";
    request.mask = editable(mask, request.image, request, service.limits());
  }
  return run(service, call, std::move(request), common, "image_edit");
}

HttpResponse vary(Service& service, const Call& call) {
  const auto fields = fields_of(
      call, {"model", "n", "size", "strict_size", "response_format", "output_format", "seed", "steps", "user"},
      {"image"});
  JobRequest request;
  request.verb = "variations";
  auto common = read_common(service, fields, request);
  const auto* image = first_file(fields, "image", common);
  if (!image) refuse("image", "missing, expected a form with the file");
  request.image = read_upload(image->content, "image", service.limits());
  take_size(service, fields, common, request, true);
  return run(service, call, std::move(request), common, "image_edit");
}

json model_entry(const ModelInfo& info) {
  return {{"id", info.name}, {"object", "model"}, {"created", 0}, {"owned_by", "tessera"}};
}

HttpResponse models(Service& service, const Call&) {
  auto data = json::array();
  for (const auto& info : service.models()) data.push_back(model_entry(info));
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
