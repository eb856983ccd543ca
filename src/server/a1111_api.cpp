/// AUTOMATIC1111's interface as far as these models have its notions: the routes and fields that its clients use.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "image/image_io.h"
#include "runtime/bounded_json.h"
#include "server/base64.h"
#include "server/job_json.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr const char* kOwnClient = "/sdapi";  // marks the jobs of this interface among a client's

/// Fields that say nothing to these models, and are passed over: they choose looks of other networks or how that
/// program stores pictures.
const std::vector<std::string>& ignored_fields() {
  static const std::vector<std::string> names = {"alwayson_scripts",
                                                 "clip_skip",
                                                 "comments",
                                                 "disable_extra_networks",
                                                 "do_not_save_grid",
                                                 "do_not_save_samples",
                                                 "eta",
                                                 "firstpass_image",
                                                 "firstphase_height",
                                                 "firstphase_width",
                                                 "force_task_id",
                                                 "hr_cfg",
                                                 "hr_checkpoint_name",
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
                                                 "initial_noise_multiplier",
                                                 "inpaint_full_res",
                                                 "inpaint_full_res_padding",
                                                 "inpainting_fill",
                                                 "mask_round",
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
                                                 "seed_resize_from_h",
                                                 "seed_resize_from_w",
                                                 "send_images",
                                                 "styles",
                                                 "subseed",
                                                 "subseed_strength",
                                                 "tiling"};
  return names;
}

const std::vector<std::string>& common_fields() {
  static const std::vector<std::string> names = {"prompt",    "negative_prompt", "seed",          "steps",
                                                 "cfg_scale", "width",           "height",        "batch_size",
                                                 "n_iter",    "sampler_name",    "sampler_index", "override_settings"};
  return names;
}

struct Body {
  json value;

  bool has(const char* name) const { return value.contains(name) && !value[name].is_null(); }
  double number(const char* name, double otherwise, double least, double most) const {
    if (!has(name)) return otherwise;
    if (!value[name].is_number() || !(value[name] >= least && value[name] <= most)) {
      refuse(name, "expected a number from {} to {}", least, most);
    }
    return value[name].get<double>();
  }
  std::int64_t whole(const char* name, std::int64_t otherwise, std::int64_t least, std::int64_t most) const {
    const auto found =
        number(name, static_cast<double>(otherwise), static_cast<double>(least), static_cast<double>(most));
    if (found != static_cast<double>(static_cast<std::int64_t>(found))) refuse(name, "expected a whole number");
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
    refuse(name, "{}, expected 0 or 1", value[name].dump().substr(0, 60));
  }
  std::string text(const char* name) const {
    if (!has(name)) return {};
    if (!value[name].is_string()) refuse(name, "expected a text");
    return value[name].get<std::string>();
  }
};

Body body_of(const Call& call, const std::vector<std::string>& own) {
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
        if (value.is_null() || value == false || value == "") continue;
        refuse(key, "not offered here");
      }
      throw HttpError(422, "unknown field", key.substr(0, 60));
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

JobRequest read_common(Service& service, const Body& body) {
  JobRequest request;
  const auto settings = body.has("override_settings") ? body.value["override_settings"] : json::object();
  if (!settings.is_object()) refuse("override_settings", "expected an object");
  const auto chosen = settings.value("sd_model_checkpoint", json());
  const auto model = service.model(chosen.is_string() ? chosen.get<std::string>() : std::string());
  request.model = model.name;
  if (model.condition == "text") {
    for (const auto* name : {"prompt", "negative_prompt"}) {
      if (const auto words = body.text(name); !words.empty()) request.sampling.set(name, words);
    }
    if (body.has("cfg_scale")) request.sampling.set("cfg_scale", body.number("cfg_scale", 0, 0, 1000));
  } else if (!body.text("prompt").empty()) {
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

HttpResponse run(Service& service, const Call& call, JobRequest request, const Body& body) {
  complete(request, service.limits());
  const auto notes = request.notes;
  Call own{call.request, call.captures, call.client + kOwnClient};
  const auto job = service.run_to_end(std::move(request), own);
  const auto status = job->status();
  auto images = json::array(), seeds = json::array();
  for (std::size_t k = 0; k < status.results.size(); ++k) {
    images.push_back(to_base64(result_bytes(*job, status, k, "png")));
    seeds.push_back(job->seed);
  }
  auto parameters = body.value;
  for (const char* name : {"init_images", "mask"}) parameters.erase(name);
  const auto& picture = *status.results.at(0);
  // Image k of a seed is picture k, not that of seed + k; the record says so.
  const json info = {{"seed", job->seed},
                     {"all_seeds", std::move(seeds)},
                     {"width", picture.width},
                     {"height", picture.height},
                     {"batch_size", job->count},
                     {"sd_model_name", job->model},
                     {"job", job->id},
                     {"notes", notes},
                     {"tessera", read_json(job->record, "record")}};
  return json_response({{"images", std::move(images)}, {"parameters", std::move(parameters)}, {"info", info.dump()}});
}

HttpResponse txt2img(Service& service, const Call& call) {
  const auto body = body_of(call, {"denoising_strength"});
  auto request = read_common(service, body);
  request.verb = "generate";
  request.width = body.whole("width", 0, 1, kMaxEditSide);
  request.height = body.whole("height", 0, 1, kMaxEditSide);
  return run(service, call, std::move(request), body);
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
  const auto body = body_of(call, {"init_images", "mask", "latent_mask", "denoising_strength", "inpainting_mask_invert",
                                   "mask_blur", "mask_blur_x", "mask_blur_y", "resize_mode"});
  auto request = read_common(service, body);
  const auto images = body.value.value("init_images", json());
  if (!images.is_array() || images.size() != 1) refuse("init_images", "expected a list of one picture");
  request.image = picture_of(images[0], "init_images", service.limits());
  const auto width = static_cast<int>(body.whole("width", request.image->width, 1, kMaxEditSide));
  const auto height = static_cast<int>(body.whole("height", request.image->height, 1, kMaxEditSide));
  if (width != request.image->width || height != request.image->height) {
    if (body.whole("resize_mode", 0, 0, 3) != 0) {
      refuse("resize_mode", "expected 0 (just resize), or width and height as the picture's");
    }
    if (std::int64_t{width} * height > service.limits().pixels) {
      refuse("width", "{}x{} pixels, expected at most {} in all", width, height, service.limits().pixels);
    }
    request.image = std::make_shared<Image>(resize_exact(*request.image, width, height));
  }
  // How much may change is a share of the cells here; without a mask of all, with one of its own.
  request.verb = "variations";
  request.strength = body.number("denoising_strength", 0.75, 0, 1);
  if (*request.strength == 0) refuse("denoising_strength", "0 changes nothing, expected above 0 to 1");
  const bool invert = body.flag("inpainting_mask_invert");
  const char* mask = body.has("mask") ? "mask" : "latent_mask";
  if (body.has("mask") && body.has("latent_mask")) refuse("latent_mask", "a second mask, expected one of them");
  if (body.has(mask)) {
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
  return run(service, call, std::move(request), body);
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
  if (job && call.request.query.count("skip_current_image") == 0) {
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
                          {"interrupted", false},
                          {"job", job ? job->id : std::string()},
                          {"job_count", job ? 1 : 0},
                          {"job_no", 0},
                          {"sampling_step", status.step},
                          {"sampling_steps", status.steps}}},
                        {"current_image", std::move(current)},
                        {"textinfo", job ? json(to_string(status.state)) : json()}});
}

HttpResponse interrupt(Service& service, const Call& call) {
  for (const auto& job : service.queue().jobs()) {
    if (job->client == call.client + kOwnClient) service.queue().cancel(*job);
  }
  return json_response(json::object());
}

HttpResponse samplers(Service& service, const Call&) {
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

HttpResponse models(Service& service, const Call&) {
  auto list = json::array();
  for (const auto& info : service.backend().models()) {
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
    service.set_default_model(body["sd_model_checkpoint"].get<std::string>());
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
  routes.push_back(
      {"POST", "/sdapi/v1/interrupt", "A1111: cancels the client's jobs", "", "A1111Empty", 200, false, interrupt});
  routes.push_back({"GET", "/sdapi/v1/samplers", "A1111: the samplers of the default model", "", "A1111Samplers", 200,
                    false, samplers});
  routes.push_back({"GET", "/sdapi/v1/sd-models", "A1111: the models", "", "A1111Models", 200, false, models});
  routes.push_back(
      {"GET", "/sdapi/v1/options", "A1111: the settings that exist here", "", "A1111Options", 200, false, options});
  routes.push_back({"POST", "/sdapi/v1/options", "A1111: chooses the model for requests that name none", "A1111Options",
                    "A1111Nothing", 200, false, set_options});
  // What clients look for when they connect. These models have none of it.
  for (const char* name : {"schedulers", "upscalers", "latent-upscale-modes", "loras", "hypernetworks",
                           "face-restorers", "realesrgan-models", "prompt-styles", "sd-vae", "extensions"}) {
    routes.push_back({"GET", std::string("/sdapi/v1/") + name, "A1111: none of these here", "", "A1111None", 200, false,
                      nothing_there});
  }
  routes.push_back(
      {"GET", "/sdapi/v1/embeddings", "A1111: none of these here", "", "A1111Empty", 200, false, embeddings});
  routes.push_back({"GET", "/sdapi/v1/cmd-flags", "A1111: no flags", "", "A1111Empty", 200, false, no_flags});
  routes.push_back(
      {"GET", "/internal/ping", "A1111: whether the service answers", "", "A1111Empty", 200, false, no_flags});
  routes.push_back({"POST", "/sdapi/v1/refresh-checkpoints", "A1111: nothing to do, models are known from the start",
                    "", "A1111Empty", 200, false, no_flags});
}

}  // namespace tessera::server
