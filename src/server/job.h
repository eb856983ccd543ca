/// One job from submission to result: what the worker writes and clients read, safely from several threads.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/backend.h"
#include "server/job_request.h"

namespace tessera::server {

using Clock = std::chrono::steady_clock;

enum class JobState { queued, running, done, failed, cancelled };
std::string to_string(JobState state);
std::vector<std::string> job_state_names();
inline bool is_final(JobState state) {
  return state != JobState::queued && state != JobState::running;
}

struct JobResult {
  Image picture = {};                     // empty: it is in the file
  std::vector<std::int32_t> tokens = {};  // h * w
  std::vector<std::int32_t> order = {};   // h * w: the step at which each cell got its token; 0: it was given
  int width = 0, height = 0;              // pixels
  std::filesystem::path file = {};        // a PNG of the workspace; empty: none
  std::string hash = {};                  // SHA-256 of that file; empty: not known

  /// The file, compared with its hash. Throws Error.
  std::string file_bytes() const;
  /// Its picture, read from the file where it is there alone. Throws Error.
  Image whole_picture() const;
};

/// What people call a job and do with it.
struct JobLabel {
  std::string name;  // empty: none
  bool starred = false;
  double deleted = 0;  // seconds since 1970; 0: it is not
};

/// Where a fill of some of a job's images stood: it can be taken up again from there.
struct FillStand {
  std::int64_t first = 0, count = 0;        // images; count 0: nothing
  std::int64_t step = 0;                    // of this fill
  std::vector<std::int32_t> tokens, order;  // [count][h * w], as of the job's cells
};

class Job;
struct JobStatus;

/// Told of what happens to jobs, on the thread where it happens, without the job's lock. Must not throw.
class JobLedger {
 public:
  virtual ~JobLedger() = default;
  virtual void begun(const Job& job) = 0;
  virtual void has_result(const Job& job, std::size_t index, const JobResult& result) = 0;
  /// A fill of the job came to its end, with all results of its images.
  virtual void filled(const Job& job) = 0;
  virtual void stands(const Job& job, const FillStand& stand) = 0;
  /// The job ends like this; `job` itself says so only afterwards.
  virtual void finished(const Job& job, const JobStatus& status, double ended) = 0;
};

/// Seconds since 1970.
double seconds_now();

/// A job as it stands; a copy, but for the pictures.
struct JobStatus {
  JobState state = JobState::queued;
  std::int64_t step = 0, steps = 0;  // over all its fills; steps 0: not known yet
  std::int64_t evaluations = 0;      // of the denoiser: its share of the fills it was part of
  double rate = 0;                   // steps a second
  double eta_seconds = -1;           // until it is done; below 0: not known
  double seconds = 0;                // since it began to run
  std::string error;                 // failed: one line
  std::vector<std::string> notes;
  std::string effective;                  // the options that the model decided, as JSON text
  std::int64_t h = 0, w = 0, factor = 0;  // 0: not prepared yet
  PixelBox area;                          // of the result: what the grid stands for
  int offset_x = 0, offset_y = 0;
  std::vector<std::shared_ptr<const JobResult>> results;
};

/// A job as a ledger has kept it.
struct StoredJob {
  std::string id, client, owner, verb, model, record, command, format;
  std::uint64_t seed = 0;
  std::int64_t count = 1;
  double created = 0, ended = 0;
  JobStatus status;
  JobLabel label;
};

class Job {
 public:
  /// owner: whose it is; empty: everybody's. ledger: none: it is kept in memory alone. created: 0: now.
  Job(std::string id, std::shared_ptr<const JobRequest> request, std::string client, std::string owner = {},
      JobLedger* ledger = nullptr, double created = 0);
  /// One that has ended.
  explicit Job(StoredJob stored);

  const std::string id;
  const std::string client;
  const std::string owner;
  // Of the request, which is let go when the job is done.
  const std::string verb, model, record, command, format, join_key;
  const std::uint64_t seed;
  const std::int64_t count;
  const bool previews;
  const std::uint64_t request_bytes;
  const Clock::time_point submitted = Clock::now();
  const double created;       // seconds since 1970
  std::int64_t sequence = 0;  // in the queue's order of submission; the queue's

  JobStatus status() const;
  JobState state() const;
  /// The request; nothing once the job is final.
  std::shared_ptr<const JobRequest> request() const;

  /// true where the job was not final yet: it will be cancelled, at once where it waits, else after the present step.
  bool cancel();
  bool cancel_requested() const { return cancel_requested_.load(); }
  /// Asks a job that runs to be done after the present step, with the pictures as they then are. Out: false where it
  /// waits or is final.
  bool wrap_up();
  bool wrap_up_requested() const { return wrap_up_requested_.load(); }
  void add_note(const std::string& note);
  /// Waits until the job is final or `until` has come. Out: whether it is.
  bool wait_final(Clock::time_point until) const;
  /// Bytes of its results.
  std::uint64_t result_bytes() const;
  /// When it became final.
  Clock::time_point finished() const;
  /// The same in seconds since 1970; 0: not yet.
  double ended() const;
  JobLabel label() const;
  void set_label(const JobLabel& label);

  /// Before it is queued: what an earlier run of the program has done of it.
  void take_up(const StoredJob& stored, FillStand stand);

  /// What a watcher of the job has seen, and what there is.
  struct View {
    std::uint64_t version = 0;  // of anything
    std::int64_t step = -1;
    std::uint64_t cells_version = 0, preview_version = 0;
    JobStatus status;
    std::vector<std::int32_t> cells;  // [count][h * w], -1 where open; empty: as seen before
    std::int64_t preview_first = 0;   // number of the first of
    std::vector<Image> preview;       // empty: as seen before
    std::uint64_t guess_version = 0;
    std::int64_t guess_first = 0;
    std::vector<Image> guess;  // as preview
  };
  /// Waits for something that `seen` lacks, at most until `until`; brings it up to date. Out: whether there was.
  bool look(View& seen, Clock::time_point until) const;
  /// Pictures on the way to a result that a client counts on, whatever time they take.
  struct Partial {
    std::int64_t number = 0;    // 0, 1 .. of each image
    std::int64_t first = 0;     // number of the first of
    std::vector<Image> images;  // of the result's size
  };
  /// So many of each image, evenly over the steps of its fill; before the job is begun.
  void want_partials(int number) { wanted_partials_ = number; }
  int wanted_partials() const { return wanted_partials_.load(); }
  /// Those from number `seen` on, in the order in which they were made.
  std::vector<Partial> partials(std::size_t seen) const;
  void add_partial(Partial partial);
  /// How many clients look on.
  std::atomic<int> watchers{0};
  std::atomic<bool> polled{false};  // by a client that asks now and then instead; counted as one watcher

  // The worker's part.
  void begin(const PreparedJob& prepared);
  /// Images first .. of the job after a step; `steps_before` of its earlier fills.
  void advance(std::int64_t first, std::span<const std::int32_t> tokens, std::int64_t step, std::int64_t steps,
               std::int64_t evaluations);
  /// Images first .. of the job as they look now.
  void show_preview(std::int64_t first, std::vector<Image> images);
  /// Images first .. of the job as the model would finish them at once.
  void show_guess(std::int64_t first, std::vector<Image> images);
  void add_result(std::shared_ptr<const JobResult> result);
  /// The step at which each cell of an image got its token so far.
  std::vector<std::int32_t> order_of(std::int64_t image) const;
  /// Results of all images of a fill are there.
  void end_fill();
  /// Keeps where a fill of images first .. stands, where there is a ledger.
  void keep_stand(std::int64_t first, std::int64_t count, std::int64_t step);
  /// Makes it final; only the first call counts. interrupted: by the end of the program, so that the ledger keeps it
  /// as it was and the next run goes on with it. Out: whether it was.
  /// counted: called with its seconds before anybody sees that it has ended, so that figures agree with it.
  bool finish(JobState state, const std::string& error = {}, bool interrupted = false,
              const std::function<void(double seconds)>& counted = {});
  bool has_ledger() const { return ledger_ != nullptr; }

  // Kept by the worker's thread alone.
  std::unique_ptr<PreparedJob> prepared;
  std::int64_t done_steps = 0, done_evaluations = 0;  // of its finished fills
  FillStand stand;                                    // of an earlier run, until it has been taken up

 private:
  void changed();
  bool is_over() const { return ending_ || is_final(status_.state); }  // with the mutex held

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  JobLedger* const ledger_;
  std::shared_ptr<const JobRequest> request_;
  JobStatus status_;
  JobLabel label_;
  double ended_ = 0;
  bool ending_ = false;  // its end is being written down
  Clock::time_point begun_, finished_;
  std::vector<std::int32_t> cells_, order_;  // [count][h * w]
  std::int64_t preview_first_ = 0;
  std::vector<Image> preview_;
  std::int64_t guess_first_ = 0;
  std::vector<Image> guess_;
  std::uint64_t guess_version_ = 0;
  std::uint64_t version_ = 1, cells_version_ = 0, preview_version_ = 0;
  std::vector<Partial> partials_;
  std::atomic<int> wanted_partials_{0};
  std::atomic<bool> cancel_requested_{false}, wrap_up_requested_{false};
};

}  // namespace tessera::server
