/// /api/v1/jobs/{id}/unmasking/{k}: how a result was filled, as an animated WebP.
#include <algorithm>
#include <set>

#include "image/animation.h"
#include "runtime/wanted.h"
#include "server/query.h"
#include "server/service.h"

namespace tessera::server {
namespace {

constexpr std::int64_t kMostFrames = 64, kHeldMilliseconds = 1200;  // the last frame stays

/// The steps after which frames are shown: so many of those at which something was filled, the last among them.
std::vector<std::int32_t> shown_steps(const std::vector<std::int32_t>& order, std::int64_t frames) {
  std::set<std::int32_t> all(order.begin(), order.end());
  all.insert(0);
  const std::vector<std::int32_t> steps(all.begin(), all.end());
  const auto count = std::min(frames, static_cast<std::int64_t>(steps.size()));
  std::vector<std::int32_t> shown;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto last = static_cast<std::int64_t>(steps.size()) - 1;
    shown.push_back(steps[static_cast<std::size_t>(count == 1 ? last : i * last / (count - 1))]);
  }
  return shown;
}

HttpResponse unmasking(Service& service, const Call& call) {
  const auto frames = query_whole(call, "frames", 24, 2, kMostFrames);
  const auto milliseconds = query_whole(call, "milliseconds", 90, 20, 2000);
  const auto job = service.job(call);
  const auto status = job->status();
  const auto k = whole_capture(call, "k");
  if (k >= static_cast<std::int64_t>(status.results.size())) {
    throw HttpError(404, fmt::format("the job is {} and has {} results, expected a number below that",
                                     to_string(status.state), status.results.size()));
  }
  const auto result = status.results[static_cast<std::size_t>(k)];
  const auto steps = shown_steps(result->order, frames);
  const auto cells = status.h * status.w * static_cast<std::int64_t>(steps.size());
  const auto model = service.model(job->model).name;
  auto pictures = service.worker().run_soon({call.client, cells, call.request.gone}, [=](Backend& backend) {
    std::vector<Image> made;
    for (const auto step : steps) {
      check_wanted();
      TokenArray grid{status.h, status.w, result->tokens};
      for (std::size_t i = 0; i < grid.code.size(); ++i) {
        if (result->order[i] > step) grid.code[i] = -1;
      }
      made.push_back(backend.decode(model, grid));
    }
    return made;
  });
  const auto held = kHeldMilliseconds / milliseconds;
  for (std::int64_t i = 0; i < held; ++i) pictures.push_back(pictures.back());
  HttpResponse response;
  response.content_type = "image/webp";
  response.headers["Content-Disposition"] =
      fmt::format("inline; filename=\"tessera-{}-{}-unmasking.webp\"", job->id.substr(0, 8), k);
  response.body = encode_webp_animation(pictures, static_cast<int>(milliseconds));
  return response;
}

}  // namespace

void add_unmasking_routes(std::vector<Route>& routes) {
  routes.push_back({"GET", "/api/v1/jobs/{id}/unmasking/{k}",
                    "How a result was filled, as an animated WebP; ?frames=, ?milliseconds= of each", "", "image/webp",
                    200, false, unmasking});
}

}  // namespace tessera::server
