/// Models without a network: every step fills one cell of each image, by arithmetic on (seed, image, cell).
#pragma once

#include <atomic>
#include <thread>

#include "runtime/error.h"
#include "server/service.h"

namespace tessera::testing {

using namespace tessera::server;

class FakeBackend : public Backend {
 public:
  static constexpr std::int64_t kSide = 4, kFactor = 2, kCodes = 16;

  struct Fill {
    std::vector<std::uint64_t> seeds;  // of each image
    std::thread::id thread;
    std::int64_t from_step = 0;
  };

  std::vector<Fill> fills;  // in order
  std::atomic<int> step_milliseconds{0};
  std::atomic<std::int64_t> steps_walked{0};
  std::function<void(std::int64_t step)> on_step;  // on the worker's thread, after a step
  std::function<void(std::int64_t step)> in_step;  // in the middle of it

  std::vector<std::string> class_names;  // of a third model, "kinds", where there are any

  std::vector<ModelInfo> models() override {
    std::vector<ModelInfo> all = {info("tiny", "none"), info("wordy", "text")};
    if (class_names.empty()) return all;
    all.push_back(info("kinds", "class"));
    all.back().classes = static_cast<std::int64_t>(class_names.size());
    all.back().class_names = class_names;
    return all;
  }

  std::unique_ptr<PreparedJob> prepare(const JobRequest& request) override {
    require(request.seed != 13, "seed 13: this model is superstitious");
    auto job = std::make_unique<Prepared>();
    job->seed = request.seed;
    job->h = request.tokens ? request.tokens->h : (request.height > 0 ? request.height / kFactor : kSide);
    job->w = request.tokens ? request.tokens->w : (request.width > 0 ? request.width / kFactor : kSide);
    job->factor = kFactor;
    job->width = static_cast<int>(job->w * kFactor);
    job->height = static_cast<int>(job->h * kFactor);
    job->area = {0, 0, job->width, job->height};
    job->effective = R"({"sampler":"ancestral"})";
    const auto cells = static_cast<std::size_t>(job->h * job->w);
    job->start.assign(static_cast<std::size_t>(request.count),
                      request.tokens ? request.tokens->code : std::vector<std::int32_t>(cells, -1));
    return job;
  }

  static std::int32_t code_of(std::uint64_t seed, std::int64_t image, std::size_t cell) {
    return static_cast<std::int32_t>((seed * 7 + static_cast<std::uint64_t>(image) * 5 + cell * 3) % kCodes);
  }

  FillOutcome fill(const std::vector<JobPart>& parts, FillWatch& watch, const FillStart& from) override {
    Fill record;
    record.from_step = from.step;
    FillOutcome outcome;
    std::vector<std::pair<std::uint64_t, std::int64_t>> keys;
    for (const auto& part : parts) {
      const auto& job = dynamic_cast<Prepared&>(*part.job);
      for (auto i = part.first; i < part.first + part.count; ++i) {
        keys.emplace_back(job.seed, i);
        outcome.tokens.push_back(job.start.at(static_cast<std::size_t>(i)));
        record.seeds.push_back(job.seed);
      }
    }
    record.thread = std::this_thread::get_id();
    fills.push_back(record);
    if (from.step > 0) outcome.tokens = from.tokens;
    const auto cells = outcome.tokens.front().size();
    for (auto cell = static_cast<std::size_t>(from.step); cell < cells && !outcome.stopped; ++cell) {
      if (step_milliseconds > 0) std::this_thread::sleep_for(std::chrono::milliseconds(step_milliseconds.load()));
      if (in_step) in_step(static_cast<std::int64_t>(cell) + 1);
      std::vector<std::int32_t> all;
      for (std::size_t n = 0; n < keys.size(); ++n) {
        auto& code = outcome.tokens[n][cell];
        if (code < 0 && !watch.abandoned(static_cast<std::int64_t>(n))) {
          code = code_of(keys[n].first, keys[n].second, cell);
          ++outcome.evaluations;
        }
        all.insert(all.end(), outcome.tokens[n].begin(), outcome.tokens[n].end());
      }
      ++steps_walked;
      if (on_step) on_step(static_cast<std::int64_t>(cell) + 1);
      outcome.stopped = !watch.after_step(static_cast<std::int64_t>(cell) + 1, static_cast<std::int64_t>(cells),
                                          outcome.evaluations, all);
    }
    return outcome;
  }

  Image picture(PreparedJob& job, std::int64_t, std::span<const std::int32_t> tokens) override {
    return picture_of(tokens, job.h, job.w);
  }
  std::optional<Image> guess(PreparedJob& job, std::int64_t, std::span<const std::int32_t> tokens) override {
    std::vector<std::int32_t> whole(tokens.begin(), tokens.end());
    std::replace(whole.begin(), whole.end(), -1, 15);
    return picture_of(whole, job.h, job.w);
  }
  TokenArray encode(const std::string&, const Image& image) override {
    const auto h = image.height / kFactor, w = image.width / kFactor;
    return {h, w, std::vector<std::int32_t>(static_cast<std::size_t>(h * w), 3)};
  }
  std::vector<std::string> captions(const std::string&, const Image& image, std::int64_t count,
                                    const CaptionChoice& choice) override {
    return std::vector<std::string>(static_cast<std::size_t>(count),
                                    fmt::format("{}{} pixels wide", choice.begins, image.width));
  }
  Image decode(const std::string&, const TokenArray& tokens) override {
    return picture_of(tokens.code, tokens.h, tokens.w);
  }
  std::vector<Candidate> candidates(const std::string&, const CandidateRequest& request) override {
    std::vector<Candidate> list;
    for (std::int64_t i = 0; i < request.count; ++i) {
      list.push_back({static_cast<std::int32_t>(i), 1.0 / static_cast<double>(request.count), Image(2, 2)});
    }
    return list;
  }

  /// Cell i of a grid: -(code + i).
  Scores score(const std::string&, const ScoreRequest& request) override {
    Scores scores;
    for (const auto& grid : request.grids) {
      auto& values = scores.log_probabilities.emplace_back();
      for (const auto code : grid.code) {
        values.push_back(code < 0 ? 0 : -static_cast<double>(code) - static_cast<double>(values.size()));
      }
    }
    return scores;
  }

  /// Every cell in a shade of its own; open ones grey.
  static Image picture_of(std::span<const std::int32_t> tokens, std::int64_t h, std::int64_t w) {
    Image image(static_cast<int>(w * kFactor), static_cast<int>(h * kFactor));
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        const auto code = tokens[static_cast<std::size_t>(y / kFactor * w + x / kFactor)];
        std::fill_n(image.at(x, y), 3, static_cast<std::uint8_t>(code < 0 ? 128 : code * 16));
      }
    }
    return image;
  }

 private:
  struct Prepared : PreparedJob {
    std::uint64_t seed = 0;
  };

  static ModelInfo info(const std::string& name, const std::string& condition) {
    ModelInfo model;
    model.name = name;
    model.width = model.height = kSide * kFactor;
    model.factor = kFactor;
    model.h = model.w = kSide;
    model.codebook_size = kCodes;
    model.has_prior = true;
    model.has_captions = condition != "text";
    model.process = "absorbing";
    model.condition = condition;
    model.samplers = {"ancestral", "confidence"};
    model.total_steps = kSide * kSide;
    model.bytes = 1000;
    return model;
  }
};

inline std::shared_ptr<const JobRequest> job_for(std::uint64_t seed, std::int64_t count = 1) {
  auto request = std::make_shared<JobRequest>();
  request->verb = "generate";
  request->model = "tiny";
  request->seed = seed;
  request->count = count;
  complete(*request, {});
  return request;
}

}  // namespace tessera::testing
