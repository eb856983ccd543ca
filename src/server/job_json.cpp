#include "server/job_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "image/record_text.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "server/job_queue.h"

namespace tessera::server {

using nlohmann::json;

json progress_json(const JobStatus& status) {
  return {{"step", status.step},
          {"steps", status.steps},
          {"evaluations", status.evaluations},
          {"rate", status.rate},
          {"eta_seconds", status.eta_seconds < 0 ? json() : json(status.eta_seconds)},
          {"seconds", status.seconds}};
}

json job_json(const Job& job, const JobStatus& status, const JobQueue& queue) {
  const auto url = "/api/v1/jobs/" + job.id;
  const auto label = job.label();
  const auto ended = job.ended();
  auto value = progress_json(status);
  value.update(
      {{"id", job.id},
       {"url", url},
       {"events", url + "/events"},
       {"verb", job.verb},
       {"model", job.model},
       {"state", to_string(status.state)},
       {"count", job.count},
       {"position", status.state == JobState::queued ? queue.position(job) : 0},
       {"created", job.created},
       {"ended", ended > 0 ? json(ended) : json()},
       {"name", label.name.empty() ? json() : json(label.name)},
       {"starred", label.starred},
       {"deleted", label.deleted > 0},
       {"error", status.error.empty() ? json() : json(status.error)},
       {"notes", status.notes},
       {"request", read_json(job.record, "record")},
       {"effective", status.effective.empty() ? json() : read_json(status.effective, "record")},
       {"command", job.command.empty() ? json() : json(job.command)},
       {"grid", status.h > 0 ? json({status.h, status.w}) : json()},
       {"factor", status.factor > 0 ? json(status.factor) : json()},
       {"area", status.h > 0 ? json({status.area.x, status.area.y, status.area.width, status.area.height}) : json()},
       {"offset", status.h > 0 ? json({status.offset_x, status.offset_y}) : json()}});
  auto results = json::array();
  for (std::size_t k = 0; k < status.results.size(); ++k) {
    const auto& result = *status.results[k];
    results.push_back({{"url", fmt::format("{}/images/{}", url, k)},
                       {"tokens_url", fmt::format("{}/tokens/{}", url, k)},
                       {"seed", job.seed},
                       {"image_number", k},
                       {"width", result.width},
                       {"height", result.height}});
  }
  value["results"] = std::move(results);
  return value;
}

std::string media_type(const std::string& format) {
  return "image/" + format;
}

namespace {

/// What goes into a result's PNG.
PngText text_of(const Job& job, const std::string& effective, std::size_t index, const json& scaled = {}) {
  auto record = read_json(job.record, "record");
  if (!effective.empty()) record.update(read_json(effective, "record"));
  record["command"] = job.command;
  record["job"] = job.id;
  record["image"] = index;
  if (!scaled.is_null()) record["scaled"] = scaled;
  return record_text(record.dump());
}

}  // namespace

std::string result_bytes(const Job& job, const std::string& effective, const JobResult& result, std::size_t index,
                         const std::string& format) {
  // A file of the workspace has its record already.
  if (result.picture.width == 0 && format == "png" && !result.file.empty()) return result.file_bytes();
  return encode_image(result.whole_picture(), format, text_of(job, effective, index));
}

Image scaled_to(const Image& image, std::int64_t factor, std::int64_t width, std::int64_t height) {
  const auto scale = std::max(static_cast<double>(width) / image.width, static_cast<double>(height) / image.height);
  const auto cover = [&](int side) { return static_cast<std::int64_t>(std::llround(side * scale)); };
  const auto wide = cover(image.width), high = cover(image.height);
  const auto cell = static_cast<double>(factor) * scale;
  if (static_cast<double>(wide - width) <= cell && static_cast<double>(high - height) <= cell) {
    return resize_exact(image, static_cast<int>(width), static_cast<int>(height));
  }
  return crop(resize_exact(image, static_cast<int>(wide), static_cast<int>(high)), static_cast<int>((wide - width) / 2),
              static_cast<int>((high - height) / 2), static_cast<int>(width), static_cast<int>(height));
}

std::string scaled_bytes(const Job& job, const JobStatus& status, std::size_t index, const std::string& format,
                         std::int64_t width, std::int64_t height) {
  const auto& result = *status.results.at(index);
  if (width == 0 || height == 0 || (width == result.width && height == result.height)) {
    return result_bytes(job, status, index, format);
  }
  const auto picture = scaled_to(result.whole_picture(), std::max<std::int64_t>(1, status.factor), width, height);
  return encode_image(picture, format, text_of(job, status.effective, index, {width, height}));
}

std::string result_bytes(const Job& job, const JobStatus& status, std::size_t index, const std::string& format) {
  return result_bytes(job, status.effective, *status.results.at(index), index, format);
}

}  // namespace tessera::server
