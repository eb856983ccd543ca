/// /api/v1/jobs: submit, look at, watch, cancel; pictures and tokens.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "server/base64.h"
#include "server/events.h"
#include "server/job_json.h"
#include "server/query.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

HttpResponse submit(Service& service, const Call& call) {
  const auto& request = call.request;
  std::vector<FormPart> files;
  json body;
  if (const auto boundary = form_boundary(request.header("content-type")); !boundary.empty()) {
    files = parse_form(request.body, boundary);
    const auto found =
        std::find_if(files.begin(), files.end(), [](const FormPart& part) { return part.name == "request"; });
    if (found == files.end()) throw HttpError(400, "form: expected a part \"request\" with the JSON", "request");
    body = parse_json(found->content, "request");
    files.erase(found);
  } else {
    body = parse_json(request.body);
  }
  const auto job = service.submit(parse_job_request(body, files, service.limits()), call.client);
  auto response = json_response(job_json(*job, job->status(), service.queue()), 202);
  response.headers["Location"] = "/api/v1/jobs/" + job->id;
  return response;
}

HttpResponse show(Service& service, const Call& call) {
  const auto job = service.job(call);
  return json_response(job_json(*job, job->status(), service.queue()));
}

HttpResponse cancel(Service& service, const Call& call) {
  const auto job = service.job(call);
  service.queue().cancel(*job);
  // Within one step: a moment's patience saves the client from asking again.
  job->wait_final(Clock::now() + std::chrono::milliseconds(500));
  return json_response(job_json(*job, job->status(), service.queue()));
}

HttpResponse events(Service& service, const Call& call) {
  HttpResponse response;
  response.content_type = "text/event-stream";
  response.headers["X-Accel-Buffering"] = "no";
  response.events = std::make_unique<JobEvents>(service.job(call), service.queue());
  return response;
}

std::size_t result_index(const JobStatus& status, const Call& call) {
  const auto k = whole_capture(call, "k");
  if (k >= static_cast<std::int64_t>(status.results.size())) {
    throw HttpError(404, fmt::format("the job is {} and has {} results, expected a number below that",
                                     to_string(status.state), status.results.size()));
  }
  return static_cast<std::size_t>(k);
}

/// Pixels that the picture is scaled to; 0: it is not.
std::pair<std::int64_t, std::int64_t> wanted_size(Service& service, const Call& call) {
  const auto& query = call.request.query;
  if (query.count("width") == 0 && query.count("height") == 0) return {0, 0};
  const auto width = query_whole(call, "width", 0, 1, kMaxEditSide);
  const auto height = query_whole(call, "height", 0, 1, kMaxEditSide);
  if (width == 0 || height == 0) refuse(width == 0 ? "width" : "height", "missing, expected both or none");
  const auto most = service.limits().upload_pixels;
  if (width > most / height) refuse("width", "{}x{} pixels, expected at most {} in all", width, height, most);
  return {width, height};
}

HttpResponse image(Service& service, const Call& call) {
  const auto job = service.job(call);
  const auto status = job->status();
  const auto k = result_index(status, call);
  const auto wanted = call.request.query.find("format");
  const auto format = wanted == call.request.query.end() ? job->format : wanted->second;
  const auto formats = picture_formats();
  if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
    refuse("format", "expected one of png, webp, jpeg");
  }
  const auto [width, height] = wanted_size(service, call);
  HttpResponse response;
  const auto encoding = call.request.query.find("encoding");
  if (encoding != call.request.query.end()) {
    if (encoding->second != "base64") refuse("encoding", "expected base64, or none for the bytes");
    return json_response(
        {{"image", to_data_uri(media_type(format), scaled_bytes(*job, status, k, format, width, height))},
         {"format", format}});
  }
  response.headers["Cache-Control"] = "private, max-age=600, immutable";
  response.headers["Content-Disposition"] =
      fmt::format("inline; filename=\"tessera-{}-{}.{}\"", job->id.substr(0, 8), k, format);
  response.content_type = media_type(format);
  response.body = scaled_bytes(*job, status, k, format, width, height);
  return response;
}

HttpResponse tokens(Service& service, const Call& call) {
  const auto job = service.job(call);
  const auto status = job->status();
  const auto& result = *status.results.at(result_index(status, call));
  return json_response({{"tokens", to_json(TokenArray{status.h, status.w, result.tokens})},
                        {"order", to_json(TokenArray{status.h, status.w, result.order})},
                        {"codebook_size", service.model(job->model).codebook_size},
                        {"factor", status.factor},
                        {"area", {status.area.x, status.area.y, status.area.width, status.area.height}},
                        {"offset", {status.offset_x, status.offset_y}}});
}

}  // namespace

void add_job_routes(std::vector<Route>& routes) {
  routes.push_back({"POST", "/api/v1/jobs", "Queues a job; JSON, or a form with the JSON as its part \"request\"",
                    "JobRequest", "Job", 202, false, submit});
  routes.push_back({"GET", "/api/v1/jobs/{id}", "A job as it stands", "", "Job", 200, false, show});
  routes.push_back({"DELETE", "/api/v1/jobs/{id}", "Cancels a job, at the latest after the step it is in", "", "Job",
                    200, false, cancel});
  routes.push_back({"GET", "/api/v1/jobs/{id}/events",
                    "Server-sent events: queued, progress, cells, preview, then done, failed or cancelled", "",
                    "text/event-stream", 200, false, events});
  routes.push_back(
      {"GET", "/api/v1/jobs/{id}/images/{k}",
       "A result's bytes; ?format=png, webp or jpeg; ?width=, ?height= scale it; ?encoding=base64 for JSON", "",
       "image/*", 200, false, image});
  routes.push_back({"GET", "/api/v1/jobs/{id}/tokens/{k}",
                    "A result's codes and the step at which each cell got its own", "", "ResultTokens", 200, false,
                    tokens});
}

}  // namespace tessera::server
