#include "server/worker.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "image/image_io.h"
#include "runtime/log.h"
#include "runtime/out_of_memory.h"
#include "runtime/seconds_since.h"

namespace tessera::server {
namespace {

constexpr double kPreviewShare = 0.05;  // of a fill's time that previews may take, and guesses as much again
constexpr int kPreviewSide = 256;       // pixels, at most
constexpr double kStandSeconds = 2;     // between two notes of where a fill stands
constexpr const char* kInterrupted = "the server was stopped before the job was done";

/// No larger than a preview.
Image small(Image image) {
  const int longer = std::max(image.width, image.height);
  if (longer <= kPreviewSide) return image;
  const auto scaled = [&](int side) {
    return std::max(1, static_cast<int>(std::int64_t{side} * kPreviewSide / longer));
  };
  return resize_exact(image, scaled(image.width), scaled(image.height));
}

/// The pictures that an earlier run has made of a job, for those who look on.
void show_done(Job& job) {
  std::vector<Image> images;
  for (const auto& result : job.status().results) images.push_back(small(result->whole_picture()));
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

/// One fill and whose it is.
class Worker::Batch : public FillWatch {
 public:
  Batch(Worker& worker, const std::vector<Slice>& slices) : worker_(worker), slices_(slices) {
    for (const auto& slice : slices) {
      parts_.push_back({slice.job->prepared.get(), slice.first, slice.count});
      images_ += slice.count;
      clients_.push_back(slice.job->client);
    }
    partials_.resize(slices.size());
  }

  const std::vector<JobPart>& parts() const { return parts_; }
  std::int64_t images() const { return images_; }
  bool out_of_time() const { return out_of_time_; }
  std::int64_t steps() const { return steps_; }

  bool after_step(std::int64_t step, std::int64_t steps, std::int64_t evaluations,
                  std::span<const std::int32_t> tokens) override {
    steps_ = step;
    bool wanted = false;
    std::int64_t at = 0;
    for (std::size_t i = 0; i < slices_.size(); ++i) {
      const auto& slice = slices_[i];
      auto& job = *slice.job;
      if (job.cancel_requested()) worker_.finish(job, JobState::cancelled);
      if (is_final(job.state())) {
        at += slice.count;
        continue;
      }
      wanted = true;
      const auto fills = (job.count + worker_.limits_.batch - 1) / worker_.limits_.batch;
      job.advance(slice.first, own(tokens, job, at, slice.count), job.done_steps + step,
                  std::max(fills * steps, job.done_steps + step),
                  job.done_evaluations + evaluations * slice.count / images_);
      const auto codes = own(tokens, job, at, slice.count);
      const bool open = std::find(codes.begin(), codes.end(), -1) != codes.end();
      if (job.wrap_up_requested() && (step < steps || open)) {
        wrap_up(slice, codes, step, steps);
      } else if (step < steps) {
        show_partial(i, codes, step, steps);
      }
      at += slice.count;
    }
    if (step < steps) {
      show_previews(tokens);
      show_guesses(tokens);
      keep_stands(step);
    }
    worker_.queue_.note_fill(clients_, seconds_since(step_begin_));
    worker_.queue_.run_posted(clients_);
    step_begin_ = Clock::now();
    const auto limit = worker_.limits_.job_seconds;
    out_of_time_ = limit > 0 && seconds_since(begin_) > static_cast<double>(limit);
    return wanted && !out_of_time_ && !worker_.stopping_;
  }

  bool abandoned(std::int64_t image) override {
    for (const auto& slice : slices_) {
      if (image < slice.count) return slice.job->cancel_requested() || slice.job->wrap_up_requested();
      image -= slice.count;
    }
    return true;
  }

 private:
  static std::span<const std::int32_t> own(std::span<const std::int32_t> tokens, const Job& job, std::int64_t first,
                                           std::int64_t count) {
    const auto cells = job.prepared->h * job.prepared->w;
    return tokens.subspan(static_cast<std::size_t>(first * cells), static_cast<std::size_t>(count * cells));
  }

  /// An image as far as it is, its open cells as the model would finish them at once.
  Image on_the_way(Job& job, std::int64_t k, std::span<const std::int32_t> tokens) {
    auto guess = worker_.backend_.guess(*job.prepared, k, tokens);
    return guess ? std::move(*guess) : worker_.backend_.picture(*job.prepared, k, tokens);
  }

  /// A job that is to be done now is so with its pictures on the way.
  void wrap_up(const Slice& slice, std::span<const std::int32_t> codes, std::int64_t step, std::int64_t steps) {
    auto& job = *slice.job;
    const auto each = codes.size() / static_cast<std::size_t>(slice.count);
    job.add_note(fmt::format("interrupted after step {} of {}: what was open is as the model would finish it at once",
                             step, steps));
    for (std::int64_t n = 0; n < slice.count; ++n) {
      const auto one = codes.subspan(static_cast<std::size_t>(n) * each, each);
      auto picture = on_the_way(job, slice.first + n, one);
      const int width = picture.width, height = picture.height;
      job.add_result(std::make_shared<JobResult>(
          JobResult{std::move(picture), {one.begin(), one.end()}, job.order_of(slice.first + n), width, height, {}}));
    }
    job.end_fill();
    worker_.finish(job, JobState::done);
  }

  /// The pictures that a client counts on, when their step has come.
  void show_partial(std::size_t i, std::span<const std::int32_t> codes, std::int64_t step, std::int64_t steps) {
    const auto& slice = slices_[i];
    auto& job = *slice.job;
    const std::int64_t wanted = job.wanted_partials();
    if (partials_[i] >= wanted || step * (wanted + 1) < steps * (partials_[i] + 1)) return;
    const auto each = codes.size() / static_cast<std::size_t>(slice.count);
    Job::Partial partial{partials_[i]++, slice.first, {}};
    for (std::int64_t n = 0; n < slice.count; ++n) {
      partial.images.push_back(
          on_the_way(job, slice.first + n, codes.subspan(static_cast<std::size_t>(n) * each, each)));
    }
    job.add_partial(std::move(partial));
  }

  /// For a run after this one, should it end here.
  void keep_stands(std::int64_t step) {
    if (seconds_since(kept_) < kStandSeconds) return;
    kept_ = Clock::now();
    for (const auto& slice : slices_) {
      if (!is_final(slice.job->state())) slice.job->keep_stand(slice.first, slice.count, step);
    }
  }

  /// Pictures of every job that somebody looks at, where their share of time allows it. make(job, k, tokens): of image
  /// k, or none, which leaves the job out; show(job, first, images, seconds) gets those of a slice. a_cell: seconds
  /// that a cell of them takes; so_far: seconds that this fill has spent on them.
  template <typename Make, typename Show>
  void show_pictures(std::span<const std::int32_t> tokens, double& a_cell, double& so_far, Make make, Show show) {
    std::int64_t at = 0;
    for (const auto& slice : slices_) {
      auto& job = *slice.job;
      const auto first = at;
      at += slice.count;
      if (!job.previews || job.watchers == 0 || is_final(job.state())) continue;
      const auto cells = static_cast<double>(job.prepared->h * job.prepared->w * slice.count);
      if (so_far + a_cell * cells > kPreviewShare * seconds_since(begin_)) continue;
      const auto start = Clock::now();
      std::vector<Image> images;
      for (std::int64_t i = 0; i < slice.count; ++i) {
        std::optional<Image> image = make(job, slice.first + i, own(tokens, job, first + i, 1));
        if (!image) break;
        images.push_back(small(std::move(*image)));
      }
      const double spent = seconds_since(start);
      so_far += spent;
      a_cell = spent / cells;
      if (static_cast<std::int64_t>(images.size()) == slice.count) show(job, slice.first, std::move(images), spent);
    }
  }

  void show_previews(std::span<const std::int32_t> tokens) {
    show_pictures(
        tokens, worker_.picture_seconds_, preview_seconds_,
        [this](Job& job, std::int64_t k, std::span<const std::int32_t> codes) {
          return worker_.backend_.picture(*job.prepared, k, codes);
        },
        [this](Job& job, std::int64_t first, std::vector<Image> images, double spent) {
          worker_.metrics_.add("tessera_previews_total", {}, static_cast<double>(images.size()));
          worker_.metrics_.add("tessera_preview_seconds_total", {}, spent);
          job.show_preview(first, std::move(images));
        });
  }

  /// The same of the model's best guesses at the whole pictures.
  void show_guesses(std::span<const std::int32_t> tokens) {
    show_pictures(
        tokens, worker_.guess_seconds_, guess_seconds_,
        [this](Job& job, std::int64_t k, std::span<const std::int32_t> codes) {
          return worker_.backend_.guess(*job.prepared, k, codes);
        },
        [this](Job& job, std::int64_t first, std::vector<Image> images, double) {
          worker_.metrics_.add("tessera_guesses_total", {}, static_cast<double>(images.size()));
          job.show_guess(first, std::move(images));
        });
  }

  Worker& worker_;
  const std::vector<Slice>& slices_;
  std::vector<JobPart> parts_;
  std::int64_t images_ = 0, steps_ = 0;
  std::vector<std::string> clients_;
  std::vector<std::int64_t> partials_;  // shown of each slice
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point step_begin_ = begin_, kept_ = begin_;
  double preview_seconds_ = 0, guess_seconds_ = 0;
  bool out_of_time_ = false;
};

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
  queue_.close();
  const auto until = Clock::now() + grace;
  while (thread_.joinable() && Clock::now() < until && !queue_.quiet()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  stopping_ = true;
  const auto left = queue_.end_waiting(JobState::failed, "the server was stopped before the job began", true);
  if (left > 0) log().warn("{} waiting jobs were not begun", left);
  if (thread_.joinable()) thread_.join();
  queue_.run_posted();
}

std::shared_ptr<void> Worker::small_work_between() {
  const bool outermost = ++at_work_ == 1;
  return {outermost ? static_cast<void*>(&at_work_) : nullptr, [this](void*) { --at_work_; }};
}

bool Worker::run_once(std::chrono::milliseconds wait) {
  queue_.run_posted();
  auto slices = queue_.take(wait);
  queue_.run_posted();
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
  if (!job.finish(state, error, interrupted)) return;
  metrics_.add("tessera_jobs_total", fmt::format("state=\"{}\"", to_string(state)));
  if (state == JobState::done) queue_.note_job_seconds(job.status().seconds);
}

bool Worker::prepare(Job& job) {
  if (job.cancel_requested()) finish(job, JobState::cancelled);
  if (job.wrap_up_requested() && !job.status().results.empty()) finish(job, JobState::done);  // between two fills
  const auto request = job.request();
  if (!request) return false;
  if (job.prepared) return true;
  try {
    const auto between = small_work_between();
    const WantedWhile watch([&] {
      if (between) queue_.run_posted({job.client}, kSmallCells);
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
      queue_.put_back(slice);
      continue;
    }
    const bool taken_up = slice.job->state() == JobState::queued && !slice.job->status().results.empty();
    slice.job->begin(ready);
    if (taken_up) show_done(*slice.job);
    slices.push_back(slice);
  }
  if (slices.empty()) return;
  const auto begin = Clock::now();
  try {
    const auto from = start_of(slices);
    Batch batch(*this, slices);
    const auto outcome = backend_.fill(batch.parts(), batch, from);
    metrics_.add("tessera_fills_total");
    metrics_.add("tessera_fill_images_total", {}, static_cast<double>(batch.images()));
    metrics_.add("tessera_fill_seconds_total", {}, seconds_since(begin));
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
      if (between) queue_.run_posted({job.client}, kSmallCells);
      return !stopping_;
    });
    auto picture = backend_.picture(*job.prepared, slice.first + i, tokens);
    const int width = picture.width, height = picture.height;
    job.add_result(std::make_shared<JobResult>(
        JobResult{std::move(picture), tokens, job.order_of(slice.first + i), width, height, {}}));
    queue_.run_posted({job.client});
  }
  job.end_fill();
}

}  // namespace tessera::server
