/// tessera train DATA: looks at the pictures, proposes, says how long it takes, and trains codec and prior.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "cli/model_flags.h"
#include "cli/result_line.h"
#include "cli/verbs.h"
#include "data/dataset.h"
#include "data/pack_file.h"
#include "data/token_cache.h"
#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "kernels/ops/device.h"
#include "pipeline/pipeline.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/folder_lock.h"
#include "runtime/log.h"
#include "runtime/seconds_since.h"
#include "runtime/stop_signal.h"
#include "runtime/threads.h"
#include "sampling/registry.h"
#include "training/condition_data.h"
#include "training/recipe.h"
#include "training/sample_judge.h"
#include "training/token_data.h"
#include "training/training_loop.h"
#include "training/training_plan.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMeasuredSteps = 20;
constexpr std::int64_t kMeasuredDry = 5;  // where nothing will be trained by them
constexpr std::int64_t kPatience = 6;     // validations without a gain
constexpr std::int64_t kShown = 16;       // samples on the sheet at the end
constexpr double kOverrun = 1.1;          // of the time given, before a run is cut off

struct TrainPicturesOptions {
  std::string data, out, start, device = "cpu", background = "#ffffff";
  double minutes = 0;
  std::int64_t size = 0, seed = 0;
  int threads = 0;
  bool yes = false, dry_run = false, resume = false, strict = false, json = false;
};

/// What a run has come to, beside its recipe: what --resume goes on from.
struct Stages {
  double minutes = 0;
  bool codec_done = false, prior_done = false;

  static fs::path file(const fs::path& out) { return out / "training" / "stages.json"; }
  void save(const fs::path& out) const {
    const nlohmann::json text = {{"minutes", minutes}, {"codec_done", codec_done}, {"prior_done", prior_done}};
    write_file_atomically(file(out), text.dump(2) + "\n");
  }
  static Stages load(const fs::path& out) {
    require(fs::exists(file(out)), "{}: no run of tessera train to resume (no {})", out.string(), file(out).string());
    const auto text = json_or_discarded(read_file(file(out), 1 << 16));
    require(text.is_object(), "{}: not what tessera train writes", file(out).string());
    return {text.value("minutes", 0.0), text.value("codec_done", false), text.value("prior_done", false)};
  }
};

DatasetOptions data_options(const TrainPicturesOptions& options, std::int64_t size, double held_out) {
  DatasetOptions data;
  data.path = options.data;
  data.size = size;
  data.background = options.background;
  data.validation_fraction = held_out;
  data.split_seed = static_cast<Seed>(options.seed);
  data.strict = options.strict;
  data.upscale = true;
  return data;
}

/// Token grids of the codec's extent, for measuring a step before there are any.
TokenData random_grids(const CodecRecipe& codec, std::int64_t batch) {
  const auto options = codec.codec_options();
  TokenData tokens;
  tokens.codebook_size = options.codebook_size;
  tokens.train = torch::randint(0, options.codebook_size, {2 * batch, options.grid().h, options.grid().w});
  tokens.validation = tokens.train.slice(0, 0, 1);
  tokens.key = "random";
  return tokens;
}

/// What `count` grids are told, as the set's pictures are.
ConditionData random_conditions(const Dataset& data, const std::string& name, const PriorRecipe& recipe,
                                std::int64_t count) {
  auto all = conditions_of(data, name, recipe);
  all.more_train_captions.clear();
  const auto repeat = [count](auto& list) {
    if (list.empty()) return;
    const auto own = list;
    while (static_cast<std::int64_t>(list.size()) < count) list.insert(list.end(), own.begin(), own.end());
    list.resize(static_cast<std::size_t>(count));
  };
  if (!all.train_labels.empty()) repeat(all.train_labels);
  if (!all.train_captions.empty()) repeat(all.train_captions);
  return all;
}

/// Some steps of each training on this machine, with these pictures, decide how many fit the time.
void measure(TrainingPlan& plan, const Dataset& data, torch::Device device, std::int64_t steps) {
  log().info("measuring {} steps of each training", steps);
  auto trial = plan;
  trial.codec.steps = trial.prior.steps = 1 << 20;
  choose_defaults(trial.codec, trial.codec.image_size, data.size());
  trial.codec.kmeans_start = false;  // it happens once, not at every step
  const auto each_codec = seconds_a_step(*make_codec_training(trial.codec, data, fs::path(), device), steps);
  auto tokens = random_grids(trial.codec, trial.prior.batch_size);
  trial.prior.start_from.clear();
  choose_defaults(trial.prior, tokens);
  tokens.conditions = random_conditions(data, "pictures", trial.prior, tokens.train.size(0));
  tokens.codebook = torch::randn({tokens.codebook_size, 4});
  const auto each_prior = seconds_a_step(*make_prior_training(trial.prior, tokens, fs::path(), {}, device), steps);
  fit_steps(plan, each_codec, each_prior);
  choose_defaults(plan.codec, plan.codec.image_size, data.size());
  plan.prior.warmup = warmup_of(plan.prior.warmup, plan.prior.steps);
}

bool goes_on(const TrainPicturesOptions& options) {
  if (options.yes) return true;
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1) {
    log().info("no terminal to ask at: training starts");
    return true;
  }
  fmt::print(stderr, "Train? [Y/n] ");
  std::string answer;
  if (!std::getline(std::cin, answer)) return false;
  return answer.empty() || answer[0] == 'y' || answer[0] == 'Y';
}

/// Runs one of the trainings. In: seconds it has; 0: nobody knows, as after a resumption. Out: false where a signal
/// stopped it; steps becomes what was planned in the end.
bool run_stage(TrainingTask& task, std::int64_t& steps, double seconds, bool resume, std::int64_t patience,
               const fs::path& folder) {
  LoopOptions loop;
  loop.steps = steps;
  loop.patience = patience;
  loop.resume = resume && fs::exists(folder / "state.safetensors");
  loop.planned_by_time = true;
  if (!loop.resume) {
    loop.planned_seconds = seconds;
    loop.deadline_seconds = kOverrun * seconds;
  }
  const auto end = run_training(task, loop, folder);
  steps = end.planned;
  if (end.done && end.best) log().info("{}: judged {:.4f} at step {}", task.name(), *end.best, end.best_step);
  return end.done;
}

bool train_codec(TrainingPlan& plan, const Dataset& data, const fs::path& out, torch::Device device, bool resume) {
  auto task = make_codec_training(plan.codec, data, out, device);
  return run_stage(*task, plan.codec.steps, plan.codec_seconds, resume, kPatience, out / "training" / "codec");
}

bool train_prior(TrainingPlan& plan, const Dataset& data, const fs::path& out, torch::Device device, double seconds,
                 bool resume) {
  const auto parts = load_bundle(out);
  require(parts.codec.has_value(), "{}: the bundle holds no codec (vqvae/)", out.string());
  Codec codec(codec_options_from_json(parts.codec->config));
  codec->load(parts.codec->tensors, (out / "vqvae").string());
  codec->eval();
  codec->to(device);
  const auto begin = Clock::now();
  const auto encoder = set_encode_precision(codec, part_hash(parts, "vqvae"), plan.prior.encode_precision);
  auto tokens = tokens_of(data, codec, encoder, plan.prior.flip, default_cache_folder());
  tokens.conditions = conditions_of(data, "pictures", plan.prior);
  tokens.codebook = codec->quantizer->codebook().to(torch::kCPU);
  choose_defaults(plan.prior, tokens);
  auto task = make_prior_training(plan.prior, tokens, out, make_sample_review(plan.prior, codec, tokens), device);
  const double left = std::max(60.0, seconds - seconds_since(begin));
  return run_stage(*task, plan.prior.steps, left, resume, kPatience, out / "training" / "prior");
}

/// Writes how to sample the new model into its bundle, where its prior need not see the time and nothing is suggested
/// yet. Out: options that follow it; `pipeline` was loaded before.
FillOptions suggest_sampling(Pipeline& pipeline, const fs::path& out) {
  FillOptions fill;
  const auto* sampler = suggested_sampler(pipeline.prior().is_autoregressive());
  if (pipeline.fill_process() || sampler == nullptr || !pipeline.suggestion().empty()) return fill;
  const auto file = out / "scheduler" / "config.json";
  auto config = read_json_object(read_file(file), file.string());
  config["tessera"]["sampling"] = {{"sampler", sampler->name}, {"steps", sampler->suggested_steps}};
  replace_bundle_file(out, "scheduler/config.json", config.dump(2) + "\n");
  fill.sampler = sampler->name;
  fill.steps = sampler->suggested_steps;
  fill.total_steps = pipeline.total_steps();
  return fill;
}

/// The model shows itself, sampled as its bundle suggests from here on: samples, and held-out pictures beside what the
/// codec makes of them.
void show(const Dataset& data, const fs::path& out, const std::string& device) {
  PipelineOptions load;
  load.dtype = "auto";
  load.device = device;
  auto pipeline = Pipeline::load(out, load);
  write_png(out / "samples.png",
            contact_sheet(to_images(pipeline.generate(kShown, suggest_sampling(pipeline, out)).images)));
  const auto& held_out = data.split(data.split(Split::validation).empty() ? Split::train : Split::validation);
  std::vector<Image> pairs;
  for (std::size_t i = 0; i < held_out.size() && i < static_cast<std::size_t>(kShown); ++i) {
    const auto picture = data.image(held_out[i]).unsqueeze(0);
    pairs.push_back(to_image(picture[0]));
    pairs.push_back(to_image(pipeline.decode(pipeline.codec()->encode(picture))[0]));
  }
  write_png(out / "reconstructions.png", contact_sheet(pairs, {8, 2, {}}));
}

nlohmann::json plan_json(const TrainingPlan& plan) {
  nlohmann::json lines = nlohmann::json::object();
  for (const auto& [name, text] : plan.lines) lines[name] = text;
  return {{"plan", std::move(lines)}};
}

TrainingPlan propose(const TrainPicturesOptions& options, std::optional<Dataset>& data, torch::Device device) {
  PlanOptions wishes;
  wishes.minutes = options.minutes;
  wishes.size = options.size;
  wishes.start = options.start == "none" ? "" : options.start;
  wishes.start_from_nothing = options.start == "none";
  wishes.accelerated = !device.is_cpu();
  wishes.seed = options.seed;
  FileSurvey files;
  std::string why;
  if (is_pack(options.data)) {
    wishes.size = options.size > 0 ? options.size : Dataset::open(data_options(options, 0, 0)).image_size();
    why = "as packed";
  } else {
    files = survey_files(options.data);
    require(files.pictures > 0, "{}: no pictures in it", options.data);
    std::tie(wishes.size, why) = choose_size(files, wishes);
  }
  data.emplace(Dataset::open(data_options(options, wishes.size, 0)));
  const auto held_out = share_held_out(data->size());
  auto content = data->content();  // of its own: emplace takes the old set apart first
  data.emplace(std::move(content), held_out, static_cast<Seed>(options.seed));
  auto plan = plan_training(files, survey_pictures(*data), wishes);
  plan.lines.insert(plan.lines.begin() + 1, {"size", fmt::format("{0}x{0} pixels: {1}", wishes.size, why)});
  plan.codec.background = plan.prior.background = options.background;
  plan.codec.validation_fraction = plan.prior.validation_fraction = held_out;
  measure(plan, *data, device, options.dry_run ? kMeasuredDry : kMeasuredSteps);
  return plan;
}

/// The plan that a run was begun with.
TrainingPlan planned(const Stages& stages, const fs::path& recipe) {
  TrainingPlan plan;
  read_recipe(recipe, "codec", plan.codec.fields());
  inherit_architecture(plan.codec);
  read_recipe(recipe, "codec", plan.codec.fields());
  read_recipe(recipe, "prior", plan.prior.fields());
  require(plan.codec.steps > 0 && plan.prior.steps > 0, "{}: says no steps", recipe.string());
  plan.seconds = 60 * stages.minutes;
  return plan;
}

void train_pictures(TrainPicturesOptions options) {
  const auto begin = Clock::now();
  if (options.minutes < 0) throw UsageError(fmt::format("--minutes {}: expected 0 or more", options.minutes));
  set_threads(options.threads);
  const auto device = device_from(options.device);
  const fs::path out = options.out.empty() ? fs::path("runs") / fs::path(options.data).stem() : fs::path(options.out);
  const auto recipe_file = out / "training" / "recipe.toml";
  std::optional<FolderLock> lock;
  if (!options.dry_run) {
    lock.emplace(out / "training");
    require(options.resume || !fs::exists(recipe_file), "{}: a run is there already: give --resume, or another --out",
            out.string());
  }
  std::optional<Dataset> data;
  TrainingPlan plan;
  Stages stages;
  if (options.resume) {
    stages = Stages::load(out);
    plan = planned(stages, recipe_file);
    options.background = plan.codec.background;
    options.seed = plan.codec.seed;
    data.emplace(Dataset::open(data_options(options, plan.codec.image_size, plan.codec.validation_fraction)));
  } else {
    plan = propose(options, data, device);
    stages.minutes = plan.seconds / 60;
    plan.lines.emplace_back("writes",
                            fmt::format("{}: the model, samples.png, reconstructions.png, training/recipe.toml "
                                        "and previews (the first within a minute)",
                                        out.string()));
    fmt::print(options.json ? stderr : stdout, "{}", plan.text());
    if (options.json && options.dry_run) print_result(true, plan_json(plan), "");
    std::fflush(stdout);
    if (options.dry_run || !goes_on(options)) return;
    write_file_atomically(recipe_file, plan.recipe(options.data, out.string()));
    stages.save(out);
  }
  const auto hint = fmt::format("interrupted; tessera train {} --out {} --resume goes on", options.data, out.string());
  // The steps that were planned in the end are those that repeat the run.
  const auto write_recipe = [&] { write_file_atomically(recipe_file, plan.recipe(options.data, out.string())); };
  if (!stages.codec_done) {
    if (!train_codec(plan, *data, out, device, options.resume)) throw Interrupted(hint);
    stages.codec_done = true;
    stages.save(out);
    if (!options.resume) write_recipe();
  }
  if (!stages.prior_done) {
    const double left = std::max(60.0, plan.seconds - seconds_since(begin));
    if (!train_prior(plan, *data, out, device, left, options.resume)) throw Interrupted(hint);
    stages.prior_done = true;
    stages.save(out);
    if (!options.resume) write_recipe();
  }
  show(*data, out, options.device);
  if (options.json) {
    auto report = plan_json(plan);
    report.update({{"output", out.string()},
                   {"samples", (out / "samples.png").string()},
                   {"reconstructions", (out / "reconstructions.png").string()},
                   {"recipe", recipe_file.string()},
                   {"seconds", seconds_since(begin)}});
    print_result(true, report, "");
    return;
  }
  fmt::print("{}\n{}\n", (out / "samples.png").string(), (out / "reconstructions.png").string());
  fmt::print(
      "next:  tessera generate -m {0} -n 16 --output {0}/more.png\n"
      "       tessera serve -m {0}\n"
      "       tessera train {1} --start-from {0} --minutes 60 --out {0}-longer     more time makes it better\n",
      out.string(), options.data);
}

}  // namespace

void add_train_pictures(CLI::App& train) {
  auto options = std::make_shared<TrainPicturesOptions>();
  train.add_option("DATA", options->data, "your pictures: a folder, zip, tar shards or .tessera-pack");
  train.add_option("-o,--out", options->out, "bundle folder to write [runs/ and the data's name]");
  train.add_option("--minutes", options->minutes, "time for all of it; 0: 20, with a GPU 10")->capture_default_str();
  train.add_option("--size", options->size, "pixels a side; 0: by the pictures and the time")->capture_default_str();
  train.add_option("--start-from", options->start,
                   "bundle to go on from; none: from nothing [the general model that comes with the program]");
  train.add_option("--background", options->background, "colour under transparent pixels")->capture_default_str();
  train.add_option("--seed", options->seed, "of weights, batches and the held-out pictures")->capture_default_str();
  train.add_option("--device", options->device, kDeviceHelp)->capture_default_str();
  train.add_option("-t,--threads", options->threads, "threads; 0: one a processor")->capture_default_str();
  train.add_flag("-y,--yes", options->yes, "do not ask");
  train.add_flag("--dry-run", options->dry_run, "say what would be done, and end");
  train.add_flag("--resume", options->resume, "go on with the run in --out");
  train.add_flag("--json", options->json, kJsonHelp);
  train.add_flag("--strict", options->strict, "a broken picture is an error");
  auto* verb = &train;
  train.callback([verb, options] {
    if (!verb->get_subcommands().empty()) return;
    if (options->data.empty())
      throw UsageError("train: expected your pictures (tessera train pictures/), or codec, prior or pixels");
    train_pictures(*options);
  });
}

}  // namespace tessera::cli
