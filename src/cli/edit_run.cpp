#include "cli/edit_run.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "canvas/partial_canvas.h"
#include "cli/frames.h"
#include "cli/picture_files.h"
#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/progress.h"
#include "runtime/seconds_since.h"
#include "runtime/stop_signal.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kSecondsBetweenSaves = 60;

/// The most memory that this process has held, MiB.
std::int64_t peak_memory() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss / 1024 : 0;
}

/// One call of an editing verb.
class EditRun {
 public:
  EditRun(const CLI::App& verb, const EditFlags& flags, Pipeline& pipeline, const std::vector<EditPlan>& plans)
      : flags_(flags),
        pipeline_(pipeline),
        plans_(plans),
        progress_(std::in_place, verb.get_name(), 0, masked_cells(), "cells") {
    record_ = {{"verb", verb.get_name()},
               {"model", fs::path(flags.model.model).filename().string()},
               {"command", command_line(verb)},
               {"stride", flags.windows.stride},
               {"random_windows", flags.windows.random}};
    record_.update(pipeline.computed_by());
    if (!flags.model.loras.empty()) record_["lora"] = names_of_loras(flags.model);
    if (!flags.frames.empty()) frames_.emplace(flags.frames);
    one_file_ = !picture_format(flags.output).empty();
    if (!one_file_) flags.earlier.make_folder(flags.output);
    if (flags.resume && fs::exists(flags.partial)) resumed_ = load_partial(flags.partial);
  }

  std::vector<Image> run() {
    for (std::size_t first = 0; first < plans_.size();) {
      auto last = first + 1;
      while (last < plans_.size() && static_cast<std::int64_t>(last - first) < flags_.batch &&
             plans_[last].extent() == plans_[first].extent()) {
        ++last;
      }
      run_batch(first, last);
      first = last;
    }
    progress_.reset();
    if (frames_) frames_->finish();
    if (!flags_.partial.empty()) fs::remove(flags_.partial);
    return std::move(pictures_);
  }

  void report(const std::vector<Image>& pictures, double seconds) {
    const auto text = pictures.size() == 1 ? picture_text(record_) : sheet_text(record_);
    bool one_size = true;
    for (const auto& picture : pictures) {
      one_size = one_size && picture.width == pictures[0].width && picture.height == pictures[0].height;
    }
    std::string shown = flags_.output;
    if (one_file_) {
      require(one_size, "{}: the pictures differ in size; give a folder as the output", flags_.output);
      write_picture(flags_.output, pictures.size() == 1 ? pictures[0] : contact_sheet(pictures), text);
    } else if (one_size && pictures.size() > 1) {
      shown = (fs::path(flags_.output) / "sheet.png").string();
      write_png(shown, contact_sheet(pictures), text);
    }
    const auto cells = masked_cells();
    if (flags_.json) {
      auto json = record_;
      json["files"] = files_;
      json["output"] = shown;
      json["evaluations"] = evaluations_;
      json["filled_cells"] = cells;
      json["seconds"] = seconds;
      json["megapixels"] = megapixels();
      json["peak_memory_mib"] = peak_memory();
      fmt::print("{}\n", json.dump(2));
      return;
    }
    if (!is_standard_output(shown)) fmt::print("{}\n", shown);
    log().info("{} pictures, {} cells filled in {:.1f} s, {} evaluations", pictures.size(), cells, seconds,
               evaluations_);
  }

 private:
  std::int64_t masked_cells() const {
    std::int64_t cells = 0;
    for (const auto& plan : plans_) cells += (plan.codes == plan.codebook_size).sum().item<std::int64_t>();
    return cells;
  }

  /// Of the cells that were filled.
  double megapixels() const {
    const auto factor = static_cast<double>(pipeline_.codec()->options().factor());
    return static_cast<double>(masked_cells()) * factor * factor / 1e6;
  }

  void run_batch(std::size_t first, std::size_t last) {
    const std::vector<EditPlan> plans(plans_.begin() + static_cast<std::ptrdiff_t>(first),
                                      plans_.begin() + static_cast<std::ptrdiff_t>(last));
    const auto grid = grid_of(plans);
    auto options = resolve(flags_.sampling, pipeline_, grid.extent());
    options.first_image += first;
    record_.update(to_json(options));
    const auto cells = grid.masked_cells();
    const auto filled = already_filled(grid, first, last);
    const auto codes = filled.defined() ? filled : fill(grid, options, cells);
    std::vector<PictureFile> pictures;
    for (std::size_t i = first; i < last; ++i) {
      const auto own = codes[static_cast<std::int64_t>(i - first)];
      finished_.push_back(own);
      const auto decoded = pipeline_.decode({own.unsqueeze(0), grid.codebook_size()})[0];
      pictures_.push_back(finish(plans_[i], decoded));
      if (one_file_) continue;
      auto record = record_;
      record["image"] = i;
      pictures.push_back(
          {fs::path(flags_.output) / fmt::format("{:05}.png", i), pictures_.back(), picture_text(record)});
      files_.push_back(pictures.back().path.string());
    }
    write_pictures(pictures);
    done_cells_ += cells;
    progress_->update(done_cells_, "");
  }

  /// The grids of a batch that the resumed run had finished, [N, h, w]; undefined where there are none.
  torch::Tensor already_filled(const TokenGrid& grid, std::size_t first, std::size_t last) const {
    if (!resumed_ || last > resumed_->finished.size()) return {};
    const auto open = grid.masked().cells;
    std::vector<torch::Tensor> grids;
    for (auto i = first; i < last; ++i) {
      const auto given = grid.codes()[static_cast<std::int64_t>(i - first)];
      const auto masked = open[static_cast<std::int64_t>(i - first)];
      const auto& own = resumed_->finished[i];
      require(own.sizes() == given.sizes() && torch::where(masked, own, given).equal(own),
              "{}: was begun from another grid than this command's", flags_.partial);
      grids.push_back(own);
    }
    return torch::stack(grids);
  }

  torch::Tensor fill(const TokenGrid& grid, const FillOptions& options, std::int64_t cells) {
    FillCheckpoint from;
    auto key = to_json(options);
    for (const auto* name : {"model", "dtype"}) key[name] = record_[name];
    if (record_.contains("lora")) key["lora"] = record_["lora"];
    key["stride"] = flags_.windows.stride;
    key["random_windows"] = flags_.windows.random;
    if (resumed_ && resumed_->finished.size() == finished_.size()) {
      resumed_->require_same(grid, key.dump(), flags_.partial);
      from = resumed_->now;
    }
    auto saved = Clock::now();
    bool ever_saved = false;
    const StopSignal stop;
    const auto result = pipeline_.fill(
        grid, options, flags_.windows,
        [&](const FillProgress& at) {
          progress_->update(done_cells_ + cells * at.step / at.steps, fmt::format("step {}/{}", at.step, at.steps));
          if (frames_) frames_->add(picture_of(at, grid.codebook_size()));
          const bool stopping = stop.requested() && at.step < at.steps;
          if (!flags_.partial.empty() && (stopping || !ever_saved || seconds_since(saved) > kSecondsBetweenSaves)) {
            save_partial(flags_.partial, {key.dump(), finished_, grid.codes(), {at.tokens, at.step}});
            saved = Clock::now();
            ever_saved = true;
          }
          return !stopping;
        },
        from);
    evaluations_ += result.report.evaluations;
    if (result.report.cancelled) {
      if (flags_.partial.empty())
        fail("stopped at step {}; nothing was kept, --partial FILE would have", result.report.steps);
      fail("stopped at step {}; the same command with --resume goes on from {}", result.report.steps, flags_.partial);
    }
    return result.grid.codes();
  }

  Image picture_of(const FillProgress& at, std::int64_t codebook_size) {
    std::vector<Image> now;
    for (std::int64_t n = 0; n < at.tokens.size(0); ++n) {
      const auto decoded = pipeline_.decode({at.tokens[n].unsqueeze(0), codebook_size})[0];
      now.push_back(finish(plans_[finished_.size() + static_cast<std::size_t>(n)], decoded));
    }
    return now.size() == 1 ? now[0] : contact_sheet(now);
  }

  const EditFlags& flags_;
  Pipeline& pipeline_;
  const std::vector<EditPlan>& plans_;
  std::optional<Progress> progress_;  // ends with the work, before the report
  nlohmann::json record_, files_ = nlohmann::json::array();
  std::optional<Frames> frames_;
  std::optional<PartialCanvas> resumed_;
  std::vector<torch::Tensor> finished_;  // [h, w] each
  std::vector<Image> pictures_;
  std::int64_t evaluations_ = 0, done_cells_ = 0;
  bool one_file_ = false;
};

}  // namespace

std::vector<Image> run_edits(const CLI::App& verb, const EditFlags& flags, Pipeline& pipeline,
                             const std::vector<EditPlan>& plans) {
  const auto begin = Clock::now();
  std::vector<std::string> said;
  for (const auto& plan : plans) {
    for (const auto& note : plan.notes) {
      if (std::find(said.begin(), said.end(), note) != said.end()) continue;
      log().info("{}", note);
      said.push_back(note);
    }
  }
  EditRun run(verb, flags, pipeline, plans);
  if (flags.show_mask) {
    std::vector<Image> masks;
    for (std::size_t i = 0; i < plans.size(); i += static_cast<std::size_t>(flags.count)) {
      masks.push_back(mask_overlay(plans[i], pipeline.codec()->options().factor()));
    }
    const fs::path output = flags.output;
    const auto stem = picture_format(flags.output).empty() ? (output / "mask").string()
                                                           : (output.parent_path() / output.stem()).string() + "-mask";
    const auto text = sheet_text({{"verb", verb.get_name()}, {"command", command_line(verb)}});
    for (std::size_t i = 0; i < masks.size(); ++i) {
      write_png(masks.size() == 1 ? fmt::format("{}.png", stem) : fmt::format("{}-{}.png", stem, i), masks[i], text);
    }
  }
  auto pictures = run.run();
  run.report(pictures, seconds_since(begin));
  return pictures;
}

}  // namespace tessera::cli
