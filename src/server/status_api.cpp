/// /healthz, /metrics, /api/v1/openapi.json.
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "server/service.h"

namespace tessera::server {
namespace {

HttpResponse health(Service& service, const Call&) {
  const bool stopping = service.queue().closed();
  return json_response({{"status", stopping ? "stopping" : "ok"}, {"waiting", service.queue().waiting()}},
                       stopping ? 503 : 200);
}

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

HttpResponse metrics(Service& service, const Call&) {
  service.queue().sweep();
  service.metrics().set("tessera_jobs_waiting", static_cast<double>(service.queue().waiting()));
  service.metrics().set("tessera_resident_bytes", resident_bytes());
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = service.metrics().text();
  return response;
}

HttpResponse document(Service& service, const Call&) {
  return json_response(openapi_document(service.routes(), service.limits()));
}

}  // namespace

void add_status_routes(std::vector<Route>& routes) {
  routes.push_back({"GET", "/healthz", "Whether the service takes jobs", "", "Health", 200, true, health});
  routes.push_back({"GET", "/metrics", "Counts and sizes, Prometheus text", "", "text/plain", 200, false, metrics});
  routes.push_back({"GET", "/api/v1/openapi.json", "This document", "", "application/json", 200, false, document});
}

}  // namespace tessera::server
