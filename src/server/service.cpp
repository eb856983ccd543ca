#include "server/service.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "prior/prior.h"
#include "runtime/log.h"
#include "server/served_loras.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestPath = 1024;

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool matches(const std::string& pattern, std::string_view path, std::map<std::string, std::string>& captures) {
  const auto wanted = segments(pattern), given = segments(path);
  captures.clear();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (i >= given.size()) return false;
    if (!wanted[i].starts_with('{')) {
      if (wanted[i] != given[i]) return false;
      continue;
    }
    const auto name = std::string(wanted[i].substr(1, wanted[i].size() - 2));
    if (name.ends_with("...")) {
      captures[name.substr(0, name.size() - 3)] =
          std::string(path.substr(static_cast<std::size_t>(given[i].data() - path.data())));
      return true;
    }
    if (given[i].empty()) return false;
    captures[name] = given[i];
  }
  return wanted.size() == given.size();
}

std::vector<Route> all_routes() {
  std::vector<Route> routes;
  add_studio_routes(routes);
  add_status_routes(routes);
  add_model_routes(routes);
  add_card_routes(routes);
  add_job_routes(routes);
  add_unmasking_routes(routes);
  add_workspace_routes(routes);
  add_openai_routes(routes);
  add_a1111_routes(routes);
  return routes;
}

json openai_error(const HttpError& error) {
  const char* type = error.status == 401   ? "authentication_error"
                     : error.status == 429 ? "rate_limit_error"
                     : error.status >= 500 ? "server_error"
                                           : "invalid_request_error";
  return {{"error",
           {{"message", error.what()},
            {"type", type},
            {"param", error.field.empty() ? json() : json(error.field)},
            {"code", error.status == 404 ? json("not_found") : json()}}}};
}

}  // namespace

HttpResponse json_response(const json& value, int status) {
  HttpResponse response;
  response.status = status;
  response.body = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return response;
}

HttpResponse error_response(const std::string& path, const HttpError& given) {
  auto error = given;
  // Whoever reads the message alone is told the field, too.
  const std::string_view said = given.what();
  if (!given.field.empty() && said.find(given.field) == std::string_view::npos) {
    error = HttpError(given.status, fmt::format("{}: {}", given.field, said), given.field, given.retry_after);
  }
  json body;
  if (path.starts_with("/v1/")) {
    body = openai_error(error);
  } else if (path.starts_with("/sdapi/")) {
    body = {{"error", error.status >= 500 ? "internal error" : "invalid request"},
            {"detail", error.what()},
            {"errors", error.what()},
            {"field", error.field.empty() ? json() : json(error.field)},
            {"body", ""}};
  } else {
    body = {{"error", {{"message", error.what()}, {"field", error.field.empty() ? json() : json(error.field)}}}};
  }
  auto response = json_response(body, error.status);
  if (error.retry_after > 0) response.headers["Retry-After"] = std::to_string(error.retry_after);
  if (error.status == 401) response.headers["WWW-Authenticate"] = "Bearer";
  return response;
}

std::int64_t whole_capture(const Call& call, const std::string& name) {
  const auto& text = call.captures.at(name);
  std::int64_t value = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < 0) {
    throw HttpError(404, fmt::format("{}: expected a whole number from 0", name));
  }
  return value;
}

Service::Service(const std::vector<Backend*>& backends, Metrics& metrics, ServiceOptions options)
    : backends_(backends),
      options_(std::move(options)),
      metrics_(metrics),
      workspace_(options_.workspace.empty() ? nullptr
                                            : std::make_unique<Workspace>(
                                                  options_.workspace, WorkspaceBounds{options_.limits.workspace_mib,
                                                                                      options_.limits.workspace_days})),
      queue_(options_.limits, metrics_),
      routes_(all_routes()),
      access_(std::make_shared<const AccessRules>(options_.access)) {
  for (auto* backend : backends_) {
    const auto number = static_cast<int>(workers_.size());
    workers_.push_back(std::make_unique<Worker>(*backend, queue_, options_.limits, metrics_, number));
  }
  metrics_.set("tessera_queue_limit", static_cast<double>(options_.limits.queue));
}

std::shared_ptr<const AccessRules> Service::access() const {
  const std::lock_guard lock(access_mutex_);
  return access_;
}

void Service::set_keys(const AccessRules& rules) {
  auto next = std::make_shared<AccessRules>(*access());
  next->key_digests = rules.key_digests;
  next->quotas = rules.quotas;
  const std::lock_guard lock(access_mutex_);
  access_ = std::move(next);
}

void Service::note(const HttpRequest& request, const std::string& client, const HttpResponse& response,
                   Clock::time_point begin) {
  if (!options_.audit) return;
  const auto rules = access();
  const auto found = rules->quotas.find(client);
  const bool named = found != rules->quotas.end() && !found->second.name.empty();
  options_.audit->note(request, named ? found->second.name : client, response, Clock::now() - begin);
}

void Service::require_quota(const JobRequest& request, const ModelInfo& model, const std::string& client) {
  const auto rules = access();
  const auto found = rules->quotas.find(client);
  if (found == rules->quotas.end()) return;
  const auto& quota = found->second;
  if (quota.jobs > 0) {
    const auto jobs = queue_.jobs();
    const auto own = std::count_if(jobs.begin(), jobs.end(),
                                   [&](const auto& job) { return job->client == client && !is_final(job->state()); });
    if (own >= quota.jobs)
      throw HttpError(429, fmt::format("{} jobs wait or run, this key's quota is {}", own, quota.jobs), {}, 5);
  }
  std::int64_t pixels = std::int64_t{request.width != 0 ? request.width : model.width} *
                        (request.height != 0 ? request.height : model.height);
  if (request.tokens) pixels = request.tokens->h * request.tokens->w * model.factor * model.factor;
  if (request.onto) pixels = std::int64_t{request.onto->width} * request.onto->height;
  if (request.image) {
    pixels = (std::int64_t{request.image->width} + request.left + request.right) *
             (std::int64_t{request.image->height} + request.top + request.bottom);
  }
  quotas_.take_pixels(client, quota, pixels * request.count);
}

HttpResponse Service::handle(const HttpRequest& request) {
  const auto begin = Clock::now();
  const auto rules = access();
  HttpResponse response;
  std::string client;
  try {
    response = answer(request, client);
  } catch (const HttpError& error) {
    response = error_response(request.path, error);
  } catch (const Error& error) {
    response = error_response(request.path, HttpError(400, error.what()));
  } catch (const std::bad_alloc&) {
    response = error_response(request.path, HttpError(503, "out of memory", {}, 10));
  } catch (const std::exception& error) {
    log().error("{} {}: {}", request.method, request.path.substr(0, 200), error.what());
    response = error_response(request.path, HttpError(500, "internal error"));
  }
  auto& headers = response.headers;
  headers.emplace("X-Content-Type-Options", "nosniff");
  headers.emplace("Referrer-Policy", "no-referrer");
  headers.emplace("Cross-Origin-Resource-Policy", rules->origins.empty() ? "same-origin" : "cross-origin");
  headers.emplace("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
  headers.emplace("Cache-Control", "no-store");
  if (!rules->origins.empty()) headers.emplace("Vary", "Origin");
  if (const auto origin = allowed_origin(request, *rules); !origin.empty()) {
    headers["Access-Control-Allow-Origin"] = origin;
    headers["Access-Control-Expose-Headers"] = "Retry-After, Location";
  }
  metrics_.add("tessera_http_requests_total", fmt::format("status=\"{}\"", response.status));
  note(request, client.empty() ? request.address : client, response, begin);
  return response;
}

HttpResponse Service::answer(const HttpRequest& request, std::string& client) {
  const auto rules = access();
  if (request.path.size() > kLongestPath || request.path.find('\0') != std::string::npos) {
    throw HttpError(414, fmt::format("path: longer than {} bytes", kLongestPath));
  }
  const auto method = request.method == "HEAD" ? std::string("GET") : request.method;
  std::vector<std::string> methods;
  const Route* found = nullptr;
  std::map<std::string, std::string> captures, own;
  for (const auto& route : routes_) {
    if (!matches(route.pattern, request.path, captures)) continue;
    methods.push_back(route.method);
    if (route.method == method && !found) {
      found = &route;
      own = captures;
    }
  }
  if (request.method == "OPTIONS" && !methods.empty()) {
    (void)client_of(request, *rules, false);
    HttpResponse response;
    response.status = 204;
    response.headers["Allow"] = fmt::format("{}", fmt::join(methods, ", "));
    if (!allowed_origin(request, *rules).empty()) {
      response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"];
      response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Tessera-Client";
      response.headers["Access-Control-Max-Age"] = "600";
    }
    return response;
  }
  client = client_of(request, *rules, !(found && found->open));
  if (const auto quota = rules->quotas.find(client); quota != rules->quotas.end())
    quotas_.take_request(client, quota->second);
  if (methods.empty()) throw HttpError(404, "no such path; /api/v1/openapi.json lists them");
  if (!found) {
    auto response =
        error_response(request.path, HttpError(405, fmt::format("method: expected {}", fmt::join(methods, " or "))));
    response.headers["Allow"] = fmt::format("{}", fmt::join(methods, ", "));
    return response;
  }
  return found->handler(*this, Call{request, std::move(own), client});
}

std::optional<HttpResponse> Service::refuse_early(const HttpRequest& request, std::int64_t content_length) {
  std::optional<HttpError> error;
  const auto most = options_.limits.body_mib << 20;
  try {
    // A body is read for those alone who may send one.
    if (request.method != "GET" && request.method != "HEAD" && request.method != "OPTIONS") {
      (void)client_of(request, *access(), true);
    }
    if (request.path.size() > kLongestPath)
      throw HttpError(414, fmt::format("path: longer than {} bytes", kLongestPath));
    if (content_length > most) {
      throw HttpError(413, fmt::format("body: {} bytes, expected at most {}", content_length, most));
    }
    const auto encoding = request.header("content-encoding");
    if (!encoding.empty() && encoding != "identity") {
      throw HttpError(415, "content-encoding: expected none; bodies are taken as they are");
    }
    return {};
  } catch (const HttpError& thrown) {
    metrics_.add("tessera_http_requests_total", fmt::format("status=\"{}\"", thrown.status));
    auto response = error_response(request.path, thrown);
    note(request, request.address, response, Clock::now());
    return response;
  }
}

std::vector<ModelInfo> Service::models() {
  auto all = backends_.front()->models();
  for (std::size_t i = 1; i < backends_.size(); ++i) {
    const auto others = backends_[i]->models();
    for (std::size_t k = 0; k < all.size(); ++k) all[k].loaded = all[k].loaded || others.at(k).loaded;
  }
  return all;
}

ModelInfo Service::model(const std::string& name) {
  const auto infos = models();
  const auto wanted = name.empty() ? default_model() : name;
  std::vector<std::string> names;
  for (const auto& info : infos) {
    if (info.name == wanted) return info;
    names.push_back(info.name);
  }
  throw HttpError(404, fmt::format("model '{}': expected one of {}", wanted.substr(0, 100), fmt::join(names, ", ")),
                  "model");
}

std::string Service::default_model() {
  const std::lock_guard lock(mutex_);
  return chosen_model_.empty() ? backends_.front()->models().at(0).name : chosen_model_;
}

void Service::set_default_model(const std::string& name) {
  const auto known = model(name).name;
  const std::lock_guard lock(mutex_);
  chosen_model_ = known;
}

HttpError renamed(const HttpError& error, const FieldNames& names) {
  for (const auto& [ours, theirs] : names) {
    if (error.field != ours || ours == theirs) continue;
    std::string message = error.what();
    if (message.starts_with(ours)) message.replace(0, ours.size(), theirs);
    return {error.status, message, theirs, error.retry_after};
  }
  return error;
}

std::pair<std::int64_t, std::int64_t> well_made_size(const ModelInfo& model, std::int64_t width, std::int64_t height) {
  constexpr std::int64_t kLongest = 4;  // times the shorter side
  if (model.process == kAutoregressive) return {model.width, model.height};
  // The longer side of what was asked, where the other one is the model's own.
  const auto side = [&](std::int64_t own, std::int64_t asked, std::int64_t other_own, std::int64_t other_asked) {
    const auto cells = (2 * other_own * asked + other_asked * model.factor) / (2 * other_asked * model.factor);
    return std::clamp(cells * model.factor, own, kLongest * own);
  };
  if (width * model.height >= height * model.width)
    return {side(model.width, width, model.height, height), model.height};
  return {model.width, side(model.height, height, model.width, width)};
}

void require_deliverable(const JobRequest& request, const ServiceLimits& limits, std::int64_t width,
                         std::int64_t height, const std::string& field) {
  auto most = std::max(limits.pixels, limits.upload_pixels);  // it is scaled, no network sees it
  if (request.image) most = std::max(most, std::int64_t{request.image->width} * request.image->height);
  if (width > most / height) refuse(field, "{}x{} pixels, expected at most {} in all", width, height, most);
}

void check_model(const JobRequest& request, const ModelInfo& model, const ServiceLimits& limits) {
  const auto refuse_condition = [&](const char* field, bool given, const char* kind) {
    if (given && model.condition != kind) {
      refuse(field, "the model {} takes {}, expected one with {}", model.name,
             model.condition == "none" ? "no condition" : model.condition, kind);
    }
  };
  const auto& sampling = request.sampling;
  refuse_condition("prompt", !sampling.get<std::string>("prompt").empty(), "text");
  refuse_condition("negative_prompt", !sampling.get<std::string>("negative_prompt").empty(), "text");
  const auto asked = sampling.value("class");
  const auto* name = std::get_if<std::string>(&asked);
  refuse_condition("class", name != nullptr || std::get<std::int64_t>(asked) >= 0, "class");
  if (name != nullptr) {
    class_of(*name, model);
  } else if (std::get<std::int64_t>(asked) >= std::max<std::int64_t>(model.classes, 1)) {
    refuse("class", "{}, expected 0 to {}", std::get<std::int64_t>(asked), model.classes - 1);
  }
  for (const auto& lora : parse_served_loras(request.loras)) {
    if (std::find(model.loras.begin(), model.loras.end(), lora.name) == model.loras.end())
      refuse("loras", "'{}' is not served, expected {}", lora.name,
             model.loras.empty() ? "none" : fmt::format("one of {}", fmt::join(model.loras, ", ")));
  }
  const auto chosen = sampling.get<std::string>("sampler");
  if (!chosen.empty() && std::find(model.samplers.begin(), model.samplers.end(), chosen) == model.samplers.end()) {
    refuse("sampler", "'{}' does not suit the process of {}, expected one of {}", chosen, model.name,
           fmt::join(model.samplers, ", "));
  }
  if (!model.has_prior && request.verb != "reconstruct" && request.verb != "fill") {
    throw HttpError(400, fmt::format("model {}: it has a codec only, expected one that can fill", model.name), "model");
  }
  std::int64_t width = request.width != 0 ? request.width : model.width;
  std::int64_t height = request.height != 0 ? request.height : model.height;
  if (request.tokens) {
    const auto highest = *std::max_element(request.tokens->code.begin(), request.tokens->code.end());
    if (highest >= model.codebook_size) {
      refuse("tokens", "code {}, expected 0 to {} or null", highest, model.codebook_size - 1);
    }
    width = request.tokens->w * model.factor;
    height = request.tokens->h * model.factor;
  } else if (request.image) {
    width = request.image->width + request.left + request.right;
    height = request.image->height + request.top + request.bottom;
  } else if (request.onto) {
    width = request.onto->width;
    height = request.onto->height;
  }
  if (!request.image && !request.onto && width > limits.pixels / height) {
    refuse(request.tokens ? "tokens" : "width", "a picture of {}x{} pixels, expected at most {} in all", width, height,
           limits.pixels);
  }
  if (width > limits.request_pixels / height / request.count) {
    refuse("count", "{} pictures of {}x{} pixels, expected at most {} pixels in all", request.count, width, height,
           limits.request_pixels);
  }
  for (std::size_t i = 0; i < request.pieces.size(); ++i) {
    const auto& piece = request.pieces[i];
    if (piece.to_x > width - piece.from.width || piece.to_y > height - piece.from.height) {
      refuse(fmt::format("pieces[{}].to", i), "{}x{} pixels at {},{} leave the canvas of {}x{}", piece.from.width,
             piece.from.height, piece.to_x, piece.to_y, width, height);
    }
  }
}

std::shared_ptr<Job> Service::submit(JobRequest request, const std::string& client, int partial_images) {
  const auto info = model(request.model);
  request.model = info.name;
  check_model(request, info, options_.limits);
  complete(request, options_.limits);  // with the model's name
  require_quota(request, info, client);
  const auto asked = std::make_shared<const JobRequest>(std::move(request));
  const auto job = std::make_shared<Job>(new_job_id(), asked, client, owner_of(client), workspace_.get());
  job->want_partials(partial_images);
  if (!workspace_) {
    queue_.enter(job);
    return job;
  }
  queue_.require_room(job->request_bytes);  // before anything is written
  try {
    workspace_->add(*job, saved_request(*asked));
  } catch (const Error& error) {
    log().error("workspace: {}", error.what());
    throw HttpError(507, "the workspace cannot be written, expected room on its disk; the server's log says more");
  }
  try {
    queue_.enter(job);
  } catch (const HttpError&) {
    workspace_->forget(job->id);
    throw;
  }
  return job;
}

std::shared_ptr<Job> Service::run_to_end(JobRequest request, const Call& call) {
  const auto job = submit(std::move(request), call.client);
  while (!job->wait_final(Clock::now() + std::chrono::milliseconds(200))) {
    if (call.request.gone && call.request.gone()) queue_.cancel(*job);
  }
  const auto status = job->status();
  if (status.state == JobState::failed) throw HttpError(queue_.closed() ? 503 : 400, status.error);
  if (status.state == JobState::cancelled) throw HttpError(409, "the job was cancelled");
  return job;
}

std::string Service::owner_of(const std::string& client) const {
  // What follows the key tells a client's interfaces apart.
  return access()->key_digests.empty() ? std::string() : client.substr(0, kKeyNameLength);
}

std::shared_ptr<Job> Service::job(const std::string& id, const std::string& owner) {
  auto found = queue_.find(id);
  if (!found && workspace_) {
    if (auto stored = workspace_->load(id)) found = std::make_shared<Job>(std::move(*stored));
  }
  if (!found || found->owner != owner) throw HttpError(404, "job: not known here, or no longer kept");
  return found;
}

Service::Listed Service::list(const JobQuery& query) {
  Listed listed;
  if (workspace_) {
    const auto page = workspace_->list(query);
    for (const auto& id : page.ids) {
      auto live = queue_.find(id);
      if (!live) {
        auto stored = workspace_->load(id, false);
        if (!stored) continue;  // it has gone meanwhile
        live = std::make_shared<Job>(std::move(*stored));
      }
      listed.jobs.push_back(std::move(live));
    }
    listed.next = page.next;
    listed.total = page.total;
    return listed;
  }
  queue_.sweep();
  auto jobs = queue_.jobs();
  std::reverse(jobs.begin(), jobs.end());
  for (const auto& job : jobs) {
    const auto label = job->label();
    if (job->owner != query.owner || (label.deleted > 0) != query.deleted || (query.starred && !label.starred) ||
        (!query.state.empty() && to_string(job->state()) != query.state) ||
        !has_words(search_words(label.name, job->record), query.words)) {
      continue;
    }
    ++listed.total;
    if (query.before > 0 && job->sequence >= query.before) continue;
    if (static_cast<std::int64_t>(listed.jobs.size()) == query.limit) {
      listed.next = listed.jobs.back()->sequence;
    } else if (static_cast<std::int64_t>(listed.jobs.size()) < query.limit) {
      listed.jobs.push_back(job);
    }
  }
  return listed;
}

void Service::set_label(Job& job, const JobLabel& label) {
  if (label.deleted > 0) queue_.cancel(job);
  if (workspace_) workspace_->set_label(job.id, label, job.record);
  job.set_label(label);
}

SavedRequest Service::request_of(const Job& job) {
  if (workspace_) {
    if (auto saved = workspace_->request_of(job.id)) return std::move(*saved);
  } else if (const auto request = job.request()) {
    return saved_request(*request);
  }
  throw HttpError(404, "request: a server without a workspace lets it go when the job has ended");
}

void Service::start() {
  take_up();
  for (const auto& worker : workers_) worker->start();
}

void Service::stop() {
  std::vector<Worker*> all;
  for (const auto& worker : workers_) all.push_back(worker.get());
  Worker::stop_all(all, std::chrono::seconds(options_.limits.grace_seconds));
}

void Service::take_up() {
  if (!workspace_) return;
  std::int64_t count = 0;
  for (const auto& each : workspace_->unfinished()) {
    try {
      auto request = read_saved(each.request, each.job.status.notes, options_.limits);
      check_model(request, model(request.model), options_.limits);
      const auto job = std::make_shared<Job>(each.job.id, std::make_shared<const JobRequest>(std::move(request)),
                                             each.job.client, each.job.owner, workspace_.get(), each.job.created);
      job->take_up(each.job, each.stand);
      job->done_steps = each.done_steps;
      job->done_evaluations = each.done_evaluations;
      const auto next = static_cast<std::int64_t>(each.job.status.results.size());
      if (next >= job->count) {
        job->finish(JobState::done);
      } else {
        queue_.enter(job, next, true);
      }
      ++count;
    } catch (const Error& error) {
      log().warn("job {} cannot go on: {}", each.job.id, error.what());
      workspace_->give_up(each.job.id, error.what());
    }
  }
  if (count > 0) log().info("{} jobs of an earlier run go on", count);
}

}  // namespace tessera::server
