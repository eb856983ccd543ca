/// A thread that runs models: batches of the queue, and small work between their steps. There is one for each backend.
#pragma once

#include <atomic>
#include <future>
#include <limits>
#include <memory>
#include <span>
#include <thread>

#include "runtime/seconds_since.h"
#include "runtime/wanted.h"
#include "server/backend.h"
#include "server/http_message.h"
#include "server/job_queue.h"
#include "server/small_jobs.h"

namespace tessera::server {

class Worker {
 public:
  /// number: its own among those that share the queue, from 0.
  Worker(Backend& backend, JobQueue& queue, const ServiceLimits& limits, Metrics& metrics, int number = 0)
      : backend_(backend), queue_(queue), limits_(limits), metrics_(metrics), number_(number) {}
  ~Worker() { stop(std::chrono::seconds(0)); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();
  /// Closes the queue, lets jobs finish for as long as `grace`, ends what is left as failed and says so in the log.
  void stop(std::chrono::seconds grace);
  /// The same of all that share a queue.
  static void stop_all(std::span<Worker* const> workers, std::chrono::seconds grace);

  /// As Asker::cells: work that must not come between the pieces of other work.
  static constexpr std::int64_t kNeverSmall = std::numeric_limits<std::int64_t>::max();

  /// Who waits for small work, and for how much of it.
  struct Asker {
    std::string client;          // whose turn it counts as
    std::int64_t cells = 0;      // how large it is
    std::function<bool()> gone;  // true: nobody waits any more; none: not known
  };

  /// Runs `work(backend)` soon on the thread of a worker of this queue, with that one's backend, and returns what it
  /// returns, or throws what it throws. It is given up where the asker has gone or its time is over: before it begins,
  /// or between its tiles. Throws HttpError:
  /// 429 where too much of this waits, 503 where it was not done within a minute.
  template <typename Work>
  auto run_soon(Asker asker, Work work) {
    using Value = decltype(work(std::declval<Backend&>()));
    const auto given_up = std::make_shared<std::atomic<bool>>(false);
    const auto wanted = [given_up] { return !given_up->load(); };
    auto task =
        std::make_shared<std::packaged_task<Value(Worker&)>>([wanted, work = std::move(work)](Worker& by) mutable {
          const auto between = by.small_work_between();
          const WantedWhile watch([&by, wanted, between] {
            if (between) by.do_small_work({});
            return wanted() && !by.stopping_;
          });
          return work(by.backend_);
        });
    auto future = task->get_future();
    queue_.post({[task](Worker& by) { (*task)(by); }, asker.client, asker.cells, wanted});
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
  static constexpr double kSmallSeconds = 1;              // a job that is, as estimated

  /// Marks that large work is under way; true for the outermost: within it small work is done, but not within that.
  std::shared_ptr<void> small_work_between();
  class Batch;

  /// Seconds since it was made, without those of other work that came in between.
  class OwnTime {
   public:
    explicit OwnTime(const Worker& worker) : worker_(&worker), others_(worker.others_seconds_) {}
    double seconds() const { return seconds_since(begin_) - (worker_->others_seconds_ - others_); }

   private:
    const Worker* worker_;
    Clock::time_point begin_ = Clock::now();
    double others_;
  };

  /// Between two pieces of large work of these clients: small work, and jobs that are small.
  void do_small_work(const std::vector<std::string>& beside);
  /// Between two steps of a fill of these clients: any posted work, and jobs that are small.
  void do_other_work(const std::vector<std::string>& beside);
  /// As long as they have time left to them beside the present work; none within one of them.
  void run_small_jobs();
  /// A step of a fill of so many images took so long.
  void note_step(const std::vector<Slice>& slices, std::int64_t images, double seconds);
  /// Runs `work`, whose time is no part of the present work's.
  template <typename Work>
  void apart(Work work) {
    const auto begin = Clock::now();
    const auto before = others_seconds_;
    work();
    others_seconds_ = before + seconds_since(begin);  // what came within it is in that already
  }

  void run(std::vector<Slice> slices);
  bool prepare(Job& job);
  void finish(Job& job, JobState state, const std::string& error = {}, bool interrupted = false);
  void add_results(const Slice& slice, const FillOutcome& outcome, std::size_t image);

  Backend& backend_;
  JobQueue& queue_;
  const ServiceLimits limits_;
  Metrics& metrics_;
  const int number_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};  // after the present step
  // The worker's thread alone.
  int at_work_ = 0;            // run_soon's within each other
  bool in_small_job_ = false;  // which has no other within it
  double others_seconds_ = 0;  // of work that came between the pieces of other work
  TimeCredit small_credit_;
  JobSeconds job_seconds_;
  double picture_seconds_ = 0.1 / 256;  // of decoding a cell, as measured
  double guess_seconds_ = 0.2 / 256;    // of guessing one
};

}  // namespace tessera::server
