#include "server/events.h"

#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "server/base64.h"
#include "server/job_json.h"
#include "server/job_queue.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kSilence{15};

std::string event(const char* name, const json& data) {
  return fmt::format("event: {}\ndata: {}\n\n", name, data.dump(-1, ' ', false, json::error_handler_t::replace));
}

/// [count][h * w], null where open.
json cells_json(const std::vector<std::int32_t>& cells, std::int64_t count) {
  const auto each = cells.size() / static_cast<std::size_t>(count);
  json images = json::array();
  for (std::size_t n = 0; n < static_cast<std::size_t>(count); ++n) {
    json grid = json::array();
    for (std::size_t i = 0; i < each; ++i) {
      const auto code = cells[n * each + i];
      grid.push_back(code < 0 ? json() : json(code));
    }
    images.push_back(std::move(grid));
  }
  return images;
}

}  // namespace

JobEvents::JobEvents(std::shared_ptr<Job> job, const JobQueue& queue) : job_(std::move(job)), queue_(queue) {
  ++job_->watchers;
}

JobEvents::~JobEvents() {
  --job_->watchers;
}

std::optional<std::string> JobEvents::next(std::chrono::milliseconds wait) {
  if (ended_) return {};
  const auto step = seen_.step;
  if (!job_->look(seen_, Clock::now() + wait)) {
    if (Clock::now() - spoken_ < kSilence) return std::string();
    spoken_ = Clock::now();
    return ": waiting\n\n";
  }
  spoken_ = Clock::now();
  const auto& status = seen_.status;
  std::string text;
  if (step < 0 && status.state == JobState::queued) text += event("queued", job_json(*job_, status, queue_));
  if (status.step != step && status.state != JobState::queued) {
    seen_.step = status.step;
    text += event("progress", progress_json(status));
  }
  if (!seen_.cells.empty()) {
    text += event(
        "cells",
        {{"step", status.step}, {"grid", {status.h, status.w}}, {"tokens", cells_json(seen_.cells, job_->count)}});
  }
  const auto add_images = [&](const char* name, std::int64_t first, const std::vector<Image>& pictures) {
    if (pictures.empty() || is_final(status.state)) return;
    json images = json::array();
    for (const auto& image : pictures) images.push_back(to_data_uri("image/png", encode_image(image, "png")));
    text += event(name, {{"step", status.step}, {"first", first}, {"images", std::move(images)}});
  };
  add_images("preview", seen_.preview_first, seen_.preview);
  add_images("guess", seen_.guess_first, seen_.guess);
  if (is_final(status.state)) {
    ended_ = true;
    text += event(to_string(status.state).c_str(), job_json(*job_, status, queue_));
  }
  return text;
}

}  // namespace tessera::server
