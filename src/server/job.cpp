#include "server/job.h"

#include <algorithm>

#include "checkpoint/sha256.h"
#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/seconds_since.h"

namespace tessera::server {
namespace {

/// What a job that is kept is told where a stop interrupts it.
constexpr const char* kGoesOn = "the server was stopped; started again, it goes on with the job";

}  // namespace

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

std::vector<std::string> job_state_names() {
  std::vector<std::string> names;
  for (const auto state :
       {JobState::queued, JobState::running, JobState::done, JobState::failed, JobState::cancelled}) {
    names.push_back(to_string(state));
  }
  return names;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string JobResult::file_bytes() const {
  auto bytes = read_file(file);
  if (hash.empty()) return bytes;
  Sha256 found;
  found.update(bytes);
  require(found.finish() == hash, "{}: changed or damaged", file.string());
  return bytes;
}

Image JobResult::whole_picture() const {
  if (picture.width > 0 || file.empty()) return picture;
  ReadOptions options;
  options.keep_alpha = true;
  const auto bytes = file_bytes();
  return read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, file.string(), options);
}

Job::Job(std::string own_id, std::shared_ptr<const JobRequest> given, std::string own_client, std::string own_owner,
         JobLedger* ledger, double made)
    : id(std::move(own_id)),
      client(std::move(own_client)),
      owner(std::move(own_owner)),
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
      created(made > 0 ? made : seconds_now()),
      ledger_(ledger),
      request_(std::move(given)) {
  status_.notes = request_->notes;
}

Job::Job(StoredJob stored)
    : id(std::move(stored.id)),
      client(std::move(stored.client)),
      owner(std::move(stored.owner)),
      verb(std::move(stored.verb)),
      model(std::move(stored.model)),
      record(std::move(stored.record)),
      command(std::move(stored.command)),
      format(std::move(stored.format)),
      seed(stored.seed),
      count(stored.count),
      previews(false),
      request_bytes(0),
      created(stored.created),
      ledger_(nullptr),
      status_(std::move(stored.status)),
      label_(std::move(stored.label)),
      ended_(stored.ended),
      finished_(Clock::now()) {}

void Job::take_up(const StoredJob& stored, FillStand from) {
  const std::lock_guard lock(mutex_);
  status_ = stored.status;
  status_.state = JobState::queued;
  label_ = stored.label;
  stand = std::move(from);
}

double Job::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

JobLabel Job::label() const {
  const std::lock_guard lock(mutex_);
  return label_;
}

void Job::set_label(const JobLabel& label) {
  const std::lock_guard lock(mutex_);
  label_ = label;
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
    if (is_over()) return false;
    cancel_requested_ = true;
    if (status_.state == JobState::running) return true;
  }
  finish(JobState::cancelled);
  return true;
}

bool Job::wrap_up() {
  const std::lock_guard lock(mutex_);
  if (is_over() || status_.state != JobState::running) return false;
  wrap_up_requested_ = true;
  return true;
}

void Job::add_note(const std::string& note) {
  const std::lock_guard lock(mutex_);
  status_.notes.push_back(note);
}

std::vector<Job::Partial> Job::partials(std::size_t seen) const {
  const std::lock_guard lock(mutex_);
  return {partials_.begin() + static_cast<std::ptrdiff_t>(std::min(seen, partials_.size())), partials_.end()};
}

void Job::add_partial(Partial partial) {
  const std::lock_guard lock(mutex_);
  partials_.push_back(std::move(partial));
  changed();
}

bool Job::wait_final(Clock::time_point until) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, until, [&] { return is_final(status_.state); });
}

std::uint64_t Job::result_bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& result : status_.results) {
    sum += result->picture.pixels.size() + result->picture.rgba.size() +
           (result->tokens.size() + result->order.size()) * sizeof(std::int32_t);
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
  seen.guess.clear();
  if (guess_version_ != seen.guess_version) {
    seen.guess_version = guess_version_;
    seen.guess_first = guess_first_;
    seen.guess = guess_;
  }
  return true;
}

void Job::begin(const PreparedJob& ready) {
  std::unique_lock lock(mutex_);
  if (status_.state != JobState::queued || ending_) return;
  begun_ = Clock::now();
  status_.state = JobState::running;
  status_.h = ready.h;
  status_.w = ready.w;
  status_.factor = ready.factor;
  status_.area = ready.area;
  status_.offset_x = ready.offset_x;
  status_.offset_y = ready.offset_y;
  status_.effective = ready.effective;
  for (const auto& note : ready.notes) {
    const auto& notes = status_.notes;
    if (std::find(notes.begin(), notes.end(), note) == notes.end()) status_.notes.push_back(note);
  }
  for (const auto& grid : ready.start) cells_.insert(cells_.end(), grid.begin(), grid.end());
  order_.assign(cells_.size(), 0);
  // What an earlier run has done.
  const auto each = static_cast<std::size_t>(ready.h * ready.w);
  for (std::size_t k = 0; k < status_.results.size(); ++k) {
    const auto& result = *status_.results[k];
    if (result.tokens.size() != each || result.order.size() != each) continue;
    std::copy(result.tokens.begin(), result.tokens.end(), cells_.begin() + static_cast<std::ptrdiff_t>(k * each));
    std::copy(result.order.begin(), result.order.end(), order_.begin() + static_cast<std::ptrdiff_t>(k * each));
  }
  const auto own = static_cast<std::size_t>(stand.count) * each, before = static_cast<std::size_t>(stand.first) * each;
  if (own > 0 && before + own <= cells_.size() && stand.tokens.size() == own && stand.order.size() == own) {
    const auto offset = static_cast<std::ptrdiff_t>(static_cast<std::size_t>(stand.first) * each);
    std::copy(stand.tokens.begin(), stand.tokens.end(), cells_.begin() + offset);
    std::copy(stand.order.begin(), stand.order.end(), order_.begin() + offset);
  }
  ++cells_version_;
  changed();
  lock.unlock();
  if (ledger_) ledger_->begun(*this);
}

void Job::end_fill() {
  if (ledger_) ledger_->filled(*this);
}

void Job::keep_stand(std::int64_t first, std::int64_t images, std::int64_t step) {
  if (!ledger_) return;
  FillStand now{first, images, step, {}, {}};
  {
    const std::lock_guard lock(mutex_);
    const auto each = status_.h * status_.w;
    const auto part = [&](const std::vector<std::int32_t>& all) {
      return std::vector<std::int32_t>(all.begin() + first * each, all.begin() + (first + images) * each);
    };
    now.tokens = part(cells_);
    now.order = part(order_);
  }
  ledger_->stands(*this, now);
}

void Job::advance(std::int64_t first, std::span<const std::int32_t> tokens, std::int64_t step, std::int64_t steps,
                  std::int64_t evaluations) {
  const std::lock_guard lock(mutex_);
  if (is_over()) return;
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

void Job::show_guess(std::int64_t first, std::vector<Image> images) {
  const std::lock_guard lock(mutex_);
  guess_first_ = first;
  guess_ = std::move(images);
  ++guess_version_;
  changed();
}

std::vector<std::int32_t> Job::order_of(std::int64_t image) const {
  const std::lock_guard lock(mutex_);
  const auto cells = status_.h * status_.w;
  const auto begin = order_.begin() + static_cast<std::ptrdiff_t>(image * cells);
  return {begin, begin + static_cast<std::ptrdiff_t>(cells)};
}

void Job::add_result(std::shared_ptr<const JobResult> result) {
  std::size_t index = 0;
  {
    const std::lock_guard lock(mutex_);
    if (is_over()) return;
    index = status_.results.size();
  }
  // Kept first: what clients have seen is there after a crash.
  if (ledger_) ledger_->has_result(*this, index, *result);
  const std::lock_guard lock(mutex_);
  if (is_over()) return;
  status_.results.push_back(std::move(result));
  changed();
}

bool Job::finish(JobState state, const std::string& error, bool interrupted,
                 const std::function<void(double seconds)>& counted) {
  std::unique_lock lock(mutex_);
  if (is_over()) return false;
  ending_ = true;
  finished_ = Clock::now();
  const auto ended = seconds_now();
  auto status = status_;
  if (status.state == JobState::running) status.seconds = std::chrono::duration<double>(finished_ - begun_).count();
  status.state = state;
  status.error = interrupted && ledger_ ? kGoesOn : error;
  status.eta_seconds = state == JobState::done ? 0 : -1;
  if (status.seconds > 0) status.rate = static_cast<double>(status.step) / status.seconds;
  if (state != JobState::done) status.results.clear();
  // Kept and counted first, as results are: a list of ended jobs has it once it is seen to have ended.
  lock.unlock();
  if (ledger_ && !interrupted) ledger_->finished(*this, status, ended);
  if (counted) counted(status.seconds);
  lock.lock();
  status_ = std::move(status);
  ended_ = ended;
  ending_ = false;
  request_.reset();
  changed();
  return true;
}

}  // namespace tessera::server
