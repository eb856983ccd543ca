#include "server/job.h"

#include <algorithm>

#include "runtime/seconds_since.h"

namespace tessera::server {

std::string to_string(JobState state) {
  switch (state) {
    case JobState::queued:
      return "queued";
    case JobState::running:
      return "running";
    case JobState::done:
      return "done";
    case JobState::failed:
      return "failed";
    case JobState::cancelled:
      return "cancelled";
  }
  return {};
}

Job::Job(std::string own_id, std::shared_ptr<const JobRequest> given, std::string own_client)
    : id(std::move(own_id)),
      client(std::move(own_client)),
      verb(given->verb),
      model(given->model),
      record(given->record),
      command(given->command),
      format(given->format),
      join_key(given->join_key()),
      seed(given->seed),
      count(given->count),
      previews(given->previews),
      request_bytes(given->bytes()),
      request_(std::move(given)) {
  status_.notes = request_->notes;
}

JobStatus Job::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

JobState Job::state() const {
  const std::lock_guard lock(mutex_);
  return status_.state;
}

std::shared_ptr<const JobRequest> Job::request() const {
  const std::lock_guard lock(mutex_);
  return request_;
}

void Job::changed() {
  ++version_;
  changed_.notify_all();
}

bool Job::cancel() {
  {
    const std::lock_guard lock(mutex_);
    if (is_final(status_.state)) return false;
    cancel_requested_ = true;
    if (status_.state == JobState::running) return true;
  }
  finish(JobState::cancelled);
  return true;
}

bool Job::wait_final(Clock::time_point until) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, until, [&] { return is_final(status_.state); });
}

std::uint64_t Job::result_bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& result : status_.results) {
    sum += result->picture.pixels.size() + result->picture.rgba.size() + (result->tokens.size() + result->order.size()) * sizeof(std::int32_t);
  }
  return sum;
}

Clock::time_point Job::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

bool Job::look(View& seen, Clock::time_point until) const {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, until, [&] { return version_ != seen.version; })) return false;
  seen.version = version_;
  seen.status = status_;
  seen.cells.clear();
  seen.preview.clear();
  if (cells_version_ != seen.cells_version) {
    seen.cells_version = cells_version_;
    seen.cells = cells_;
  }
  if (preview_version_ != seen.preview_version) {
    seen.preview_version = preview_version_;
    seen.preview_first = preview_first_;
    seen.preview = preview_;
  }
  return true;
}

void Job::begin(const PreparedJob& ready) {
  const std::lock_guard lock(mutex_);
  if (status_.state != JobState::queued) return;
  begun_ = Clock::now();
  status_.state = JobState::running;
  status_.h = ready.h;
  status_.w = ready.w;
  status_.factor = ready.factor;
  status_.area = ready.area;
  status_.offset_x = ready.offset_x;
  status_.offset_y = ready.offset_y;
  status_.effective = ready.effective;
  status_.notes.insert(status_.notes.end(), ready.notes.begin(), ready.notes.end());
  for (const auto& grid : ready.start) cells_.insert(cells_.end(), grid.begin(), grid.end());
  order_.assign(cells_.size(), 0);
  ++cells_version_;
  changed();
}

void Job::advance(std::int64_t first, std::span<const std::int32_t> tokens, std::int64_t step, std::int64_t steps,
                  std::int64_t evaluations) {
  const std::lock_guard lock(mutex_);
  if (is_final(status_.state)) return;
  status_.step = step;
  status_.steps = steps;
  status_.evaluations = evaluations;
  status_.seconds = seconds_since(begun_);
  if (status_.seconds > 0) status_.rate = static_cast<double>(step) / status_.seconds;
  if (status_.rate > 0) status_.eta_seconds = static_cast<double>(steps - step) / status_.rate;
  const auto offset = static_cast<std::size_t>(first * status_.h * status_.w);
  bool differs = false;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (cells_[offset + i] == tokens[i]) continue;
    cells_[offset + i] = tokens[i];
    order_[offset + i] = static_cast<std::int32_t>(step);
    differs = true;
  }
  if (differs) ++cells_version_;
  changed();
}

void Job::show_preview(std::int64_t first, std::vector<Image> images) {
  const std::lock_guard lock(mutex_);
  preview_first_ = first;
  preview_ = std::move(images);
  ++preview_version_;
  changed();
}

std::vector<std::int32_t> Job::order_of(std::int64_t image) const {
  const std::lock_guard lock(mutex_);
  const auto cells = status_.h * status_.w;
  const auto begin = order_.begin() + static_cast<std::ptrdiff_t>(image * cells);
  return {begin, begin + static_cast<std::ptrdiff_t>(cells)};
}

void Job::add_result(std::shared_ptr<const JobResult> result) {
  const std::lock_guard lock(mutex_);
  if (is_final(status_.state)) return;
  status_.results.push_back(std::move(result));
  changed();
}

bool Job::finish(JobState state, const std::string& error) {
  const std::lock_guard lock(mutex_);
  if (is_final(status_.state)) return false;
  finished_ = Clock::now();
  if (status_.state == JobState::running) status_.seconds = std::chrono::duration<double>(finished_ - begun_).count();
  status_.state = state;
  status_.error = error;
  status_.eta_seconds = state == JobState::done ? 0 : -1;
  request_.reset();
  if (state != JobState::done) status_.results.clear();
  changed();
  return true;
}

}  // namespace tessera::server
