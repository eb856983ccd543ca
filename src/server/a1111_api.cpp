/// AUTOMATIC1111's interface as far as these models have its notions: the routes and fields that its clients use.
#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "image/image_io.h"
#include "runtime/bounded_json.h"
#include "runtime/version.h"
#include "server/base64.h"
#include "server/job_json.h"
#include "server/served_loras.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr const char* kOwnClient = "/sdapi";  // marks the jobs of this interface among a client's

/// Fields that say nothing to these models, and are passed over: they choose looks of other networks, how that program
/// stores pictures, or are meant for a program in between, which sends them on (url, auth).
const std::vector<std::string>& ignored_fields() {
  static const std::vector<std::string> names = {"alwayson_scripts",
                                                 "auth",
                                                 "clip_skip",
                                                 "comments",
                                                 "disable_extra_networks",
                                                 "distilled_cfg_scale",
                                                 "do_not_save_grid",
                                                 "do_not_save_samples",
                                                 "eta",
                                                 "firstpass_image",
                                                 "firstphase_height",
                                                 "firstphase_width",
                                                 "force_task_id",
                                                 "hr_additional_modules",
                                                 "hr_cfg",
                                                 "hr_checkpoint_name",
                                                 "hr_distilled_cfg",
                                                 "hr_negative_prompt",
                                                 "hr_prompt",
                                                 "hr_resize_x",
                                                 "hr_resize_y",
                                                 "hr_sampler_name",
                                                 "hr_scale",
                                                 "hr_scheduler",
                                                 "hr_second_pass_steps",
                                                 "hr_upscaler",
                                                 "image_cfg_scale",
                                                 "include_init_images",
                                                 "infotext",
                                                 "initial_noise_multiplier",
                                                 "inpaint_full_res",
                                                 "inpaint_full_res_padding",
                                                 "inpainting_fill",
                                                 "mask_round",
                                                 "nmask",
                                                 "override_settings_restore_afterwards",
                                                 "refiner_checkpoint",
                                                 "refiner_switch_at",
                                                 "restore_faces",
                                                 "s_churn",
                                                 "s_min_uncond",
                                                 "s_noise",
                                                 "s_tmax",
                                                 "s_tmin",
                                                 "save_images",
                                                 "scheduler",
                                                 "script_args",
                                                 "seed_enable_extras",
                                                 "seed_resize_from_h",
                                                 "seed_resize_from_w",
                                                 "send_images",
                                                 "session_hash",
                                                 "styles",
                                                 "subseed",
                                                 "subseed_strength",
                                                 "tiling",
                                                 "url"};
  return names;
}

const std::vector<std::string>& common_fields() {
  static const std::vector<std::string> names = {
      "prompt",     "negative_prompt", "seed",         "steps",         "cfg_scale",         "width",      "height",
      "batch_size", "n_iter",          "sampler_name", "sampler_index", "override_settings", "strict_size"};
  return names;
}

struct Body {
  json value;

  bool has(const char* name) const { return value.contains(name) && !value[name].is_null(); }
  bool has_picture(const char* name) const { return has(name) && value[name] != ""; }
  double number(const char* name, double otherwise, double least, double most) const {
    if (!has(name)) return otherwise;
    // Values of a page's inputs are texts, and that program takes them.
    double number = std::numeric_limits<double>::quiet_NaN();
    if (value[name].is_number()) number = value[name].get<double>();
    if (value[name].is_string()) {
      const auto& text = value[name].get_ref<const std::string&>();
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
      if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
        number = std::numeric_limits<double>::quiet_NaN();
      }
    }
    if (!(number >= least && number <= most))
      refuse(name, "{}, expected a number from {} to {}", shown(name), least, most);
    return number;
  }
  std::string shown(const char* name) const { return server::shown(value[name]); }
  std::int64_t whole(const char* name, std::int64_t otherwise, std::int64_t least, std::int64_t most) const {
    const auto found =
        number(name, static_cast<double>(otherwise), static_cast<double>(least), static_cast<double>(most));
    if (found != static_cast<double>(static_cast<std::int64_t>(found))) {
      refuse(name, "{}, expected a whole number", shown(name));
    }
    return static_cast<std::int64_t>(found);
  }
  /// true, false, 1 or 0, as texts too: several clients send forms.
  bool flag(const char* name) const {
    if (!has(name)) return false;
    for (const auto& yes : {json(true), json(1), json("1"), json("true"), json("True")}) {
      if (value[name] == yes) return true;
    }
    for (const auto& no : {json(false), json(0), json("0"), json("false"), json("False"), json("")}) {
      if (value[name] == no) return false;
    }
    refuse(name, "{}, expected 0 or 1", shown(name));
  }
  std::string text(const char* name) const {
    if (!has(name)) return {};
    if (!value[name].is_string()) refuse(name, "{}, expected a text", shown(name));
    return value[name].get<std::string>();
  }
};

Body a1111_body_of(const Call& call, const std::vector<std::string>& own) {
  Body body{parse_json(call.request.body)};
  if (!body.value.is_object()) throw HttpError(422, "body: expected a JSON object");
  const auto& ignored = ignored_fields();
  for (const auto& [key, value] : body.value.items()) {
    const auto in = [&, &name = key](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    if (!in(own) && !in(common_fields()) && !in(ignored)) {
      // These do have a meaning there, and none here.
      if (key == "enable_hr" || key == "script_name") {
        if (value.is_null() || value == false || value == "" || value == "false" || value == "None" || value == 0)
          continue;
        refuse(key, "not offered here");
      }
      throw HttpError(422, key.substr(0, 60) + ": unknown field; /api/v1/openapi.json lists those that are taken",
                      key.substr(0, 60));
    }
  }
  return body;
}

/// Samplers of continuous diffusion by the beginnings of their names there; none of them exists for tokens.
bool is_continuous_sampler(const std::string& name) {
  for (const char* known : {"DPM", "DDIM",  "DDPM", "Euler", "Heun",  "LMS",    "PLMS",    "UniPC", "LCM", "Restart",
                            "TCD", "IPNDM", "DEIS", "k_dpm", "k_lms", "k_heun", "k_euler", "ddim",  "dpm", "uni_pc"}) {
    if (name.starts_with(known)) return true;
  }
  return false;
}

/// Our samplers by their own names; "Euler a" is the ancestral one. Another of that program's is the model's own, which
/// is said.
std::string sampler_of(const Body& body, const ModelInfo& model, std::vector<std::string>& notes) {
  auto name = body.text("sampler_name");
  if (name.empty()) name = body.text("sampler_index");
  if (name.empty() || name == "Automatic") return {};
  if (name == "Euler a" || name == "Euler" || name == "k_euler_a") {
    return model.samplers.empty() ? std::string() : model.samplers.front();
  }
  if (!is_continuous_sampler(name)) return name;
  notes.push_back(fmt::format("sampler_name: {} is of continuous diffusion, the model's own is taken{}",
                              json(name.substr(0, 60)).dump(),
                              model.samplers.empty() ? "" : " (" + model.samplers.front() + ")"));
  return {};
}

/// Our names of what this interface calls otherwise.
const FieldNames& a1111_field_names() {
  static const FieldNames names = {{"count", "batch_size"},
                                   {"sampler", "sampler_name"},
                                   {"strength", "denoising_strength"},
                                   {"image", "init_images"},
                                   {"feather", "mask_blur"},
                                   {"sharp", "mask_blur"},
                                   {"model", "override_settings.sd_model_checkpoint"}};
  return names;
}

JobRequest read_common(Service& service, const Body& body) {
  JobRequest request;
  const auto settings = body.has("override_settings") ? body.value["override_settings"] : json::object();
  if (!settings.is_object()) refuse("override_settings", "expected an object");
  const auto chosen = settings.value("sd_model_checkpoint", json());
  const auto name = chosen.is_string() ? chosen.get<std::string>() : std::string();
  const auto model = [&] {
    try {
      return service.model(name);
    } catch (const HttpError& error) {
      throw renamed(error, a1111_field_names());
    }
  }();
  request.model = model.name;
  auto prompt = body.text("prompt");
  request.loras = take_loras(prompt);
  for (const auto& lora : parse_served_loras(request.loras, "prompt")) {
    if (std::find(model.loras.begin(), model.loras.end(), lora.name) == model.loras.end())
      refuse("prompt", "lora '{}' is not served, expected {}", lora.name,
             model.loras.empty() ? "none" : fmt::format("one of {}", fmt::join(model.loras, ", ")));
  }
  if (model.condition == "text") {
    if (!prompt.empty()) request.sampling.set("prompt", prompt);
    if (const auto words = body.text("negative_prompt"); !words.empty()) request.sampling.set("negative_prompt", words);
    if (body.has("cfg_scale")) request.sampling.set("cfg_scale", body.number("cfg_scale", 0, 0, 1000));
  } else if (!prompt.empty()) {
    request.notes.push_back(fmt::format("prompt: ignored, the model {} takes no text", model.name));
  }
  const auto seed = body.whole("seed", -1, -1, (std::int64_t{1} << 53) - 1);
  std::random_device device;
  request.seed = seed < 0 ? device() : static_cast<std::uint64_t>(seed);
  // Clients of this interface always send steps.
  if (const auto steps = body.whole("steps", 0, 0, service.limits().steps); steps > 0 && model.takes_steps())
    request.sampling.set("steps", steps);
  if (const auto sampler = sampler_of(body, model, request.notes); !sampler.empty()) {
    if (std::find(model.samplers.begin(), model.samplers.end(), sampler) == model.samplers.end()) {
      refuse("sampler_name", "'{}', expected one of {}, or a sampler of that program", sampler,
             fmt::join(model.samplers, ", "));
    }
    request.sampling.set("sampler", sampler);
  }
  request.count = body.whole("batch_size", 1, 1, 1024) * body.whole("n_iter", 1, 1, 1024);
  return request;
}

/// Pixels of the answer, where the work is done at another size; 0: that of the work.
struct Delivery {
  std::int64_t width = 0, height = 0;
};

/// The work is done at a size that the model makes well, and scaled. Out: that size, which is the one asked for with
/// strict_size.
std::pair<std::int64_t, std::int64_t> well_made(Service& service, const Body& body, JobRequest& request,
                                                std::int64_t width, std::int64_t height, Delivery& delivery) {
  const auto made = well_made_size(service.model(request.model), width, height);
  if (body.flag("strict_size") || made == std::pair{width, height}) return {width, height};
  require_deliverable(request, service.limits(), width, height, "width");
  delivery = {width, height};
  request.notes.push_back(
      fmt::format("width, height: made at {}x{}, a size that the model makes well, and scaled to {}x{}; strict_size: "
                  "true does without",
                  made.first, made.second, width, height));
  return made;
}

/// The line of text that this interface's clients show and store with a picture.
std::string infotext(const Body& body, const Job& job, const json& record, std::int64_t width, std::int64_t height) {
  auto text = body.text("prompt");
  if (const auto negative = body.text("negative_prompt"); !negative.empty()) text += "\nNegative prompt: " + negative;
  text += '\n';
  for (const auto& [label, name] :
       {std::pair{"Steps", "steps"}, std::pair{"Sampler", "sampler"}, std::pair{"CFG scale", "cfg_scale"}}) {
    if (!record.contains(name)) continue;
    const auto& value = record[name];
    text += fmt::format("{}: {}, ", label, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text + fmt::format("Seed: {}, Size: {}x{}, Model: {}, Version: Tessera {}", job.seed, width, height, job.model,
                            version());
}

HttpResponse run(Service& service, const Call& call, JobRequest request, const Body& body, Delivery delivery) {
  Call own{call.request, call.captures, call.client + kOwnClient};
  const auto job = [&] {
    try {
      complete(request, service.limits());
      return service.run_to_end(std::move(request), own);
    } catch (const HttpError& error) {
      throw renamed(error, a1111_field_names());
    }
  }();
  const auto status = job->status();
  const auto& picture = *status.results.at(0);
  if (delivery.width == 0) delivery = {picture.width, picture.height};
  auto record = read_json(job->record, "record");
  if (!status.effective.empty()) record.update(read_json(status.effective, "record"));
  auto images = json::array(), seeds = json::array(), texts = json::array(), prompts = json::array(),
       negatives = json::array();
  for (std::size_t k = 0; k < status.results.size(); ++k) {
    images.push_back(to_base64(scaled_bytes(*job, status, k, "png", delivery.width, delivery.height)));
    seeds.push_back(job->seed);
    texts.push_back(infotext(body, *job, record, delivery.width, delivery.height));
    prompts.push_back(body.text("prompt"));
    negatives.push_back(body.text("negative_prompt"));
  }
  auto parameters = body.value;
  for (const char* name : {"init_images", "mask", "latent_mask"}) parameters.erase(name);
  // Image k of a seed is picture k, not that of seed + k; the record says so.
  const json info = {{"prompt", body.text("prompt")},
                     {"all_prompts", std::move(prompts)},
                     {"negative_prompt", body.text("negative_prompt")},
                     {"all_negative_prompts", std::move(negatives)},
                     {"seed", job->seed},
                     {"all_seeds", std::move(seeds)},
                     {"width", delivery.width},
                     {"height", delivery.height},
                     {"steps", record.value("steps", json())},
                     {"cfg_scale", record.value("cfg_scale", json())},
                     {"sampler_name", record.value("sampler", json())},
                     {"batch_size", job->count},
                     {"index_of_first_image", 0},
                     {"infotexts", std::move(texts)},
                     {"styles", json::array()},
                     {"sd_model_name", job->model},
                     {"job", job->id},
                     {"notes", status.notes},
                     {"tessera", read_json(job->record, "record")}};
  return json_response({{"images", std::move(images)}, {"parameters", std::move(parameters)}, {"info", info.dump()}});
}

HttpResponse txt2img(Service& service, const Call& call) {
  const auto body = a1111_body_of(call, {"denoising_strength", "init_images", "mask", "latent_mask", "mask_blur",
                                         "inpainting_mask_invert", "resize_mode"});
  auto request = read_common(service, body);
  request.verb = "generate";
  // Some clients send one body to both routes.
  for (const char* name : {"init_images", "mask", "latent_mask"}) {
    if (body.has(name) && body.value[name] != "" && !body.value[name].empty()) {
      request.notes.push_back(fmt::format("{}: ignored by txt2img, expected at img2img", name));
    }
  }
  Delivery delivery;
  if (body.has("width") || body.has("height")) {
    const auto model = service.model(request.model);
    const auto width = body.whole("width", model.width, 1, kMaxEditSide);
    const auto height = body.whole("height", model.height, 1, kMaxEditSide);
    std::tie(request.width, request.height) = well_made(service, body, request, width, height, delivery);
  }
  return run(service, call, std::move(request), body, delivery);
}

Picture picture_of(const json& value, const std::string& field, const ServiceLimits& limits) {
  if (!value.is_string()) refuse(field, "expected base64 of a picture");
  std::string bytes;
  try {
    bytes = from_data_uri(value.get_ref<const std::string&>(), field);
  } catch (const Error& error) {
    throw HttpError(400, error.what(), field);
  }
  return read_upload(bytes, field, limits);
}

/// The blur's radius in pixels; 0: a sharp edge.
void read_blur(const Body& body, JobRequest& request) {
  std::optional<std::int64_t> blur;
  for (const char* name : {"mask_blur", "mask_blur_x", "mask_blur_y"}) {
    if (body.has(name)) blur = std::max(blur.value_or(0), body.whole(name, 4, 0, 4096));
  }
  if (!blur) return;
  if (*blur == 0) {
    request.sharp = true;
  } else {
    request.feather = *blur;
  }
}

HttpResponse img2img(Service& service, const Call& call) {
  const auto body =
      a1111_body_of(call, {"init_images", "mask", "latent_mask", "denoising_strength", "inpainting_mask_invert",
                           "mask_blur", "mask_blur_x", "mask_blur_y", "resize_mode"});
  auto request = read_common(service, body);
  const auto images = body.value.value("init_images", json());
  if (!images.is_array() || images.size() != 1) refuse("init_images", "expected a list of one picture");
  request.image = picture_of(images[0], "init_images", service.limits());
  auto width = static_cast<int>(body.whole("width", request.image->width, 1, kMaxEditSide));
  auto height = static_cast<int>(body.whole("height", request.image->height, 1, kMaxEditSide));
  if (width != request.image->width || height != request.image->height) {
    if (body.whole("resize_mode", 0, 0, 3) != 0) {
      refuse("resize_mode", "expected 0 (just resize), or width and height as the picture's");
    }
    if (std::int64_t{width} * height > service.limits().pixels) {
      refuse("width", "{}x{} pixels, expected at most {} in all", width, height, service.limits().pixels);
    }
  }
  Delivery delivery;
  // Within a mask the picture keeps its size: what is not masked stays as it is.
  if (!body.has_picture("mask") && !body.has_picture("latent_mask")) {
    const auto made = well_made(service, body, request, width, height, delivery);
    width = static_cast<int>(made.first);
    height = static_cast<int>(made.second);
  }
  if (width != request.image->width || height != request.image->height) {
    request.image = std::make_shared<Image>(resize_exact(*request.image, width, height));
  }
  // How much may change is a share of the cells here; without a mask of all, with one of its own.
  request.verb = "variations";
  request.strength = body.number("denoising_strength", 0.75, 0, 1);
  if (*request.strength == 0) refuse("denoising_strength", "0 changes nothing, expected above 0 to 1");
  const bool invert = body.flag("inpainting_mask_invert");
  const char* mask = body.has_picture("mask") ? "mask" : "latent_mask";
  if (body.has_picture("mask") && body.has_picture("latent_mask"))
    refuse("latent_mask", "a second mask, expected one of them");
  if (body.has_picture(mask)) {
    const auto drawn = picture_of(body.value[mask], mask, service.limits());
    try {
      request.mask = PixelMask::from_image(*drawn, mask, width, height, request.notes);
    } catch (const Error& error) {
      throw HttpError(400, error.what(), mask);
    }
    if (invert) {
      request.mask = request.mask->inverted();
      if (request.mask->count() == 0) refuse("inpainting_mask_invert", "the mask covers the picture, nothing is left");
      request.notes.push_back(fmt::format("inpainting_mask_invert: the rest is meant, {}", request.mask->share_text()));
    }
    read_blur(body, request);
  }
  return run(service, call, std::move(request), body, delivery);
}

/// The newest job of this interface that this client has running or waiting.
std::shared_ptr<Job> present_job(Service& service, const Call& call) {
  const auto jobs = service.queue().jobs();
  std::shared_ptr<Job> found;
  for (const auto& job : jobs) {
    if (job->client != call.client + kOwnClient || is_final(job->state())) continue;
    if (!found || job->state() == JobState::running) found = job;
  }
  return found;
}

HttpResponse progress(Service& service, const Call& call) {
  const auto job = present_job(service, call);
  const auto status = job ? job->status() : JobStatus{};
  json current;
  const auto skip = call.request.query.find("skip_current_image");
  const bool without =
      skip != call.request.query.end() && skip->second != "false" && skip->second != "False" && skip->second != "0";
  if (job && !without) {
    if (!job->polled.exchange(true)) ++job->watchers;  // from now on it makes previews
    Job::View view;
    if (job->look(view, Clock::now()) && !view.preview.empty()) {
      current = to_base64(encode_image(view.preview.front(), "png"));
    }
  }
  const double share = status.steps > 0 ? static_cast<double>(status.step) / static_cast<double>(status.steps) : 0.0;
  return json_response({{"progress", share},
                        {"eta_relative", std::max(0.0, status.eta_seconds)},
                        {"state",
                         {{"skipped", false},
                          {"interrupted", job && job->wrap_up_requested()},
                          {"stopping_generation", job && job->wrap_up_requested()},
                          {"job_timestamp", job ? std::to_string(static_cast<std::int64_t>(job->created)) : "0"},
                          {"job", job ? job->id : std::string()},
                          {"job_count", job ? 1 : 0},
                          {"job_no", 0},
                          {"sampling_step", status.step},
                          {"sampling_steps", status.steps}}},
                        {"current_image", std::move(current)},
                        {"textinfo", job ? json(to_string(status.state)) : json()}});
}

/// What runs is done with what there is, which its client is answered; what waits is cancelled.
HttpResponse interrupt(Service& service, const Call& call) {
  for (const auto& job : service.queue().jobs()) {
    if (job->client == call.client + kOwnClient && !job->wrap_up()) service.queue().cancel(*job);
  }
  return json_response(json::object());
}

HttpResponse samplers_answer(Service& service, const Call&) {
  auto list = json::array();
  const auto names = service.model({}).samplers;
  for (const auto& name : names) {
    const bool euler = name == names.front();
    list.push_back({{"name", name},
                    {"aliases", euler ? json({"Euler a", "Euler", "k_euler_a"}) : json::array()},
                    {"options", json::object()}});
  }
  return json_response(list);
}

HttpResponse models_answer(Service& service, const Call&) {
  auto list = json::array();
  for (const auto& info : service.models()) {
    list.push_back({{"title", info.name},
                    {"model_name", info.name},
                    {"hash", json()},
                    {"sha256", json()},
                    {"filename", info.name},
                    {"config", json()}});
  }
  return json_response(list);
}

json present_options(Service& service) {
  return {{"sd_model_checkpoint", service.default_model()}, {"samples_format", "png"}};
}

HttpResponse options(Service& service, const Call&) {
  return json_response(present_options(service));
}

HttpResponse nothing_there(Service&, const Call&) {
  return json_response(json::array());
}
HttpResponse loras(Service& service, const Call&) {
  auto list = json::array();
  for (const auto& name : service.model("").loras)
    list.push_back({{"name", name}, {"alias", name}, {"path", name + ".safetensors"}, {"metadata", json::object()}});
  return json_response(list);
}
HttpResponse scripts(Service&, const Call&) {
  return json_response({{"txt2img", json::array()}, {"img2img", json::array()}});
}
HttpResponse memory(Service&, const Call&) {
  return json_response({{"ram", json::object()}, {"cuda", json::object()}});
}
HttpResponse no_flags(Service&, const Call&) {
  return json_response(json::object());
}
HttpResponse embeddings(Service&, const Call&) {
  return json_response({{"loaded", json::object()}, {"skipped", json::object()}});
}

HttpResponse set_options(Service& service, const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body.is_object()) throw HttpError(422, "body: expected a JSON object");
  // Clients send all that GET gave them, with what they changed.
  const auto present = present_options(service);
  for (const auto& [key, value] : body.items()) {
    if (present.contains(key) && present[key] == value) continue;
    if (key != "sd_model_checkpoint") refuse(key.substr(0, 60), "cannot be set here, expected sd_model_checkpoint");
    if (!value.is_string()) refuse(key, "expected the name of a model");
  }
  if (body.contains("sd_model_checkpoint")) {
    try {
      service.set_default_model(body["sd_model_checkpoint"].get<std::string>());
    } catch (const HttpError& error) {
      throw renamed(error, {{"model", "sd_model_checkpoint"}});
    }
  }
  return json_response(json());
}

}  // namespace

void add_a1111_routes(std::vector<Route>& routes) {
  routes.push_back({"POST", "/sdapi/v1/txt2img", "A1111: pictures from nothing, or from a text", "A1111Txt2Img",
                    "A1111Images", 200, false, txt2img});
  routes.push_back({"POST", "/sdapi/v1/img2img", "A1111: pictures near a given one, or a masked part of it anew",
                    "A1111Img2Img", "A1111Images", 200, false, img2img});
  routes.push_back({"GET", "/sdapi/v1/progress", "A1111: how far the client's present job is", "", "A1111Progress", 200,
                    false, progress});
  routes.push_back({"POST", "/sdapi/v1/interrupt",
                    "A1111: the client's job is done with what there is; what waits is cancelled", "", "A1111Empty",
                    200, false, interrupt});
  routes.push_back({"POST", "/sdapi/v1/skip", "A1111: as interrupt", "", "A1111Empty", 200, false, interrupt});
  routes.push_back({"GET", "/sdapi/v1/samplers", "A1111: the samplers of the default model", "", "A1111Samplers", 200,
                    false, samplers_answer});
  routes.push_back({"GET", "/sdapi/v1/sd-models", "A1111: the models", "", "A1111Models", 200, false, models_answer});
  routes.push_back(
      {"GET", "/sdapi/v1/options", "A1111: the settings that exist here", "", "A1111Options", 200, false, options});
  routes.push_back({"POST", "/sdapi/v1/options", "A1111: chooses the model for requests that name none", "A1111Options",
                    "A1111Nothing", 200, false, set_options});
  routes.push_back({"GET", "/sdapi/v1/loras", "A1111: small updates that a prompt can name, <lora:NAME:WEIGHT>", "",
                    "A1111None", 200, false, loras});
  // What clients look for when they connect. These models have none of it.
  for (const char* name : {"schedulers", "upscalers", "latent-upscale-modes", "hypernetworks", "face-restorers",
                           "realesrgan-models", "prompt-styles", "sd-vae", "sd-modules", "script-info", "extensions"}) {
    routes.push_back({"GET", std::string("/sdapi/v1/") + name, "A1111: none of these here", "", "A1111None", 200, false,
                      nothing_there});
  }
  routes.push_back(
      {"GET", "/sdapi/v1/embeddings", "A1111: none of these here", "", "A1111Empty", 200, false, embeddings});
  routes.push_back({"GET", "/sdapi/v1/cmd-flags", "A1111: no flags", "", "A1111Empty", 200, false, no_flags});
  routes.push_back({"GET", "/sdapi/v1/scripts", "A1111: none of these here", "", "A1111Empty", 200, false, scripts});
  routes.push_back({"GET", "/sdapi/v1/memory", "A1111: not told", "", "A1111Empty", 200, false, memory});
  routes.push_back(
      {"GET", "/startup-events", "A1111: whether the service answers", "", "A1111Empty", 200, false, no_flags});
  routes.push_back(
      {"GET", "/internal/ping", "A1111: whether the service answers", "", "A1111Empty", 200, false, no_flags});
  for (const char* name : {"refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings",
                           "unload-checkpoint", "reload-checkpoint"}) {
    routes.push_back({"POST", std::string("/sdapi/v1/") + name,
                      "A1111: nothing to do, models are known from the start and loaded when they are asked for", "",
                      "A1111Empty", 200, false, no_flags});
  }
}

}  // namespace tessera::server
