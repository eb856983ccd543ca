/// /api/v1/jobs as a list, what people call jobs and do with them, what was asked; /api/v1/project: out and in.
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "server/job_json.h"
#include "server/project_file.h"
#include "server/query.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostListed = 200;
constexpr std::size_t kLongestLabel = 200;

JobQuery query_of(Service& service, const Call& call) {
  JobQuery query;
  query.owner = service.owner_of(call.client);
  query.words = query_text(call, "q");
  query.state = query_text(call, "state");
  const auto states = job_state_names();
  if (!query.state.empty() && std::find(states.begin(), states.end(), query.state) == states.end()) {
    refuse("state", "'{}', expected one of {}", query.state.substr(0, 40), fmt::join(states, ", "));
  }
  query.starred = query_flag(call, "starred");
  query.deleted = query_flag(call, "deleted");
  query.before = query_whole(call, "before", 0, 0, std::numeric_limits<std::int64_t>::max());
  query.limit = query_whole(call, "limit", 50, 1, kMostListed);
  return query;
}

HttpResponse list(Service& service, const Call& call) {
  const auto listed = service.list(query_of(service, call));
  auto jobs = json::array();
  for (const auto& job : listed.jobs) jobs.push_back(job_json(*job, job->status(), service.queue()));
  return json_response(
      {{"jobs", std::move(jobs)}, {"next", listed.next > 0 ? json(listed.next) : json()}, {"total", listed.total}});
}

HttpResponse label(Service& service, const Call& call) {
  const auto job = service.job(call);
  const auto body = parse_json(call.request.body);
  if (!body.is_object()) throw HttpError(400, "body: expected a JSON object");
  auto label = job->label();
  for (const auto& [name, value] : body.items()) {
    if (name == "name") {
      if (!value.is_null() && (!value.is_string() || value.get_ref<const std::string&>().size() > kLongestLabel)) {
        refuse("name", "expected a text of at most {} bytes, or null", kLongestLabel);
      }
      label.name = value.is_null() ? std::string() : value.get<std::string>();
    } else if (name == "starred" || name == "deleted") {
      if (!value.is_boolean()) refuse(name, "expected true or false");
      if (name == "starred") label.starred = value;
      if (name == "deleted") label.deleted = value ? seconds_now() : 0;
    } else {
      throw HttpError(400, "unknown field, expected of name, starred, deleted", name.substr(0, 60));
    }
  }
  service.set_label(*job, label);
  return json_response(job_json(*job, job->status(), service.queue()));
}

HttpResponse asked(Service& service, const Call& call) {
  return json_response(with_pictures(service.request_of(*service.job(call))));
}

Workspace& workspace_of(Service& service) {
  if (!service.workspace())
    throw HttpError(409, "the server was started without --workspace, expected one for projects");
  return *service.workspace();
}

HttpResponse take_out(Service& service, const Call& call) {
  auto& workspace = workspace_of(service);
  auto query = query_of(service, call);
  query.state = to_string(JobState::done);
  query.limit = kMostListed;
  ProjectWriter project(static_cast<std::uint64_t>(service.limits().body_mib) << 20);
  do {
    const auto page = workspace.list(query);
    for (const auto& id : page.ids) {
      const auto stored = workspace.load(id);
      const auto request = workspace.request_of(id);
      if (stored && request) project.add(Job(*stored), *request);
    }
    query.before = page.next;
  } while (query.before > 0);
  if (project.jobs() == 0) throw HttpError(404, "project: no finished job is as asked for");
  HttpResponse response;
  response.content_type = "application/zip";
  response.headers["Content-Disposition"] = "attachment; filename=\"tessera-project.zip\"";
  response.body = project.archive();
  return response;
}

HttpResponse take_in(Service& service, const Call& call) {
  auto& workspace = workspace_of(service);
  auto jobs = read_project(call.request.body, service.limits());
  std::int64_t taken = 0, known = 0;
  for (auto& [job, request] : jobs) {
    job.owner = service.owner_of(call.client);
    job.client = call.client;
    if (auto present = workspace.load(job.id, false)) {
      if (present->owner == job.owner) {
        ++known;
        if (present->label.deleted == 0) continue;
        present->label.deleted = 0;
        workspace.set_label(job.id, present->label, present->record);
        continue;
      }
      job.id = new_job_id();
    }
    workspace.take_in(job, request);
    ++taken;
  }
  workspace.sweep();
  return json_response({{"taken", taken}, {"known", known}});
}

}  // namespace

void add_workspace_routes(std::vector<Route>& routes) {
  routes.push_back({"GET", "/api/v1/jobs",
                    "Jobs, newest first: ?q= words, ?state=, ?starred=true, ?deleted=true, ?limit=, ?before= the next "
                    "of the page before",
                    "", "Jobs", 200, false, list});
  routes.push_back({"PATCH", "/api/v1/jobs/{id}",
                    "Names a job, gives it a star, deletes it (which ends it) or brings it back", "JobLabel", "Job",
                    200, false, label});
  routes.push_back({"GET", "/api/v1/jobs/{id}/request", "What was asked, with its pictures: it can be sent again", "",
                    "JobRequest", 200, false, asked});
  routes.push_back({"GET", "/api/v1/project", "Finished jobs with all their pictures as one zip; ?q=, ?starred=true",
                    "", "application/zip", 200, false, take_out});
  routes.push_back(
      {"POST", "/api/v1/project", "Takes a project in", "application/zip", "ProjectTaken", 200, false, take_in});
}

}  // namespace tessera::server
