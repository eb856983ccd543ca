#include "server/job_queue.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "server/http_message.h"

namespace tessera::server {
namespace {

constexpr std::size_t kMostPosted = 64, kMostPostedOfOne = 16;
constexpr std::size_t kMostKept = 4096;  // jobs, whatever they hold

}  // namespace

std::string new_job_id() {
  thread_local std::random_device device;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", static_cast<std::uint32_t>(device()));
  return id;
}

std::shared_ptr<Job> JobQueue::submit(std::shared_ptr<const JobRequest> request, const std::string& client) {
  auto job = std::make_shared<Job>(new_job_id(), std::move(request), client);
  enter(job);
  return job;
}

void JobQueue::require_room(std::uint64_t own) {
  const std::lock_guard lock(mutex_);
  require_room_locked(own);
}

void JobQueue::require_room_locked(std::uint64_t own) {
  if (closed_) throw HttpError(503, "the server is stopping", {}, 5);
  drop_ended();
  std::size_t count = 0;
  std::uint64_t bytes = own;
  for (const auto& turn : turns_) {
    for (const auto& entry : turn.entries) {
      ++count;
      bytes += entry.job->request_bytes;
    }
  }
  if (count >= static_cast<std::size_t>(limits_.queue) ||
      (count > 0 && bytes > static_cast<std::uint64_t>(limits_.queue_mib) << 20)) {
    metrics_.add("tessera_jobs_refused_total");
    throw HttpError(429, fmt::format("the queue is full: {} jobs wait, expected room for one more", count), {},
                    retry_seconds());
  }
}

void JobQueue::enter(const std::shared_ptr<Job>& job, std::int64_t next, bool taken_up) {
  const std::lock_guard lock(mutex_);
  if (!taken_up) require_room_locked(job->request_bytes);
  job->sequence = ++sequence_;
  jobs_[job->id] = job;
  ids_.push_back(job->id);
  auto turn = std::find_if(turns_.begin(), turns_.end(), [&](const Turn& each) { return each.client == job->client; });
  if (turn == turns_.end()) turn = turns_.insert(turns_.end(), Turn{job->client, {}});
  turn->entries.push_back({job, next});
  metrics_.add("tessera_jobs_submitted_total", fmt::format("verb=\"{}\"", job->verb));
  report_waiting();
  work_.notify_all();
}

std::shared_ptr<Job> JobQueue::find(const std::string& id) {
  sweep();
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Job>> JobQueue::jobs() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Job>> all;
  for (const auto& id : ids_) all.push_back(jobs_.at(id));
  return all;
}

std::int64_t JobQueue::position(const Job& job) const {
  const std::lock_guard lock(mutex_);
  // Turns go round: the n-th job of a client comes after n - 1 rounds and the clients before it in this one.
  for (std::size_t t = 0; t < turns_.size(); ++t) {
    for (std::size_t n = 0; n < turns_[t].entries.size(); ++n) {
      if (turns_[t].entries[n].job.get() != &job) continue;
      std::size_t before = 0;
      for (std::size_t other = 0; other < turns_.size(); ++other) {
        before += std::min(turns_[other].entries.size(), n + (other < t ? 1 : 0));
      }
      return static_cast<std::int64_t>(before) + 1;
    }
  }
  return 0;
}

std::size_t JobQueue::waiting() const {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& turn : turns_) count += turn.entries.size();
  return count;
}

bool JobQueue::quiet() const {
  const std::lock_guard lock(mutex_);
  return turns_.empty() && busy_ == 0;
}

bool JobQueue::cancel(Job& job) {
  if (!job.cancel()) return false;
  if (is_final(job.state())) metrics_.add("tessera_jobs_total", "state=\"cancelled\"");
  return true;
}

void JobQueue::done() {
  const std::lock_guard lock(mutex_);
  --busy_;
}

void JobQueue::drop_ended() {
  for (auto& turn : turns_) {
    std::erase_if(turn.entries, [&](const Entry& entry) {
      if (entry.job->cancel_requested() && entry.job->finish(JobState::cancelled)) {
        metrics_.add("tessera_jobs_total", "state=\"cancelled\"");
      }
      return is_final(entry.job->state());
    });
  }
  std::erase_if(turns_, [](const Turn& turn) { return turn.entries.empty(); });
}

bool JobQueue::has_job_for(int worker) const {
  return std::any_of(turns_.begin(), turns_.end(), [&](const Turn& turn) {
    return std::any_of(turn.entries.begin(), turn.entries.end(),
                       [&](const Entry& each) { return each.is_for(worker); });
  });
}

Slice JobQueue::next_of(Turn& turn, const std::deque<Entry>::iterator& entry, int worker) {
  auto images = std::min(limits_.batch, entry->job->count - entry->next);
  // What an earlier run had begun is gone on with as it was.
  const auto& stand = entry->job->stand;
  if (stand.count > 0 && stand.first == entry->next) images = std::min(stand.count, entry->job->count - entry->next);
  const Slice slice{entry->job, entry->next, images};
  entry->next += slice.count;
  entry->worker = worker;
  if (entry->next >= entry->job->count) turn.entries.erase(entry);
  return slice;
}

std::size_t JobQueue::share_of(int worker) const {
  std::size_t jobs = 0;
  for (const auto& turn : turns_) {
    for (const auto& entry : turn.entries) jobs += entry.is_for(worker) ? 1 : 0;
  }
  const auto workers = static_cast<std::size_t>(idle_) + 1;
  return idle_ == 0 ? jobs : (jobs + workers - 1) / workers;
}

void JobQueue::report_waiting() {
  std::size_t count = 0;
  for (const auto& turn : turns_) count += turn.entries.size();
  metrics_.set("tessera_jobs_waiting", static_cast<double>(count));
}

std::vector<Slice> JobQueue::take(std::chrono::milliseconds wait, int worker) {
  std::unique_lock lock(mutex_);
  const auto has_work = [&] {
    drop_ended();
    return !posted_.empty() || has_job_for(worker);
  };
  if (!has_work()) {
    ++idle_;
    const bool found = work_.wait_for(lock, wait, has_work);
    if (found && has_job_for(worker) && limits_.gather_ms > 0) {
      work_.wait_for(lock, std::chrono::milliseconds(limits_.gather_ms), [&] { return closed_ || !posted_.empty(); });
      drop_ended();
    }
    --idle_;
  }
  const auto mine = [&](Turn& turn) {
    return std::find_if(turn.entries.begin(), turn.entries.end(),
                        [&](const Entry& each) { return each.is_for(worker); });
  };
  auto turn = std::find_if(turns_.begin(), turns_.end(), [&](Turn& each) { return mine(each) != each.entries.end(); });
  if (turn == turns_.end()) return {};
  ++busy_;
  const auto most = share_of(worker);
  std::vector<Slice> batch = {next_of(*turn, mine(*turn), worker)};
  const auto key = batch[0].job->join_key;
  auto room = limits_.batch - batch[0].count;
  std::rotate(turn, turn + 1, turns_.end());
  // Others ride along without giving up their own turn.
  for (bool found = batch[0].job->stand.count == 0; found && room > 0 && batch.size() < most;) {
    found = false;
    for (auto& each : turns_) {
      const auto entry = mine(each);
      if (entry == each.entries.end()) continue;
      if (entry->job == batch.front().job || entry->job->join_key != key || entry->job->stand.count > 0 ||
          std::min(limits_.batch, entry->job->count - entry->next) > room) {
        continue;
      }
      batch.push_back(next_of(each, entry, worker));
      room -= batch.back().count;
      found = true;
      if (room == 0 || batch.size() >= most) break;
    }
  }
  std::erase_if(turns_, [](const Turn& each) { return each.entries.empty(); });
  report_waiting();
  return batch;
}

std::vector<Slice> JobQueue::take_small(const std::function<bool(Job& job)>& small, int worker) {
  const std::lock_guard lock(mutex_);
  drop_ended();
  std::vector<Slice> batch;
  if (idle_ > 0) return batch;
  auto room = limits_.batch;
  std::size_t first = 0;  // turn of the first
  for (std::size_t t = 0; t < turns_.size(); ++t) {
    auto& entries = turns_[t].entries;
    for (auto entry = entries.begin(); entry != entries.end() && room > 0;) {
      auto& job = *entry->job;
      const bool fits = entry->is_for(worker) && entry->next == 0 && job.stand.count == 0 && job.count <= room;
      if (!fits || (!batch.empty() && job.join_key != batch[0].job->join_key) || !small(job)) {
        ++entry;
        continue;
      }
      if (batch.empty()) first = t;
      room -= job.count;
      batch.push_back({entry->job, 0, job.count});
      entry = entries.erase(entry);
    }
  }
  if (batch.empty()) return batch;
  ++busy_;
  // Whoever was served is last in the next round; others have ridden along.
  auto served = std::move(turns_[first]);
  turns_.erase(turns_.begin() + static_cast<std::ptrdiff_t>(first));
  turns_.push_back(std::move(served));
  std::erase_if(turns_, [](const Turn& turn) { return turn.entries.empty(); });
  report_waiting();
  return batch;
}

void JobQueue::put_back(const Slice& slice, int worker) {
  const std::lock_guard lock(mutex_);
  auto turn =
      std::find_if(turns_.begin(), turns_.end(), [&](const Turn& each) { return each.client == slice.job->client; });
  if (turn == turns_.end()) turn = turns_.insert(turns_.end(), Turn{slice.job->client, {}});
  const auto entry = std::find_if(turn->entries.begin(), turn->entries.end(),
                                  [&](const Entry& each) { return each.job == slice.job; });
  if (entry != turn->entries.end()) {
    entry->next = slice.first;
  } else {
    turn->entries.push_front({slice.job, slice.first, worker});
  }
}

void JobQueue::post(Posted task) {
  const std::lock_guard lock(mutex_);
  if (closed_) throw HttpError(503, "the server is stopping", {}, 5);
  std::erase_if(posted_, [](const Posted& each) { return each.wanted && !each.wanted(); });
  const auto own =
      std::count_if(posted_.begin(), posted_.end(), [&](const Posted& each) { return each.client == task.client; });
  if (posted_.size() >= kMostPosted || static_cast<std::size_t>(own) >= kMostPostedOfOne) {
    throw HttpError(429, fmt::format("{} requests of this kind wait already, expected fewer", posted_.size()), {}, 1);
  }
  shares_.arrives(task.client);
  posted_.push_back(std::move(task));
  work_.notify_all();
}

void JobQueue::run_posted(Worker& by, const std::vector<std::string>& beside, std::int64_t most_cells) {
  constexpr double kAhead = 0.25;  // seconds that posted work may be ahead of the job that it interrupts
  for (;;) {
    Posted task;
    {
      const std::lock_guard lock(mutex_);
      if (idle_ > 0 && !beside.empty()) return;
      auto next = posted_.end();
      for (auto each = posted_.begin(); each != posted_.end(); ++each) {
        if (most_cells >= 0 && each->cells > most_cells) continue;
        if (next == posted_.end() || shares_.of(each->client) < shares_.of(next->client)) next = each;
      }
      if (next == posted_.end()) return;
      double least = std::numeric_limits<double>::infinity();
      for (const auto& client : beside) least = std::min(least, shares_.of(client));
      if (shares_.of(next->client) > least + kAhead) return;
      task = std::move(*next);
      posted_.erase(next);
      shares_.serve(task.client);
    }
    if (task.wanted && !task.wanted()) continue;
    const auto begin = Clock::now();
    task.run(by);
    const std::lock_guard lock(mutex_);
    shares_.charge(task.client, std::chrono::duration<double>(Clock::now() - begin).count());
  }
}

void JobQueue::note_fill(const std::vector<std::string>& clients, double seconds) {
  const std::lock_guard lock(mutex_);
  for (const auto& client : clients) {
    shares_.arrives(client);
    shares_.charge(client, seconds / static_cast<double>(clients.size()));
  }
}

void JobQueue::sweep(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto oldest = now - std::chrono::seconds(limits_.keep_seconds);
  std::uint64_t bytes = 0;
  std::size_t kept = 0;
  // From the newest: what comes after the bound is reached goes.
  std::deque<std::string> ids;
  for (auto id = ids_.rbegin(); id != ids_.rend(); ++id) {
    const auto& job = jobs_.at(*id);
    if (is_final(job->state())) {
      const auto own = job->result_bytes();
      if (job->finished() < oldest || bytes + own > static_cast<std::uint64_t>(limits_.results_mib) << 20 ||
          kept >= kMostKept) {
        jobs_.erase(*id);
        continue;
      }
      bytes += own;
      ++kept;
    }
    ids.push_front(*id);
  }
  ids_ = std::move(ids);
  metrics_.set("tessera_results_bytes", static_cast<double>(bytes));
  metrics_.set("tessera_jobs_kept", static_cast<double>(ids_.size()));
}

void JobQueue::note_job_seconds(double seconds) {
  const std::lock_guard lock(mutex_);
  job_seconds_ += (seconds - job_seconds_) / 8;
}

int JobQueue::retry_seconds() const {
  return static_cast<int>(std::clamp(std::ceil(job_seconds_), 1.0, 120.0));
}

void JobQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  work_.notify_all();
}

bool JobQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

std::size_t JobQueue::end_waiting(JobState state, const std::string& error, bool interrupted) {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (auto& turn : turns_) {
    for (auto& entry : turn.entries) count += entry.job->finish(state, error, interrupted);
  }
  metrics_.add("tessera_jobs_total", fmt::format("state=\"{}\"", to_string(state)), static_cast<double>(count));
  turns_.clear();
  metrics_.set("tessera_jobs_waiting", 0);
  return count;
}

}  // namespace tessera::server
