/// The service without its sockets: routes from a request to a response. What http_server.cpp puts on the network.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "server/access.h"
#include "server/audit_log.h"
#include "server/http_message.h"
#include "server/worker.h"
#include "server/workspace.h"

namespace tessera::server {

class Service;

/// A request that has found its route.
struct Call {
  const HttpRequest& request;
  std::map<std::string, std::string> captures;  // by name of the pattern
  std::string client;                           // whose turn it is
};

using Handler = std::function<HttpResponse(Service&, const Call&)>;

/// One route: what it matches and what the OpenAPI document says of it.
struct Route {
  std::string method;
  std::string pattern;  // "/api/v1/jobs/{id}/images/{k}"; {path...} takes the rest
  std::string summary;
  std::string body;    // schema of the request's body; empty: none
  std::string answer;  // schema of the answer's body; or a media type
  int status = 200;    // of success
  bool open = false;   // needs no key
  Handler handler;
};

struct ServiceOptions {
  ServiceLimits limits;
  AccessRules access;
  std::shared_ptr<AuditLog> audit = {};  // none: requests are not noted
  std::filesystem::path workspace = {};  // where jobs are kept; empty: in memory alone
};

class Service {
 public:
  Service(Backend& backend, Metrics& metrics, ServiceOptions options)
      : Service(std::vector<Backend*>{&backend}, metrics, std::move(options)) {}
  /// A worker for each of the backends, which serve the same models. In: at least one.
  Service(const std::vector<Backend*>& backends, Metrics& metrics, ServiceOptions options);

  /// Answers a request; from any thread. Never throws.
  HttpResponse handle(const HttpRequest& request);
  /// What must be answered before a body is read; none: go on. In: the body's length as stated, below 0 where it is
  /// not.
  std::optional<HttpResponse> refuse_early(const HttpRequest& request, std::int64_t content_length);

  /// Takes up what an earlier run has left in the workspace, and works.
  void start();
  /// Finishes what runs and waits within the grace of the limits; reports what is left.
  void stop();

  const std::shared_ptr<AuditLog>& audit() const { return options_.audit; }
  const ServiceLimits& limits() const { return options_.limits; }
  const std::vector<Route>& routes() const { return routes_; }
  JobQueue& queue() { return queue_; }
  /// The first one; what it is to run soon any of them runs.
  Worker& worker() { return *workers_.front(); }
  Metrics& metrics() { return metrics_; }

  /// Other keys from now on, with their quotas. From any thread.
  void set_keys(const AccessRules& rules);

  /// What is served; loaded: by any of the workers.
  std::vector<ModelInfo> models();
  /// A served model; empty: the default. Throws HttpError (404) listing the names.
  ModelInfo model(const std::string& name);
  /// The model that A1111's clients have chosen for all, else the first.
  std::string default_model();
  void set_default_model(const std::string& name);

  /// Names the model, checks that it can do what is asked, and queues the job. Throws HttpError.
  /// partial_images: as Job::want_partials.
  std::shared_ptr<Job> submit(JobRequest request, const std::string& client, int partial_images = 0);
  /// The same, and waits for the end; where the client has gone meanwhile the job is cancelled. Throws HttpError where
  /// it was not done.
  std::shared_ptr<Job> run_to_end(JobRequest request, const Call& call);
  /// In: call.captures has its id. Throws HttpError (404), also where it is another key's.
  std::shared_ptr<Job> job(const Call& call) { return job(call.captures.at("id"), owner_of(call.client)); }
  std::shared_ptr<Job> job(const std::string& id, const std::string& owner = {});
  /// Whose the jobs of a client are: its key's, or everybody's where no keys are asked for.
  std::string owner_of(const std::string& client) const;
  /// Jobs by query, each as it stands, newest first.
  struct Listed {
    std::vector<std::shared_ptr<Job>> jobs;
    std::int64_t next = 0, total = 0;  // as of JobPage
  };
  Listed list(const JobQuery& query);
  void set_label(Job& job, const JobLabel& label);
  /// What was asked, with its pictures. Throws HttpError (404) where it is no longer known.
  SavedRequest request_of(const Job& job);
  /// Null: jobs are kept in memory alone.
  Workspace* workspace() { return workspace_.get(); }

 private:
  /// Out: in client, whose turn the request is.
  HttpResponse answer(const HttpRequest& request, std::string& client);
  std::shared_ptr<const AccessRules> access() const;
  /// Throws HttpError (429) where the client has had what its key allows.
  void require_quota(const JobRequest& request, const ModelInfo& model, const std::string& client);
  void note(const HttpRequest& request, const std::string& client, const HttpResponse& response,
            Clock::time_point begin);
  void take_up();

  const std::vector<Backend*> backends_;
  const ServiceOptions options_;
  Metrics& metrics_;
  std::unique_ptr<Workspace> workspace_;  // outlives the queue and the workers
  JobQueue queue_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Route> routes_;
  mutable std::mutex access_mutex_;
  std::shared_ptr<const AccessRules> access_;  // replaced as a whole
  QuotaBook quotas_;
  std::mutex mutex_;
  std::string chosen_model_;
};

/// Our field's name and that of another interface.
using FieldNames = std::vector<std::pair<std::string, std::string>>;
/// A refusal in the other interface's words.
HttpError renamed(const HttpError& error, const FieldNames& names);

/// The size, nearest in shape to what was asked, that the model makes as well as its own: the shorter side is its own,
/// the longer at most four times that, in whole cells; of an autoregressive model its own size alone. In: pixels, at
/// least 1. Out: width and height.
std::pair<std::int64_t, std::int64_t> well_made_size(const ModelInfo& model, std::int64_t width, std::int64_t height);

/// Throws HttpError (400) naming the field where an answer of this size would be too large: larger than results may be
/// and than the picture that was sent.
void require_deliverable(const JobRequest& request, const ServiceLimits& limits, std::int64_t width,
                         std::int64_t height, const std::string& field);

/// Throws HttpError where this model cannot do what the request asks.
void check_model(const JobRequest& request, const ModelInfo& model, const ServiceLimits& limits);

HttpResponse json_response(const nlohmann::json& value, int status = 200);
/// The refusal in the form of the interface that the path belongs to.
HttpResponse error_response(const std::string& path, const HttpError& error);
/// A number among a path's captures or the query; throws HttpError (404 or 400).
std::int64_t whole_capture(const Call& call, const std::string& name);

// Each in a file of its own.
void add_job_routes(std::vector<Route>& routes);
void add_unmasking_routes(std::vector<Route>& routes);
void add_workspace_routes(std::vector<Route>& routes);
void add_model_routes(std::vector<Route>& routes);
void add_card_routes(std::vector<Route>& routes);
void add_openai_routes(std::vector<Route>& routes);
void add_a1111_routes(std::vector<Route>& routes);
void add_status_routes(std::vector<Route>& routes);
void add_studio_routes(std::vector<Route>& routes);

/// The document of /api/v1/openapi.json.
nlohmann::json openapi_document(const std::vector<Route>& routes, const ServiceLimits& limits);

}  // namespace tessera::server
