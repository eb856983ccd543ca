/// The one thread that runs models: batches of the queue, and small work between their steps.
#pragma once

#include <atomic>
#include <future>
#include <limits>
#include <memory>
#include <thread>

#include "runtime/wanted.h"
#include "server/backend.h"
#include "server/http_message.h"
#include "server/job_queue.h"

namespace tessera::server {

class Worker {
 public:
  Worker(Backend& backend, JobQueue& queue, const ServiceLimits& limits, Metrics& metrics)
      : backend_(backend), queue_(queue), limits_(limits), metrics_(metrics) {}
  ~Worker() { stop(std::chrono::seconds(0)); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();
  /// Closes the queue, lets jobs finish for as long as `grace`, ends what is left as failed and says so in the log.
  void stop(std::chrono::seconds grace);

  /// As Asker::cells: work that must not come between the pieces of other work.
  static constexpr std::int64_t kNeverSmall = std::numeric_limits<std::int64_t>::max();

  /// Who waits for small work, and for how much of it.
  struct Asker {
    std::string client;          // whose turn it counts as
    std::int64_t cells = 0;      // how large it is
    std::function<bool()> gone;  // true: nobody waits any more; none: not known
  };

  /// Runs `work(backend)` soon on the worker's thread and returns what it returns, or throws what it throws. It is
  /// given up where the asker has gone or its time is over: before it begins, or between its tiles. Throws HttpError:
  /// 429 where too much of this waits, 503 where it was not done within a minute.
  template <typename Work>
  auto run_soon(Asker asker, Work work) {
    using Value = decltype(work(std::declval<Backend&>()));
    const auto given_up = std::make_shared<std::atomic<bool>>(false);
    const auto wanted = [given_up] { return !given_up->load(); };
    auto task = std::make_shared<std::packaged_task<Value()>>([this, wanted, work = std::move(work)]() mutable {
      const auto between = small_work_between();
      const WantedWhile watch([this, wanted, between] {
        if (between) queue_.run_posted({}, kSmallCells);
        return wanted() && !stopping_;
      });
      return work(backend_);
    });
    auto future = task->get_future();
    queue_.post({[task] { (*task)(); }, asker.client, asker.cells, wanted});
    const auto until = Clock::now() + kPatience;
    while (future.wait_for(kLook) != std::future_status::ready) {
      const bool gone = asker.gone && asker.gone();
      if (!gone && Clock::now() < until) continue;
      *given_up = true;
      throw HttpError(503, gone ? "the client has gone" : "the model was busy: it was not done within a minute", {},
                      10);
    }
    return future.get();
  }
  template <typename Work>
  auto run_soon(Work work) {
    return run_soon(Asker{}, std::move(work));
  }

  /// Runs what the queue holds now, on the caller's thread: the loop's body. Out: whether there was anything.
  bool run_once(std::chrono::milliseconds wait);

 private:
  static constexpr std::chrono::seconds kPatience{60};
  static constexpr std::chrono::milliseconds kLook{100};  // between looks at whether the asker is there
  static constexpr std::int64_t kSmallCells = 4096;       // what is done between two tiles of something larger

  /// Marks that large work is under way; true for the outermost: within it small work is done, but not within that.
  std::shared_ptr<void> small_work_between();
  class Batch;

  void run(std::vector<Slice> slices);
  bool prepare(Job& job);
  void finish(Job& job, JobState state, const std::string& error = {}, bool interrupted = false);
  void add_results(const Slice& slice, const FillOutcome& outcome, std::size_t image);

  Backend& backend_;
  JobQueue& queue_;
  const ServiceLimits limits_;
  Metrics& metrics_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};   // after the present step
  int at_work_ = 0;                     // run_soon's within each other; the worker's thread alone
  double picture_seconds_ = 0.1 / 256;  // of decoding a cell, as measured
  double guess_seconds_ = 0.2 / 256;    // of guessing one
};

}  // namespace tessera::server
