/// One job from submission to result: what the worker writes and clients read, safely from several threads.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
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
inline bool is_final(JobState state) {
  return state != JobState::queued && state != JobState::running;
}

struct JobResult {
  Image picture;
  std::vector<std::int32_t> tokens;  // h * w
  std::vector<std::int32_t> order;   // h * w: the step at which each cell got its token; 0: it was given
};

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

class Job {
 public:
  Job(std::string id, std::shared_ptr<const JobRequest> request, std::string client);

  const std::string id;
  const std::string client;
  // Of the request, which is let go when the job is done.
  const std::string verb, model, record, command, format, join_key;
  const std::uint64_t seed;
  const std::int64_t count;
  const bool previews;
  const std::uint64_t request_bytes;
  const Clock::time_point submitted = Clock::now();

  JobStatus status() const;
  JobState state() const;
  /// The request; nothing once the job is final.
  std::shared_ptr<const JobRequest> request() const;

  /// true where the job was not final yet: it will be cancelled, at once where it waits, else after the present step.
  bool cancel();
  bool cancel_requested() const { return cancel_requested_.load(); }
  /// Waits until the job is final or `until` has come. Out: whether it is.
  bool wait_final(Clock::time_point until) const;
  /// Bytes of its results.
  std::uint64_t result_bytes() const;
  /// When it became final.
  Clock::time_point finished() const;

  /// What a watcher of the job has seen, and what there is.
  struct View {
    std::uint64_t version = 0;  // of anything
    std::int64_t step = -1;
    std::uint64_t cells_version = 0, preview_version = 0;
    JobStatus status;
    std::vector<std::int32_t> cells;  // [count][h * w], -1 where open; empty: as seen before
    std::int64_t preview_first = 0;   // number of the first of
    std::vector<Image> preview;       // empty: as seen before
  };
  /// Waits for something that `seen` lacks, at most until `until`; brings it up to date. Out: whether there was.
  bool look(View& seen, Clock::time_point until) const;
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
  void add_result(std::shared_ptr<const JobResult> result);
  /// The step at which each cell of an image got its token so far.
  std::vector<std::int32_t> order_of(std::int64_t image) const;
  /// Makes it final; only the first call counts. Out: whether it was.
  bool finish(JobState state, const std::string& error = {});

  // Kept by the worker's thread alone.
  std::unique_ptr<PreparedJob> prepared;
  std::int64_t done_steps = 0, done_evaluations = 0;  // of its finished fills

 private:
  void changed();

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::shared_ptr<const JobRequest> request_;
  JobStatus status_;
  Clock::time_point begun_, finished_;
  std::vector<std::int32_t> cells_, order_;  // [count][h * w]
  std::int64_t preview_first_ = 0;
  std::vector<Image> preview_;
  std::uint64_t version_ = 1, cells_version_ = 0, preview_version_ = 0;
  std::atomic<bool> cancel_requested_{false};
};

}  // namespace tessera::server
