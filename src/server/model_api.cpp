/// /api/v1/capabilities, encode, decode, candidates: what the models are and small questions to them.
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "image/image_io.h"
#include "runtime/version.h"
#include "sampling/registry.h"
#include "server/base64.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

/// The model's samplers with which the option means something.
std::vector<std::string> users_of(const OptionField& field, const ModelInfo& info) {
  using Needs = OptionField::Needs;
  const bool conditioned = info.condition != "none";
  if ((field.needs == Needs::text && info.condition != "text") ||
      (field.needs == Needs::classes && info.condition != "class") ||
      (field.needs == Needs::condition && !conditioned) || (field.needs == Needs::mask && !info.has_mask)) {
    return {};
  }
  std::vector<std::string> users;
  for (const auto& name : info.samplers) {
    if (SamplingOptions::is_used(field, samplers().at(name))) users.push_back(name);
  }
  return users;
}

json model_json(const ModelInfo& info) {
  json classes = info.class_names;
  for (std::int64_t label = 0; label < info.classes && info.class_names.empty(); ++label)
    classes.push_back(std::to_string(label));
  json defaults = {{"canvas_temperature", 0.8}, {"feather", -1}};
  auto options = json::array();
  const auto* sampler = samplers().find(info.default_sampler());
  for (const auto& field : SamplingOptions::fields()) {
    const auto users = users_of(field, info);
    if (users.empty()) continue;
    auto form = field.form();
    form["samplers"] = users;
    if (field.name == "sampler") form["enum"] = info.samplers;
    defaults[field.name] =
        info.suggested.has(field.name) ? json_of(info.suggested.given().at(field.name)) : form["default"];
    options.push_back(std::move(form));
  }
  if (info.suggested.get<std::int64_t>("steps") == 0) defaults["steps"] = info.total_steps;
  defaults["sampler"] = sampler ? json(sampler->name) : json();
  auto words = json::object();
  for (const auto& name : info.samplers) words[name] = samplers().at(name).help;
  return {{"name", info.name},           {"width", info.width},
          {"height", info.height},       {"factor", info.factor},
          {"grid", {info.h, info.w}},    {"codebook_size", info.codebook_size},
          {"has_prior", info.has_prior}, {"process", info.process.empty() ? json() : json(info.process)},
          {"condition", info.condition}, {"classes", std::move(classes)},
          {"samplers", info.samplers},   {"defaults", std::move(defaults)},
          {"sampler_help", words},       {"sampling_options", std::move(options)},
          {"weight_bytes", info.bytes},  {"loaded", info.loaded},
          {"loras", info.loras},         {"has_captions", info.has_captions}};
}

HttpResponse capabilities(Service& service, const Call&) {
  auto models = json::array();
  for (const auto& info : service.models()) models.push_back(model_json(info));
  json limits;
  auto copy = service.limits();
  for (const auto& field : copy.fields()) limits[field.name] = *std::get<std::int64_t*>(field.target);
  return json_response({{"version", version()},
                        {"models", std::move(models)},
                        {"default_model", service.default_model()},
                        {"verbs", verb_names()},
                        {"formats", picture_formats()},
                        {"workspace", service.workspace() != nullptr},
                        {"limits", std::move(limits)}});
}

/// A body whose fields are all known.
json body_of(const Call& call, const std::vector<std::string>& fields) {
  auto body = parse_json(call.request.body);
  if (!body.is_object()) throw HttpError(400, "body: expected a JSON object");
  for (const auto& [key, value] : body.items()) {
    if (std::find(fields.begin(), fields.end(), key) == fields.end()) {
      throw HttpError(400, fmt::format("unknown field, expected of {}", fmt::join(fields, ", ")), key.substr(0, 60));
    }
  }
  return body;
}

std::string text_of(const json& body, const char* name) {
  const auto found = body.find(name);
  if (found == body.end() || found->is_null()) return {};
  if (!found->is_string() || found->get_ref<const std::string&>().size() > 4096) {
    refuse(name, "expected a text of at most 4096 bytes");
  }
  return found->get<std::string>();
}

double number_of(const json& body, const char* name, double otherwise, double least, double most, bool whole) {
  const auto found = body.find(name);
  if (found == body.end() || found->is_null()) return otherwise;
  const bool fits = whole ? found->is_number_integer() : found->is_number();
  if (!fits || !(found->get<double>() >= least && found->get<double>() <= most)) {
    refuse(name, "expected a{} number from {} to {}", whole ? " whole" : "", least, most);
  }
  return found->get<double>();
}

TokenArray tokens_of(Service& service, const json& value, const ModelInfo& model) {
  auto tokens = parse_tokens(value, "tokens", service.limits());
  if (tokens.w > service.limits().pixels / model.factor / model.factor / tokens.h) {
    refuse("tokens", "{}x{} cells, expected at most {} pixels in all", tokens.w, tokens.h, service.limits().pixels);
  }
  for (const auto code : tokens.code) {
    if (code >= model.codebook_size) {
      refuse("tokens", "code {}, expected 0 to {} or null", code, model.codebook_size - 1);
    }
  }
  return tokens;
}

HttpResponse encode(Service& service, const Call& call) {
  json body;
  std::string bytes;
  if (const auto boundary = form_boundary(call.request.header("content-type")); !boundary.empty()) {
    body = json::object();
    for (auto& part : parse_form(call.request.body, boundary)) {
      if (part.name == "image") {
        bytes = std::move(part.content);
      } else if (part.name == "model") {
        body["model"] = part.content;
      } else {
        throw HttpError(400, "form: expected the parts model and image");
      }
    }
  } else {
    body = body_of(call, {"model", "image"});
    const auto found = body.find("image");
    if (found == body.end() || !found->is_string()) refuse("image", "missing, expected data:TYPE;base64,...");
    bytes = from_data_uri(found->get_ref<const std::string&>(), "image");
  }
  if (bytes.empty()) refuse("image", "missing, expected a picture");
  const auto model = service.model(text_of(body, "model"));
  const auto picture = read_upload(bytes, "image", service.limits());
  const auto cells = static_cast<std::int64_t>(picture->width) * picture->height / model.factor / model.factor;
  const auto tokens = service.worker().run_soon(
      {call.client, cells, call.request.gone},
      [name = model.name, picture](Backend& backend) { return backend.encode(name, *picture); });
  return json_response({{"tokens", to_json(tokens)},
                        {"codebook_size", model.codebook_size},
                        {"factor", model.factor},
                        {"width", picture->width},
                        {"height", picture->height}});
}

constexpr std::int64_t kMostCaptions = 64;

HttpResponse captions(Service& service, const Call& call) {
  const auto body = body_of(call, {"model", "image", "begins", "count", "temperature", "cfg_scale", "seed"});
  const auto model = service.model(text_of(body, "model"));
  if (!model.has_captions)
    throw HttpError(400, fmt::format("model {}: it makes pictures alone, expected one of both directions", model.name),
                    "model");
  const auto found = body.find("image");
  if (found == body.end() || !found->is_string()) refuse("image", "missing, expected data:TYPE;base64,...");
  const auto picture =
      read_upload(from_data_uri(found->get_ref<const std::string&>(), "image"), "image", service.limits());
  CaptionChoice choice;
  choice.begins = text_of(body, "begins");
  choice.temperature = number_of(body, "temperature", 0, 0, 1e6, false);
  choice.guidance_scale = number_of(body, "cfg_scale", 1, 0, 1000, false);
  choice.seed = static_cast<std::uint64_t>(number_of(body, "seed", 0, 0, 9007199254740991, true));
  const auto count = static_cast<std::int64_t>(number_of(body, "count", 1, 1, kMostCaptions, true));
  const auto made = service.worker().run_soon({call.client, Worker::kNeverSmall, call.request.gone},
                                              [name = model.name, picture, count, choice](Backend& backend) {
                                                return backend.captions(name, *picture, count, choice);
                                              });
  return json_response({{"captions", made}});
}

HttpResponse decode(Service& service, const Call& call) {
  const auto body = body_of(call, {"model", "tokens", "format"});
  const auto model = service.model(text_of(body, "model"));
  const auto tokens = tokens_of(service, body.value("tokens", json()), model);
  const auto asked = text_of(body, "format");
  const auto format = asked.empty() ? std::string("png") : asked;
  const auto picture =
      service.worker().run_soon({call.client, tokens.h * tokens.w, call.request.gone},
                                [name = model.name, tokens](Backend& backend) { return backend.decode(name, tokens); });
  return json_response({{"image", to_data_uri("image/" + format, encode_image(picture, format))},
                        {"width", picture.width},
                        {"height", picture.height}});
}

/// The class that is named or numbered; -1: none.
std::int64_t label_of(const json& body, const ModelInfo& model) {
  const auto asked = body.value("class", json());
  if (asked.is_string()) return class_of(asked.get<std::string>(), model);
  return static_cast<std::int64_t>(number_of(body, "class", -1, -1, static_cast<double>(model.classes) - 1, true));
}

HttpResponse candidates(Service& service, const Call& call) {
  const auto body = body_of(
      call, {"model", "tokens", "cell", "count", "temperature", "prompt", "negative_prompt", "class", "cfg_scale"});
  const auto model = service.model(text_of(body, "model"));
  if (!model.has_prior) throw HttpError(400, fmt::format("model {}: it has a codec only", model.name), "model");
  CandidateRequest request;
  request.tokens = tokens_of(service, body.value("tokens", json()), model);
  const auto cell = body.value("cell", json());
  const bool inside = cell.is_array() && cell.size() == 2 && cell[0].is_number_integer() &&
                      cell[1].is_number_integer() && cell[0] >= 0 && cell[0] < request.tokens.h && cell[1] >= 0 &&
                      cell[1] < request.tokens.w;
  if (!inside) refuse("cell", "expected [y, x] in a grid of {}x{} cells", request.tokens.w, request.tokens.h);
  request.y = cell[0];
  request.x = cell[1];
  request.count = static_cast<std::int64_t>(number_of(body, "count", 8, 1, 64, true));
  request.temperature = number_of(body, "temperature", 1, 1e-3, 1e6, false);
  request.prompt = text_of(body, "prompt");
  request.negative_prompt = text_of(body, "negative_prompt");
  request.label = label_of(body, model);
  if (!body.value("cfg_scale", json()).is_null()) request.cfg_scale = number_of(body, "cfg_scale", 0, 0, 1000, false);
  // It sets the model's prompt, which what it would come between may need.
  const auto found = service.worker().run_soon(
      {call.client, Worker::kNeverSmall, call.request.gone},
      [name = model.name, request](Backend& backend) { return backend.candidates(name, request); });
  auto list = json::array();
  for (const auto& each : found) {
    list.push_back({{"token", each.token},
                    {"probability", each.probability},
                    {"image", to_data_uri("image/png", encode_image(each.thumbnail, "png"))}});
  }
  return json_response({{"candidates", std::move(list)}});
}

constexpr std::int64_t kMostLooks = 1 << 16;  // grids that one question may let the network see

/// [N][h][w] numbers, null where MASK.
json score_rows(const std::vector<double>& values, const TokenArray& grid) {
  json rows = json::array();
  for (std::int64_t y = 0; y < grid.h; ++y) {
    json row = json::array();
    for (std::int64_t x = 0; x < grid.w; ++x) {
      const auto cell = static_cast<std::size_t>(y * grid.w + x);
      row.push_back(grid.code[cell] < 0 ? json() : json(values[cell]));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<TokenArray> grids_of(Service& service, const json& body, const ModelInfo& model) {
  const bool several = body.contains("grids");
  if (several == body.contains("tokens"))
    refuse("tokens", "expected either tokens, one grid, or grids, a list of them");
  if (!several) return {tokens_of(service, body["tokens"], model)};
  const auto& list = body["grids"];
  const auto most = service.limits().count;
  if (!list.is_array() || list.empty() || static_cast<std::int64_t>(list.size()) > most) {
    refuse("grids", "expected a list of 1 to {} grids", most);
  }
  std::vector<TokenArray> grids;
  for (const auto& each : list) {
    grids.push_back(tokens_of(service, each, model));
    if (grids.back().h != grids[0].h || grids.back().w != grids[0].w) {
      refuse("grids", "one of {}x{} cells, expected all of {}x{}", grids.back().w, grids.back().h, grids[0].w,
             grids[0].h);
    }
  }
  return grids;
}

HttpResponse score(Service& service, const Call& call) {
  const auto body =
      body_of(call, {"model", "tokens", "grids", "spacing", "prompt", "negative_prompt", "class", "cfg_scale"});
  const auto model = service.model(text_of(body, "model"));
  if (!model.has_prior) throw HttpError(400, fmt::format("model {}: it has a codec only", model.name), "model");
  ScoreRequest request;
  request.grids = grids_of(service, body, model);
  request.spacing = static_cast<std::int64_t>(number_of(body, "spacing", 0, 0, 4096, true));
  const auto& grid = request.grids[0];
  const auto looks =
      request.spacing == 0 ? grid.h * grid.w : std::min(request.spacing, grid.h) * std::min(request.spacing, grid.w);
  if (static_cast<std::int64_t>(request.grids.size()) * looks > kMostLooks) {
    refuse("spacing", "{} grids looked at {} times each, expected at most {} looks: a spacing of 2 to 8 needs fewer",
           request.grids.size(), looks, kMostLooks);
  }
  request.prompt.prompt = text_of(body, "prompt");
  request.prompt.negative_prompt = text_of(body, "negative_prompt");
  request.prompt.label = label_of(body, model);
  request.prompt.guidance_scale = number_of(body, "cfg_scale", 1, 0, 1000, false);  // 1: the model's own probabilities
  // It sets the model's prompt, which what it would come between may need.
  const auto found = service.worker().run_soon(
      {call.client, Worker::kNeverSmall, call.request.gone},
      [name = model.name, request](Backend& backend) { return backend.score(name, request); });
  auto scores = json::array(), sums = json::array();
  for (std::size_t n = 0; n < request.grids.size(); ++n) {
    const auto& values = found.log_probabilities.at(n);
    scores.push_back(score_rows(values, request.grids[n]));
    sums.push_back(std::accumulate(values.begin(), values.end(), 0.0));
  }
  return json_response({{"scores", std::move(scores)},
                        {"sums", std::move(sums)},
                        {"given", found.given_before ? "before" : "others"},
                        {"evaluations", found.evaluations}});
}

}  // namespace

void add_model_routes(std::vector<Route>& routes) {
  routes.push_back(
      {"GET", "/api/v1/capabilities", "Models, verbs and limits", "", "Capabilities", 200, false, capabilities});
  routes.push_back({"POST", "/api/v1/encode", "A picture's codes", "EncodeRequest", "Encoded", 200, false, encode});
  routes.push_back({"POST", "/api/v1/captions", "What a picture shows, by a model of both directions",
                    "CaptionsRequest", "Captions", 200, false, captions});
  routes.push_back({"POST", "/api/v1/decode", "The picture of a grid of codes; MASK comes out grey", "DecodeRequest",
                    "Decoded", 200, false, decode});
  routes.push_back({"POST", "/api/v1/candidates",
                    "The likeliest codes of a cell, given the others, each with its neighbourhood decoded",
                    "CandidatesRequest", "Candidates", 200, false, candidates});
  routes.push_back({"POST", "/api/v1/score",
                    "The log probability of every cell's code given the others (autoregressive models: those before)",
                    "ScoreRequest", "Scores", 200, false, score});
}

}  // namespace tessera::server
