/// One fill as its jobs see it: told of each step, it passes on what they show, and what is done in between.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "image/image_io.h"
#include "server/worker.h"

namespace tessera::server {

constexpr int kPreviewSide = 256;  // pixels, at most

/// No larger than a preview.
inline Image as_preview(Image image) {
  const int longer = std::max(image.width, image.height);
  if (longer <= kPreviewSide) return image;
  const auto scaled = [&](int side) {
    return std::max(1, static_cast<int>(std::int64_t{side} * kPreviewSide / longer));
  };
  return resize_exact(image, scaled(image.width), scaled(image.height));
}

/// One fill and whose it is.
class Worker::Batch : public FillWatch {
 public:
  Batch(Worker& worker, const std::vector<Slice>& slices)
      : worker_(worker), slices_(slices), own_time_(worker), step_time_(worker) {
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
  /// Of the fill, other work in between left out.
  double seconds() const { return own_time_.seconds(); }
  /// Between two pieces of a step. false: nobody waits for the fill any more.
  bool between_pieces() {
    worker_.do_small_work(clients_);
    const bool wanted = std::any_of(slices_.begin(), slices_.end(), [](const Slice& slice) {
      return !slice.job->cancel_requested() && !is_final(slice.job->state());
    });
    return wanted && !worker_.stopping_;
  }
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
    const auto seconds = step_time_.seconds();
    worker_.queue_.note_fill(clients_, seconds);
    worker_.note_step(slices_, images_, seconds);
    worker_.do_other_work(clients_);
    step_time_ = OwnTime(worker_);
    const auto limit = worker_.limits_.job_seconds;
    out_of_time_ = limit > 0 && own_time_.seconds() > static_cast<double>(limit);
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
  static constexpr double kPreviewShare = 0.05;  // of a fill's time that previews may take, and guesses as much again
  static constexpr double kStandSeconds = 2;     // between two notes of where a fill stands

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
      if (so_far + a_cell * cells > kPreviewShare * own_time_.seconds()) continue;
      const OwnTime time(worker_);
      std::vector<Image> images;
      for (std::int64_t i = 0; i < slice.count; ++i) {
        std::optional<Image> image = make(job, slice.first + i, own(tokens, job, first + i, 1));
        if (!image) break;
        images.push_back(as_preview(std::move(*image)));
      }
      const double spent = time.seconds();
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
  const OwnTime own_time_;
  OwnTime step_time_;
  Clock::time_point kept_ = Clock::now();
  double preview_seconds_ = 0, guess_seconds_ = 0;
  bool out_of_time_ = false;
};

}  // namespace tessera::server
