/// The jobs that wait, that run and that can still be asked for: bounded, in fair order between clients.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/fair_share.h"
#include "server/job.h"
#include "server/limits.h"
#include "server/metrics.h"

namespace tessera::server {

/// Images first .. first + count - 1 of a job, to be filled at once.
struct Slice {
  std::shared_ptr<Job> job;
  std::int64_t first = 0, count = 0;
};

/// 128 random bits as hexadecimal digits: a job can be found by those who were given its name.
std::string new_job_id();

class Worker;

class JobQueue {
 public:
  JobQueue(const ServiceLimits& limits, Metrics& metrics) : limits_(limits), metrics_(metrics) {}

  /// Takes a job in. client: whose turn it counts as. Throws HttpError: 429 with Retry-After where the queue is full,
  /// 503 where it is closed.
  std::shared_ptr<Job> submit(std::shared_ptr<const JobRequest> request, const std::string& client);
  /// The same for a job that has been made; `next` is the first image that is not there yet. taken_up: from an earlier
  /// run of the program, whatever room there is.
  void enter(const std::shared_ptr<Job>& job, std::int64_t next = 0, bool taken_up = false);
  /// Throws HttpError as submit does, where a request of so many bytes would be refused.
  void require_room(std::uint64_t bytes);
  /// Nothing where there is no such job, or no longer.
  std::shared_ptr<Job> find(const std::string& id);
  /// All that can be asked for, the newest last.
  std::vector<std::shared_ptr<Job>> jobs();
  /// 1: next; 0: it does not wait.
  std::int64_t position(const Job& job) const;
  std::size_t waiting() const;
  /// false: jobs wait, or the worker has not said done() to what it took.
  bool quiet() const;
  /// Cancels a job. Out: false where it was final already.
  bool cancel(Job& job);

  /// A worker's part; `worker` is its number. The next images to fill: clients take turns; a job of more than
  /// limits.batch images gives up its turn after as many. Jobs of other turns with the same join key fill the batch up,
  /// but where other workers are idle no more than this one's share of what waits. A job stays with the worker that
  /// began it. Empty after `wait` without work. An idle worker's first job waits limits.gather_ms for others to join.
  std::vector<Slice> take(std::chrono::milliseconds wait, int worker = 0);
  /// Waiting jobs that `small` accepts, each as a whole, to be done before what the worker is at; those that can be
  /// filled together. Jobs of which a part is done are left. Empty: there is none, or another worker is idle and takes
  /// them. small: must not ask the queue.
  std::vector<Slice> take_small(const std::function<bool(Job& job)>& small, int worker = 0);
  /// Slices that did not fit the batch go first in their clients' next turns.
  void put_back(const Slice& slice, int worker = 0);
  /// What was taken has been run.
  void done();

  /// Work besides the jobs, done before the next batch, between two steps of the present one or between two pieces of
  /// other such work.
  struct Posted {
    std::function<void(Worker& by)> run;
    std::string client;            // whose turn it counts as
    std::int64_t cells = 0;        // how large it is
    std::function<bool()> wanted;  // none: always
  };
  /// Throws HttpError: 429 where too much of it waits, 503 where the queue is closed.
  void post(Posted task);
  /// Runs what was posted, of the client that has had least first. beside: the clients whose job is under way: they
  /// get their share in between, and what is posted by others goes on only until those have had as much. most_cells:
  /// only work up to so large; -1: any. Beside a job nothing is run that an idle worker takes.
  void run_posted(Worker& by, const std::vector<std::string>& beside = {}, std::int64_t most_cells = -1);
  /// Seconds of a job's fill, for the shares.
  void note_fill(const std::vector<std::string>& clients, double seconds);

  /// Forgets finished jobs that are too old, or too much together.
  void sweep(Clock::time_point now = Clock::now());
  /// For Retry-After: how long a job takes, as seen by the worker.
  void note_job_seconds(double seconds);
  /// No more jobs are taken in; what waits stays.
  void close();
  bool closed() const;
  /// Takes all that wait out and ends them in this way. Out: how many.
  std::size_t end_waiting(JobState state, const std::string& error, bool interrupted = false);

 private:
  static constexpr int kNobody = -1;

  struct Entry {
    std::shared_ptr<Job> job;
    std::int64_t next = 0;  // image
    int worker = kNobody;   // that began it

    bool is_for(int one) const { return worker == kNobody || worker == one; }
  };
  struct Turn {
    std::string client;
    std::deque<Entry> entries;
  };

  void require_room_locked(std::uint64_t bytes);
  void drop_ended();
  /// Whether something waits that this worker may take.
  bool has_job_for(int worker) const;
  /// The next images of an entry, which goes where it has no more.
  Slice next_of(Turn& turn, const std::deque<Entry>::iterator& entry, int worker);
  /// How many jobs one batch takes at most.
  std::size_t share_of(int worker) const;
  void report_waiting();
  int retry_seconds() const;

  const ServiceLimits limits_;
  Metrics& metrics_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Turn> turns_;  // none empty; the next client first
  std::map<std::string, std::shared_ptr<Job>> jobs_;
  std::deque<std::string> ids_;  // in order of submission
  std::vector<Posted> posted_;   // in order of arrival
  FairShare shares_;
  double job_seconds_ = 1;  // mean of the recent ones
  std::int64_t sequence_ = 0;
  bool closed_ = false;
  int busy_ = 0;  // batches that were taken and are not done
  int idle_ = 0;  // workers that wait for a job
};

}  // namespace tessera::server
