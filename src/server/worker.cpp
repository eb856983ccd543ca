#include "server/worker.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "runtime/log.h"
#include "runtime/out_of_memory.h"
#include "runtime/seconds_since.h"
#include "server/batch.h"

namespace tessera::server {
namespace {

constexpr const char* kInterrupted = "the server was stopped before the job was done";

/// The pictures that an earlier run has made of a job, for those who look on.
void show_done(Job& job) {
  std::vector<Image> images;
  for (const auto& result : job.status().results) images.push_back(as_preview(result->whole_picture()));
  job.show_preview(0, std::move(images));
}

/// Where an earlier run has left this fill; it is taken up once.
FillStart start_of(const std::vector<Slice>& slices) {
  FillStart from;
  auto& job = *slices.front().job;
  const auto stand = std::exchange(job.stand, {});
  const auto each = static_cast<std::size_t>(job.prepared->h * job.prepared->w);
  const auto& slice = slices.front();
  if (slices.size() > 1 || stand.count != slice.count || stand.first != slice.first ||
      stand.tokens.size() != each * static_cast<std::size_t>(slice.count)) {
    return from;
  }
  from.step = stand.step;
  for (std::size_t n = 0; n < static_cast<std::size_t>(slice.count); ++n) {
    const auto begin = stand.tokens.begin() + static_cast<std::ptrdiff_t>(n * each);
    from.tokens.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(each));
  }
  return from;
}

/// One line for clients: what they can mend as it is, anything else without its insides.
std::string told(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error.what();
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const c10::Error& error) {
    log().error("{}", error.what_without_backtrace());
    const bool memory = find_out_of_memory(error.what_without_backtrace()) != std::string_view::npos;
    return memory ? "out of memory" : "internal error";
  } catch (const std::exception& error) {
    log().error("{}", error.what());
    return "internal error";
  }
}

}  // namespace

void Worker::start() {
  thread_ = std::thread([this] {
    while (!stopping_) {
      try {
        run_once(std::chrono::milliseconds(500));
      } catch (const std::exception& error) {
        log().error("worker: {}", error.what());
      }
    }
  });
}

void Worker::stop(std::chrono::seconds grace) {
  Worker* const one[] = {this};
  stop_all(one, grace);
}

void Worker::stop_all(std::span<Worker* const> workers, std::chrono::seconds grace) {
  auto& queue = workers.front()->queue_;
  queue.close();
  const auto until = Clock::now() + grace;
  const auto started = [&] {
    return std::any_of(workers.begin(), workers.end(), [](const Worker* each) { return each->thread_.joinable(); });
  };
  while (started() && Clock::now() < until && !queue.quiet()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (auto* each : workers) {
    each->stopping_ = true;
    each->backend_.stop();
  }
  const auto left = queue.end_waiting(JobState::failed, "the server was stopped before the job began", true);
  if (left > 0) log().warn("{} waiting jobs were not begun", left);
  for (auto* each : workers) {
    if (each->thread_.joinable()) each->thread_.join();
  }
  queue.run_posted(*workers.front());
}

std::shared_ptr<void> Worker::small_work_between() {
  const bool outermost = ++at_work_ == 1;
  return {outermost ? static_cast<void*>(&at_work_) : nullptr, [this](void*) { --at_work_; }};
}

void Worker::do_small_work(const std::vector<std::string>& beside) {
  if (!backend_.ready()) return;
  apart([&] { queue_.run_posted(*this, beside, kSmallCells); });
  run_small_jobs();
}

void Worker::do_other_work(const std::vector<std::string>& beside) {
  if (!backend_.ready()) return;
  apart([&] { queue_.run_posted(*this, beside, in_small_job_ ? kSmallCells : -1); });
  run_small_jobs();
}

void Worker::run_small_jobs() {
  if (in_small_job_ || queue_.waiting() == 0) return;
  const auto models = backend_.models();
  while (!stopping_ && backend_.ready() && small_credit_.left(Clock::now())) {
    double together = 0;
    const auto small = [&](Job& job) {
      const auto request = job.request();
      const auto model =
          std::find_if(models.begin(), models.end(), [&](const auto& each) { return each.name == job.model; });
      // A model that is loaded takes memory, which where it has a limit is the present work's.
      if (!request || model == models.end() || (!model->loaded && limits_.model_mib > 0)) return false;
      const auto seconds = job_seconds_.of(work_of(*request, *model), *model, picture_seconds_);
      if (together + seconds > kSmallSeconds) return false;
      together += seconds;
      return true;
    };
    auto slices = queue_.take_small(small, number_);
    if (slices.empty()) return;
    metrics_.add("tessera_fills_between_total");
    const auto begin = Clock::now();
    in_small_job_ = true;
    apart([&] {
      try {
        run(std::move(slices));
      } catch (const std::exception& error) {  // as the loop does: the present work goes on
        log().error("worker: {}", error.what());
      }
    });
    in_small_job_ = false;
    small_credit_.spend(begin, Clock::now());
    queue_.done();
  }
}

void Worker::note_step(const std::vector<Slice>& slices, std::int64_t images, double seconds) {
  const auto& job = *slices.front().job;
  const auto request = job.request();
  if (!request) return;
  for (const auto& model : backend_.models()) {
    if (model.name != job.model) continue;
    const auto windows = windows_of(job.prepared->h, job.prepared->w, request->stride, model);
    job_seconds_.note(model.name, static_cast<double>(images) * windows, seconds);
  }
}

bool Worker::run_once(std::chrono::milliseconds wait) {
  if (!backend_.ready()) {
    std::this_thread::sleep_for(std::min(wait, std::chrono::milliseconds(50)));
    return false;
  }
  queue_.run_posted(*this);
  auto slices = queue_.take(wait, number_);
  queue_.run_posted(*this);
  if (slices.empty()) {
    queue_.sweep();
    return false;
  }
  run(std::move(slices));
  queue_.done();
  queue_.sweep();
  return true;
}

void Worker::finish(Job& job, JobState state, const std::string& error, bool interrupted) {
  job.finish(state, error, interrupted, [&](double seconds) {
    metrics_.add("tessera_jobs_total", fmt::format("state=\"{}\"", to_string(state)));
    if (state == JobState::done) queue_.note_job_seconds(seconds);
  });
}

bool Worker::prepare(Job& job) {
  if (job.cancel_requested()) finish(job, JobState::cancelled);
  if (job.wrap_up_requested() && !job.status().results.empty()) finish(job, JobState::done);  // between two fills
  const auto request = job.request();
  if (!request) return false;
  if (job.prepared && job.prepared->usable()) return true;
  try {
    const auto between = small_work_between();
    const WantedWhile watch([&] {
      if (between) do_small_work({job.client});
      return !job.cancel_requested() && !stopping_;
    });
    job.prepared = backend_.prepare(*request);
    return true;
  } catch (...) {
    if (job.cancel_requested()) finish(job, JobState::cancelled);
    finish(job, JobState::failed, told(std::current_exception()), stopping_);
    return false;
  }
}

void Worker::run(std::vector<Slice> taken) {
  std::vector<Slice> slices;
  for (auto& slice : taken) {
    if (!prepare(*slice.job)) continue;
    const auto& ready = *slice.job->prepared;
    if (!slices.empty() && (ready.h != slices[0].job->prepared->h || ready.w != slices[0].job->prepared->w)) {
      queue_.put_back(slice, number_);
      continue;
    }
    const bool taken_up = slice.job->state() == JobState::queued && !slice.job->status().results.empty();
    slice.job->begin(ready);
    if (taken_up) show_done(*slice.job);
    slices.push_back(slice);
  }
  if (slices.empty()) return;
  try {
    const auto from = start_of(slices);
    Batch batch(*this, slices);
    const auto outcome = [&] {
      const WantedWhile watch([&] { return batch.between_pieces(); });
      return backend_.fill(batch.parts(), batch, from);
    }();
    metrics_.add("tessera_fills_total");
    metrics_.add("tessera_fill_images_total", {}, static_cast<double>(batch.images()));
    metrics_.add("tessera_fill_seconds_total", {}, batch.seconds());
    metrics_.add("tessera_evaluations_total", {}, static_cast<double>(outcome.evaluations));
    if (slices.size() > 1) metrics_.add("tessera_fill_joined_total");
    std::size_t image = 0;
    for (const auto& slice : slices) {
      auto& job = *slice.job;
      job.done_steps += batch.steps();
      job.done_evaluations += outcome.evaluations * slice.count / batch.images();
      if (job.cancel_requested()) finish(job, JobState::cancelled);
      if (outcome.stopped) {
        const bool late = batch.out_of_time();
        finish(job, JobState::failed,
               late ? fmt::format("stopped after {} seconds, the most that a fill may take", limits_.job_seconds)
                    : std::string(kInterrupted),
               !late);
        if (!late && job.state() == JobState::failed) log().warn("job {} was not finished", job.id);
      }
      add_results(slice, outcome, image);
      image += static_cast<std::size_t>(slice.count);
      if (slice.first + slice.count >= job.count) finish(job, JobState::done);
    }
  } catch (const Unwanted&) {  // in the middle of a step
    for (const auto& slice : slices) {
      if (slice.job->cancel_requested()) finish(*slice.job, JobState::cancelled);
      finish(*slice.job, JobState::failed, kInterrupted, true);
      if (slice.job->state() == JobState::failed) log().warn("job {} was not finished", slice.job->id);
    }
  } catch (...) {
    const auto error = told(std::current_exception());
    for (const auto& slice : slices) finish(*slice.job, JobState::failed, error, stopping_);
  }
  for (const auto& slice : slices) {
    if (is_final(slice.job->state())) slice.job->prepared.reset();
  }
}

void Worker::add_results(const Slice& slice, const FillOutcome& outcome, std::size_t image) {
  auto& job = *slice.job;
  for (std::int64_t i = 0; i < slice.count; ++i, ++image) {
    if (is_final(job.state())) return;
    const auto& tokens = outcome.tokens[image];
    const auto between = small_work_between();
    const WantedWhile watch([&] {
      if (between) do_small_work({job.client});
      return !stopping_;
    });
    auto picture = backend_.picture(*job.prepared, slice.first + i, tokens);
    const int width = picture.width, height = picture.height;
    job.add_result(std::make_shared<JobResult>(
        JobResult{std::move(picture), tokens, job.order_of(slice.first + i), width, height, {}}));
    do_other_work({job.client});
  }
  job.end_fill();
}

}  // namespace tessera::server
