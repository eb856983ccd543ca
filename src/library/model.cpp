/// Models: loaded, asked, filled. Every job is a list of plans (canvas/edit_plan.h), and one function runs them all.
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "canvas/cell_likelihood.h"
#include "canvas/stitch.h"
#include "checkpoint/lora.h"
#include "library/arguments.h"
#include "library/boundary.h"
#include "library/images.h"
#include "pipeline/pipeline.h"
#include "pipeline/sampling_choice.h"
#include "pipeline/variation_plans.h"
#include "runtime/error.h"
#include "runtime/seconds_since.h"
#include "runtime/shipped_files.h"
#include "tokens/token_list.h"

struct tessera_model {
  tessera::Pipeline pipeline;
  std::string info;
};

namespace tessera::library {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostImages = 100000;

struct Steps {
  tessera_step_function function = nullptr;
  void* user = nullptr;
};

/// What all jobs take beside their own options.
struct Job {
  SamplingChoice choice;
  WindowOptions windows;
  RegionOptions region;
  std::int64_t count = 1, batch = 16;

  explicit Job(Arguments& arguments) {
    choice.options = arguments.sampling();
    choice.seed = arguments.seed();
    choice.first_image = static_cast<std::uint64_t>(arguments.whole("first_image", 0, 0, std::int64_t{1} << 53));
    choice.images_per_call = arguments.whole("images_per_call", 0, 0, 4096);
    count = arguments.whole("count", 1, 1, kMostImages);
    batch = arguments.whole("batch", 16, 1, 4096);
    windows.stride = arguments.whole("stride", 0, 0, 1 << 16);
    windows.random = arguments.flag("random_windows");
  }
  /// For edits.
  void take_region(Arguments& arguments, int feather) {
    region.threshold = arguments.number("threshold", 0, 0, 1);
    region.feather = static_cast<int>(arguments.whole("feather", feather, -1, kMaxEditSide));
    region.sharp = arguments.flag("sharp");
    region.validate();
  }
};

json record_of(const FillOptions& options, const Pipeline& pipeline) {
  auto record = to_json(options);
  record.update(pipeline.computed_by());
  return record;
}

/// Reports the steps of a fill to the caller. Throws Stopped after the fill has ended because of it.
StepCallback report_to(const Steps& steps, std::int64_t codebook_size, std::vector<std::int32_t>& tokens) {
  if (steps.function == nullptr) return {};
  return [&tokens, steps, codebook_size](const FillProgress& at) {
    tokens = from_codes(at.tokens, codebook_size);
    const tessera_step step{at.step,           at.steps,          at.evaluations, at.tokens.size(0),
                            at.tokens.size(1), at.tokens.size(2), tokens.data()};
    return steps.function(steps.user, &step) == 0;
  };
}

/// New images of the model's own size, as `tessera generate` makes them.
std::unique_ptr<tessera_images> generate_plain(Pipeline& pipeline, const Job& job, const Steps& steps) {
  auto made = std::make_unique<tessera_images>();
  const auto begin = std::chrono::steady_clock::now();
  const auto fill = resolve(job.choice, pipeline);
  auto record = record_of(fill, pipeline);
  std::int64_t evaluations = 0;
  std::vector<std::int32_t> tokens;
  for (std::int64_t done = 0; done < job.count; done += job.batch) {
    auto part = fill;
    part.first_image = fill.first_image + static_cast<std::uint64_t>(done);
    const auto now = std::min(job.batch, job.count - done);
    const auto generated =
        pipeline.generate(now, part, report_to(steps, pipeline.prior_network().codebook_size, tokens));
    if (generated.report.cancelled) throw Stopped();
    evaluations += generated.report.evaluations;
    for (auto& image : to_images(generated.images)) made->images.push_back(std::move(image));
    for (std::int64_t i = 0; i < now; ++i)
      made->grids.push_back(to_grid(generated.grid.codes()[i], generated.grid.codebook_size()));
  }
  record["count"] = job.count;
  record["evaluations"] = evaluations;
  record["seconds"] = seconds_since(begin);
  made->record = record.dump();
  return made;
}

/// Fills, decodes and finishes the plans, all of one extent; plan i is image i of the seed.
std::unique_ptr<tessera_images> run(Pipeline& pipeline, const Job& job, const std::vector<EditPlan>& plans,
                                    const Steps& steps) {
  auto made = std::make_unique<tessera_images>();
  const auto begin = std::chrono::steady_clock::now();
  json record = json::object();
  std::int64_t evaluations = 0;
  std::vector<std::int32_t> tokens;
  const auto batch = static_cast<std::size_t>(job.batch);
  for (std::size_t first = 0; first < plans.size(); first += batch) {
    const std::vector<EditPlan> part(
        plans.begin() + static_cast<std::ptrdiff_t>(first),
        plans.begin() + static_cast<std::ptrdiff_t>(std::min(plans.size(), first + batch)));
    const auto grid = grid_of(part);
    auto codes = grid.codes();
    if (grid.masked_cells() > 0) {
      auto options = resolve(job.choice, pipeline, grid.extent());
      if (first == 0) {
        job.windows.validate(pipeline.prior_network().grid);
        record = record_of(options, pipeline);
      }
      options.first_image += first;
      const auto filled = pipeline.fill(grid, options, job.windows, report_to(steps, grid.codebook_size(), tokens));
      if (filled.report.cancelled) throw Stopped();
      evaluations += filled.report.evaluations;
      codes = filled.grid.codes();
    }
    for (std::size_t i = 0; i < part.size(); ++i) {
      const auto own = codes[static_cast<std::int64_t>(i)];
      made->images.push_back(finish(part[i], pipeline.decode({own.unsqueeze(0), grid.codebook_size()})[0]));
      made->grids.push_back(to_grid(own, grid.codebook_size()));
    }
  }
  auto notes = json::array();
  for (const auto& plan : plans) {
    for (const auto& note : plan.notes) {
      if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
    }
  }
  record["count"] = plans.size();
  record["evaluations"] = evaluations;
  record["seconds"] = seconds_since(begin);
  if (!notes.empty()) record["notes"] = std::move(notes);
  made->record = record.dump();
  return made;
}

PixelMask mask_for(const Image& image, const tessera_image_view& mask, std::vector<std::string>& notes) {
  return PixelMask::from_image(to_image(mask, "mask"), "given", image.width, image.height, notes);
}

/// The region under a mask as a plan; "keep" turns it round.
EditPlan region_plan(Pipeline& pipeline, const Picture& image, const tessera_image_view& mask, const Job& job,
                     bool keep) {
  std::vector<std::string> notes;
  const auto region = mask_for(*image, mask, notes);
  auto plan = keep ? plan_keep(pipeline.codec(), image, region, job.region)
                   : plan_inpaint(pipeline.codec(), image, region, job.region);
  plan.notes.insert(plan.notes.begin(), notes.begin(), notes.end());
  return plan;
}

/// One plan, for all of the job's images.
std::unique_ptr<tessera_images> run(Pipeline& pipeline, const Job& job, const EditPlan& plan, const Steps& steps) {
  return run(pipeline, job, std::vector<EditPlan>(static_cast<std::size_t>(job.count), plan), steps);
}

/// For arguments that may be null.
Picture picture_or_none(const tessera_image_view* view, const char* what) {
  return view == nullptr ? nullptr : to_picture(view, what);
}

json info_of(Pipeline& pipeline, const std::filesystem::path& folder) {
  const auto& codec = pipeline.codec()->options();
  json info = {
      {"name", folder.filename().string()},   {"image_size", codec.image_size},           {"factor", codec.factor()},
      {"codebook_size", codec.codebook_size}, {"grid", {codec.grid().h, codec.grid().w}}, {"dtype", pipeline.dtype()},
      {"has_prior", pipeline.has_prior()}};
  if (!pipeline.has_prior()) return info;
  const auto& network = pipeline.prior_network();
  info["grid"] = {network.grid.h, network.grid.w};
  info["condition"] = pipeline.condition();
  info["classes"] = network.classes;
  info["class_names"] = network.class_names;
  info["process"] = pipeline.process();
  info["total_steps"] = pipeline.total_steps();
  info["suggestion"] = pipeline.suggestion().to_json();
  return info;
}

/// What all calls with a result share: options read in full, the result handed over.
template <typename Work>
tessera_status call(tessera_model* model, const char* options, tessera_images** out, const Work& work) {
  if (out != nullptr) *out = nullptr;
  return guarded([&] {
    require_given(model, "model");
    require_given(out, "out");
    const torch::NoGradGuard no_grad;
    Arguments arguments(options);
    *out = work(model->pipeline, arguments).release();
  });
}

}  // namespace
}  // namespace tessera::library

using namespace tessera;           // NOLINT(google-build-using-namespace): what C calls is defined here
using namespace tessera::library;  // NOLINT(google-build-using-namespace)

extern "C" {

tessera_status tessera_model_load(const char* path, const char* options, tessera_model** out) {
  if (out != nullptr) *out = nullptr;
  return guarded([&] {
    require_given(path, "path");
    require_given(out, "out");
    const torch::NoGradGuard no_grad;
    Arguments arguments(options);
    PipelineOptions loading;
    loading.dtype = arguments.text("dtype", "auto");
    loading.device = arguments.text("device", "cpu");
    loading.map_weights = arguments.flag("map_weights", false);
    for (const auto& lora : arguments.texts("loras")) loading.loras.push_back(parse_lora(lora));
    arguments.require_all_taken();
    prepare_to_compute();
    auto pipeline = Pipeline::load(path, loading);
    auto folder = find_model(path);
    if (!folder.has_filename()) folder = folder.parent_path();
    auto info = info_of(pipeline, folder).dump(-1, ' ', false, json::error_handler_t::replace);
    *out = new tessera_model{std::move(pipeline), std::move(info)};
  });
}

void tessera_model_free(tessera_model* model) {
  delete model;
}

const char* tessera_model_info(const tessera_model* model) {
  return model == nullptr ? "{}" : model->info.c_str();
}

tessera_status tessera_generate(tessera_model* model, const char* options, tessera_step_function on_step, void* user,
                                tessera_images** out) {
  return call(model, options, out, [&](Pipeline& pipeline, Arguments& arguments) {
    const Job job(arguments);
    const auto width = arguments.whole("width", 0, 0, kMaxEditSide);
    const auto height = arguments.whole("height", 0, 0, kMaxEditSide);
    arguments.require_all_taken();
    if (width == 0 && height == 0) return generate_plain(pipeline, job, {on_step, user});
    const auto own = pipeline.codec()->options().image_size;
    return run(pipeline, job,
               plan_generate(pipeline.codec(), static_cast<int>(width != 0 ? width : own),
                             static_cast<int>(height != 0 ? height : own)),
               {on_step, user});
  });
}

tessera_status tessera_inpaint(tessera_model* model, const tessera_image_view* image, const tessera_image_view* mask,
                               const char* options, tessera_step_function on_step, void* user, tessera_images** out) {
  return call(model, options, out, [&](Pipeline& pipeline, Arguments& arguments) {
    Job job(arguments);
    job.take_region(arguments, -1);
    const bool keep = arguments.flag("keep");
    arguments.require_all_taken();
    require_given(mask, "mask");
    return run(pipeline, job, region_plan(pipeline, to_picture(image, "image"), *mask, job, keep), {on_step, user});
  });
}

tessera_status tessera_outpaint(tessera_model* model, const tessera_image_view* image, const char* options,
                                tessera_step_function on_step, void* user, tessera_images** out) {
  return call(model, options, out, [&](Pipeline& pipeline, Arguments& arguments) {
    Job job(arguments);
    job.take_region(arguments, -1);
    const auto border = [&](const char* name) { return static_cast<int>(arguments.whole(name, 0, 0, kMaxEditSide)); };
    const Borders borders{border("left"), border("right"), border("top"), border("bottom")};
    arguments.require_all_taken();
    return run(pipeline, job, plan_outpaint(pipeline.codec(), to_picture(image, "image"), borders, job.region),
               {on_step, user});
  });
}

tessera_status tessera_variations(tessera_model* model, const tessera_image_view* image, const tessera_image_view* mask,
                                  const char* options, tessera_step_function on_step, void* user,
                                  tessera_images** out) {
  return call(model, options, out, [&](Pipeline& pipeline, Arguments& arguments) {
    Job job(arguments);
    job.take_region(arguments, -1);
    VariationOptions near;
    near.strength = arguments.number("strength", mask == nullptr ? 0.5 : 1.0, 0, 1);
    const auto by = arguments.text("by", "random");
    if (by != "random" && by != "likelihood")
      throw UsageError(fmt::format("by is '{}', expected one of random, likelihood", by));
    near.least_likely = by == "likelihood";
    const bool keep = mask != nullptr && arguments.flag("keep");
    arguments.require_all_taken();
    near.count = job.count;
    near.seed = job.choice.seed;
    near.first_image = job.choice.first_image;
    if (near.least_likely && pipeline.condition() != "none")
      near.conditions = {pipeline.condition_for(prompt_of(job.choice.options))};
    const auto picture = to_picture(image, "image");
    const auto region = mask == nullptr ? plan_everywhere(pipeline.codec(), picture, job.region)
                                        : region_plan(pipeline, picture, *mask, job, keep);
    return run(pipeline, job, plan_variations(pipeline, region, job.windows, near), {on_step, user});
  });
}

tessera_status tessera_stitch(tessera_model* model, const tessera_piece* pieces, size_t count,
                              const tessera_image_view* onto, const char* options, tessera_step_function on_step,
                              void* user, tessera_images** out) {
  return call(model, options, out, [&](Pipeline& pipeline, Arguments& arguments) {
    Job job(arguments);
    job.take_region(arguments, 0);
    const auto own = pipeline.codec()->options().image_size;
    const auto width = arguments.whole("width", own, 1, kMaxEditSide);
    const auto height = arguments.whole("height", own, 1, kMaxEditSide);
    StitchOptions stitching{job.region, static_cast<int>(arguments.whole("seam", 0, 0, kMaxEditSide))};
    arguments.require_all_taken();
    if (count > 0) require_given(pieces, "pieces");
    std::vector<LoadedPiece> loaded;
    for (std::size_t i = 0; i < count; ++i) {
      const auto& piece = pieces[i];
      const auto name = fmt::format("piece {}", i);
      const PixelBox from{piece.x, piece.y, piece.width, piece.height};
      loaded.push_back({{name, from, piece.to_x, piece.to_y}, to_picture(&piece.image, name.c_str())});
    }
    return run(pipeline, job,
               plan_stitch(pipeline.codec(), picture_or_none(onto, "onto"), static_cast<int>(width),
                           static_cast<int>(height), loaded, stitching),
               {on_step, user});
  });
}

tessera_status tessera_fill(tessera_model* model, const tessera_grid_view* grid, const tessera_image_view* onto,
                            const char* options, tessera_step_function on_step, void* user, tessera_images** out) {
  return call(model, options, out, [&](Pipeline& pipeline, Arguments& arguments) {
    Job job(arguments);
    job.take_region(arguments, -1);
    arguments.require_all_taken();
    require_given(grid, "grid");
    const auto codes = to_codes(*grid, pipeline.codec()->options().codebook_size);
    return run(pipeline, job, plan_tokens(pipeline.codec(), codes, picture_or_none(onto, "onto"), job.region),
               {on_step, user});
  });
}

tessera_status tessera_encode(tessera_model* model, const tessera_image_view* image, tessera_images** out) {
  return call(model, nullptr, out, [&](Pipeline& pipeline, Arguments&) {
    const auto codec = pipeline.codec();
    auto made = std::make_unique<tessera_images>();
    made->grids.push_back(to_grid(encode_picture(codec, *to_picture(image, "image")), codec->options().codebook_size));
    return made;
  });
}

tessera_status tessera_decode(tessera_model* model, const tessera_grid_view* grids, size_t count,
                              tessera_images** out) {
  return call(model, nullptr, out, [&](Pipeline& pipeline, Arguments&) {
    auto made = std::make_unique<tessera_images>();
    if (count > 0) require_given(grids, "grids");
    const auto codebook_size = pipeline.codec()->options().codebook_size;
    std::vector<torch::Tensor> codes;
    for (std::size_t i = 0; i < count; ++i) {
      codes.push_back(to_codes(grids[i], codebook_size));
      if (codes[i].sizes() != codes[0].sizes())
        throw UsageError(fmt::format("grid {}: {}x{} cells, expected those of the first, {}x{}", i, codes[i].size(0),
                                     codes[i].size(1), codes[0].size(0), codes[0].size(1)));
      if (codes[i].eq(codebook_size).any().item<bool>())
        throw UsageError(fmt::format("grid {}: has MASK cells, which fill takes", i));
    }
    if (count == 0) return made;
    for (auto& image : to_images(pipeline.decode({torch::stack(codes), codebook_size}))) {
      made->images.push_back(std::move(image));
    }
    for (const auto& own : codes) made->grids.push_back(to_grid(own, codebook_size));
    return made;
  });
}

tessera_status tessera_score(tessera_model* model, const tessera_grid_view* grid, const char* options,
                             double* log_probabilities) {
  return guarded([&] {
    require_given(model, "model");
    require_given(grid, "grid");
    require_given(log_probabilities, "log_probabilities");
    const torch::NoGradGuard no_grad;
    Arguments arguments(options);
    CellLikelihoodOptions looks;
    const auto given = arguments.sampling();
    for (const auto& [name, value] : given.given()) {
      if (!SamplingOptions::field(name).is_condition())
        throw UsageError(fmt::format("{}: a score is no fill, expected what the grid shows and spacing alone", name));
    }
    looks.spacing = arguments.whole("spacing", 0, 0, 64);
    arguments.require_all_taken();
    auto& pipeline = model->pipeline;
    const auto condition = pipeline.condition_for(prompt_of(given));
    if (pipeline.condition() != "none") looks.conditions = {condition};
    const auto codes = to_codes(*grid, pipeline.prior_network().codebook_size);
    const auto process = pipeline.fill_process();
    const auto found =
        cell_likelihood(pipeline.prior(), pipeline.prior_network().grid, codes.unsqueeze(0), process.get(), looks);
    const auto values = found.log_probabilities.to(torch::kFloat64).contiguous();
    std::copy_n(values.data_ptr<double>(), values.numel(), log_probabilities);
  });
}

}  // extern "C"
