/// The one thread that runs models: batches of the queue, and small work between their steps.
#pragma once

#include <atomic>
#include <future>
#include <thread>

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

  /// Runs `work(backend)` soon on the worker's thread and returns what it returns, or throws what it throws. Throws
  /// HttpError: 429 where too much of this waits, 503 where it took longer than a minute to begin.
  template <typename Work>
  auto run_soon(Work work) {
    using Value = decltype(work(std::declval<Backend&>()));
    auto task = std::make_shared<std::packaged_task<Value()>>(
        [this, work = std::move(work)]() mutable { return work(backend_); });
    auto future = task->get_future();
    queue_.post([task] { (*task)(); });
    if (future.wait_for(kPatience) != std::future_status::ready) {
      throw HttpError(503, "the model is busy with something long, expected an answer within a minute", {}, 10);
    }
    return future.get();
  }

  /// Runs what the queue holds now, on the caller's thread: the loop's body. Out: whether there was anything.
  bool run_once(std::chrono::milliseconds wait);

 private:
  static constexpr std::chrono::seconds kPatience{60};
  class Batch;

  void run(std::vector<Slice> slices);
  bool prepare(Job& job);
  void finish(Job& job, JobState state, const std::string& error = {});

  Backend& backend_;
  JobQueue& queue_;
  const ServiceLimits limits_;
  Metrics& metrics_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};   // after the present step
  double picture_seconds_ = 0.1 / 256;  // of decoding a cell, as measured
};

}  // namespace tessera::server
