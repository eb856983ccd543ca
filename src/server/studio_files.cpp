/// The studio's page and what it loads, out of the program itself.
#include <map>

#include "checkpoint/sha256.h"
#include "server/embedded_files.h"
#include "server/service.h"

namespace tessera::server {
namespace {

std::string type_of(const std::string& path) {
  static const std::map<std::string, std::string> types = {{"html", "text/html; charset=utf-8"},
                                                           {"css", "text/css; charset=utf-8"},
                                                           {"js", "text/javascript; charset=utf-8"},
                                                           {"mjs", "text/javascript; charset=utf-8"},
                                                           {"svg", "image/svg+xml"},
                                                           {"png", "image/png"},
                                                           {"webp", "image/webp"},
                                                           {"ico", "image/x-icon"},
                                                           {"json", "application/json"},
                                                           {"webmanifest", "application/manifest+json"},
                                                           {"woff2", "font/woff2"},
                                                           {"txt", "text/plain; charset=utf-8"}};
  const auto found = types.find(path.substr(path.rfind('.') + 1));
  return found == types.end() ? "application/octet-stream" : found->second;
}

const std::string& tag_of(const std::string& path, std::string_view bytes) {
  static std::mutex mutex;
  static std::map<std::string, std::string> tags;
  const std::lock_guard lock(mutex);
  auto& tag = tags[path];
  if (tag.empty()) {
    Sha256 hash;
    hash.update(bytes);
    tag = fmt::format("\"{}\"", hash.finish().substr(0, 32));
  }
  return tag;
}

HttpResponse file(const Call& call, const std::string& path) {
  // A look-up among the embedded names: no path of the host is ever formed.
  const auto found = embedded_files().find(path);
  if (found == embedded_files().end()) throw HttpError(404, "no such file of the studio");
  HttpResponse response;
  response.content_type = type_of(path);
  response.headers["ETag"] = tag_of(path, found->second);
  response.headers["Cache-Control"] = "no-cache";
  response.headers["Content-Security-Policy"] =
      "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
      "frame-ancestors 'none'";
  if (call.request.header("if-none-match") == response.headers["ETag"]) {
    response.status = 304;
  } else {
    response.body = found->second;
  }
  return response;
}

}  // namespace

void add_studio_routes(std::vector<Route>& routes) {
  routes.push_back({"GET", "/", "The studio", "", "text/html", 200, true,
                    [](Service&, const Call& call) { return file(call, "index.html"); }});
  routes.push_back({"GET", "/studio/{path...}", "What the studio loads", "", "*/*", 200, true,
                    [](Service&, const Call& call) { return file(call, call.captures.at("path")); }});
}

}  // namespace tessera::server
