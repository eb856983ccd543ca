/// tessera evaluate: how good a model is, as figures with their intervals and a report.
#include <algorithm>
#include <chrono>
#include <numbers>

#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "cli/edit_run.h"
#include "cli/evaluate_references.h"
#include "cli/evaluation_flags.h"
#include "cli/verbs.h"
#include "metrics/sweep.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/seconds_since.h"
#include "runtime/shard.h"
#include "runtime/threads.h"
#include "runtime/version.h"
#include "training/token_data.h"

namespace tessera::cli {
namespace {

struct EvaluateOptions : EvaluationFlags {
  SweepAxes sweep;
  std::string draw_only, shard = "0/1", command;
  bool json = false, keep_cross_entropy = false;
  double lease_silence = 60;
  bool sweeps() const { return !sweep.empty(); }
};

/// What a worker process does: its share of the samples, nothing else.
void draw_only(const EvaluateOptions& options) {
  auto model = load_named(options.model);
  SampleOptions samples;
  samples.fill = resolve(options.sampling, model.pipeline);
  samples.count = options.count;
  samples.part_size = options.part_size;
  samples.folder = options.draw_only;
  samples.prior_hash = model.prior_key();
  const auto shard = shard_from(options.shard);
  draw_samples(model.pipeline, samples, shard.index, shard.count);
}

/// Likelihood of a file of tokens, for which the bundle needs no codec.
nlohmann::ordered_json evaluate_tokens(const EvaluateOptions& options, HtmlReport& report) {
  set_threads(options.model.threads);
  const auto bundle = load_bundle(options.model.model);
  require(bundle.denoiser.has_value(), "{}: the bundle holds no prior (transformer/)", options.model.model);
  Prior prior(bundle, options.model.model, {}, {});
  const auto& network = prior.facts().network;
  require(!network.sees_time(), "{}: the prior sees the time; its likelihood is measured on pictures, not on tokens",
          options.model.model);
  const auto data = read_token_file(options.data);
  require(data.codebook_size <= network.codebook_size, "{}: tokens of {} codes, the prior knows {}", options.data,
          data.codebook_size, network.codebook_size);
  auto tokens = options.split == "train"        ? data.train
                : options.split == "validation" ? data.validation
                                                : torch::cat({data.train, data.validation});
  require(tokens.size(0) > 0, "{}: the split '{}' holds no grids", options.data, options.split);
  if (options.images > 0) tokens = tokens.slice(0, 0, std::min(options.images, tokens.size(0)));
  NamedGrids grids{tokens.flatten(1).to(torch::kInt64), {}};
  for (std::int64_t i = 0; i < grids.tokens.size(0); ++i) grids.names.push_back(fmt::format("{} {}", options.split, i));
  auto likelihood = options.likelihood;
  likelihood.bound.form = bound_form_from(options.form);
  likelihood.bound.seed = options.sampling.seed;
  likelihood.bound.total_steps = prior.facts().total_steps;
  nlohmann::ordered_json figures = {
      {"model", {{"path", options.model.model}, {"prior_hash", part_hash(bundle, "transformer")}}},
      {"data", {{"path", options.data}, {"split", options.split}, {"grids", grids.tokens.size(0)}}},
      {"seed", options.sampling.seed}};
  report.heading("Model and data");
  report.figures(figures);
  figures["likelihood"] = likelihood_figures(prior.denoiser(), network.grid.cells(), grids, likelihood, report);
  return figures;
}

nlohmann::ordered_json sweep(const EvaluateOptions& options, NamedModel& model, const std::filesystem::path& output,
                             HtmlReport& report, nlohmann::ordered_json& references) {
  auto choice = options.sampling;
  // A model's suggestion is meant for the sampler that it suggests.
  if (options.sweep.count("sampler") && !choice.options.has("context_guidance"))
    choice.options.set("context_guidance", 1.0);
  const auto cells = sweep_cells(resolve(choice, model.pipeline), options.sweep);
  const auto data = open_data(options, model.pipeline.codec()->options().image_size);
  const auto network = feature_network(options, &model);
  const auto real_stream = dataset_stream(data, data.require_split(parse_split(options.real)));
  const auto real = extract_features(*real_stream, *network, "features of real pictures", cache_of(options));
  const auto samples_key = [&](const SweepCell& cell) {
    SampleOptions samples;
    samples.fill = cell.fill;
    samples.prior_hash = model.prior_key();
    return samples.key();
  };
  SweepWork work;
  work.folder = output / "cells";
  work.lease_silence = options.lease_silence;
  work.key = [&](const SweepCell& cell) {
    const auto& d = options.distribution;
    return fmt::format("{}; {} samples; {}; {}; k {}; KID {}x{}; infinity {}; codec {}", samples_key(cell),
                       options.count, real_stream->key(), network->key(), d.prdc.k, d.kid.subsets, d.kid.subset_size,
                       d.infinity.points, model.codec_key());
  };
  work.measure = [&](const SweepCell& cell) {
    const auto made = sampled(options, model, cell.fill, output / "samples" / cell.name);
    const auto images = decode_grids(model.pipeline.codec(), made.grid);
    const auto fake = extract_features(*tensor_stream(images, ""), *network, "features of samples");
    auto figures = distribution_figures(real, fake, *network, options.distribution);
    figures["evaluations_an_image"] = made.evaluations;
    figures["seconds_an_image"] = made.seconds / static_cast<double>(options.count);
    return figures;
  };
  const auto all = sweep_all(cells, work);
  add_sweep(all, report);
  references = sample_references(options, model, data, *network, real, {}, report);
  write_file_atomically(output / "sweep.svg", sweep_plot(all, "frechet_distance", network->distance_name()));
  return all;
}

void print_references(const nlohmann::ordered_json& references) {
  fmt::print("{:<26} {:>7} {:>14} {:>10} {:>8} {:>9} {:>12}\n", "beside references", "images",
             references["distance_name"].get<std::string>(), "precision", "recall", "coverage", "to nearest");
  for (const auto& row : references["rows"]) {
    const auto number = [&](const char* name) { return number_text(row[name].get<double>()); };
    fmt::print("{:<26} {:>7} {:>14} {:>10} {:>8} {:>9} {:>12}\n", row["set"].get<std::string>(), number("images"),
               number("frechet_distance"), number("precision"), number("recall"), number("coverage"),
               number("distance_to_nearest_real"));
  }
  for (const auto& note : references["notes"]) fmt::print("{}\n", note.get<std::string>());
}

void print_summary(const nlohmann::ordered_json& figures, const std::filesystem::path& report) {
  const auto line = [&](const char* part, const char* name, const char* label) {
    if (!figures.contains(part) || !figures[part].contains(name)) return;
    const auto& value = figures[part][name];
    if (value.is_number()) fmt::print("{:<34} {}\n", label, number_text(value.get<double>()));
    if (value.is_object() && value.contains("low")) {
      fmt::print("{:<34} {} ({} to {})\n", label, number_text(value["mean"].get<double>()),
                 number_text(value["low"].get<double>()), number_text(value["high"].get<double>()));
    }
  };
  line("likelihood", "bits_per_token", "bits per token");
  line("image_likelihood", "bits_per_dimension", "bits per dimension");
  line("reconstruction", "psnr_db", "reconstruction PSNR, dB");
  line("reconstruction", "ssim", "reconstruction SSIM");
  line("reconstruction", "lpips_vgg", "reconstruction LPIPS");
  if (figures.contains("distribution")) {
    line("distribution", "frechet_distance", figures["distribution"]["distance_name"].get<std::string>().c_str());
  }
  for (const char* name : {"precision", "recall", "density", "coverage"}) line("distribution", name, name);
  line("captions", "top1", "captions whose own picture is nearest");
  line("captions", "chance_top1", "  by chance");
  line("captions", "mean_rank", "mean rank of the own caption");
  line("captions", "chance_mean_rank", "  by chance");
  if (figures.contains("references")) print_references(figures["references"]);
  if (figures.contains("distribution"))
    fmt::print("features: {}\n", figures["distribution"]["features"].get<std::string>());
  fmt::print("{}\n", report.string());
}

/// The cross-entropy by known cells, as measured with the likelihood, into scheduler/config.json.
void keep_cross_entropy(const std::filesystem::path& model, const nlohmann::ordered_json& figures) {
  const char* name = "bits_a_masked_cell_by_share_masked";
  require(
      figures.contains("likelihood") && figures["likelihood"].contains(name),
      "--keep-cross-entropy: the likelihood of an un-masking prior was not measured, expected --metrics likelihood");
  auto table = nlohmann::json::array();
  const auto& by_masked = figures["likelihood"][name];
  for (auto bits = by_masked.rbegin(); bits != by_masked.rend(); ++bits) {
    require(bits->get<double>() > 0,
            "--keep-cross-entropy: no cells were masked at some shares, expected more pictures");
    table.push_back(bits->get<double>() * std::numbers::ln2);
  }
  const auto file = model / "scheduler" / "config.json";
  auto config = read_json_object(read_file(file), file.string());
  config["tessera"]["cross_entropy"] = table;
  replace_bundle_file(model, "scheduler/config.json", config.dump(2) + "\n");
  log().info("{}: holds the cross-entropy by known cells now", file.string());
}

void evaluate(const EvaluateOptions& options) {
  options.validate();
  if (!options.draw_only.empty()) return draw_only(options);
  if (options.output.empty()) throw UsageError("evaluate: expected -o, the folder of the report");
  if (options.data.empty()) throw UsageError("evaluate: expected --data");
  const auto begin = std::chrono::steady_clock::now();
  const std::filesystem::path output = options.output;
  HtmlReport report(fmt::format("Evaluation of {}", std::filesystem::path(options.model.model).filename().string()));
  nlohmann::ordered_json figures = {{"tessera", version()}, {"command", options.command}};
  if (options.data.ends_with(".safetensors")) {
    figures.update(evaluate_tokens(options, report));
  } else if (options.sweeps()) {
    auto model = load_named(options.model);
    figures["model"] = model.to_json();
    figures["data"] = {{"path", options.data}, {"real", options.real}};
    figures["samples_a_cell"] = options.count;
    figures["seed"] = options.sampling.seed;
    nlohmann::ordered_json references;
    figures["sweep"] = sweep(options, model, output, report, references);
    figures["references"] = references;
  } else {
    auto model = load_named(options.model);
    figures.update(evaluate_model(options, model, output / "samples", report));
    if (options.keep_cross_entropy) keep_cross_entropy(options.model.model, figures);
  }
  figures["seconds"] = seconds_since(begin);
  report.heading("To repeat it");
  report.code(options.command);
  std::filesystem::create_directories(output);
  write_file_atomically(output / "report.json", figures.dump(1) + "\n");
  report.write(output / "report.html");
  if (options.json) {
    fmt::print("{}\n", figures.dump(2));
  } else {
    print_summary(figures, output / "report.html");
  }
}

/// A flag for each option that is no condition; several keep the plural that they have had.
std::string sweep_flag(const OptionField& field) {
  const auto flag = "--sweep-" + field.flag().substr(2);
  return field.name == "sampler" || field.name == "temperature" ? flag + "s" : flag;
}

void add_sweep_flags(CLI::App& verb, SweepAxes& axes) {
  for (const auto& field : SamplingOptions::fields()) {
    if (field.is_condition()) continue;
    const auto take = [&axes, field](const std::vector<std::string>& words) {
      for (const auto& word : words) axes[field.name].push_back(field.from_text(word));
    };
    verb.add_option_function<std::vector<std::string>>(sweep_flag(field), take,
                                                       "measure samples at each of these: " + field.help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->group("Sweep");
  }
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto options = std::make_shared<EvaluateOptions>();
  auto* verb =
      app.add_subcommand("evaluate", "likelihood, FID, precision and recall, reconstruction, neighbours: a report");
  add_model_flags(*verb, options->model);
  add_evaluation_flags(*verb, *options);
  verb->add_option("-o,--output", options->output, "folder: report.html, report.json, the samples");
  add_sweep_flags(*verb, options->sweep);
  verb->add_option("--lease-silence", options->lease_silence,
                   "several processes may share a sweep into one folder: seconds of silence after which a cell is "
                   "taken from one that "
                   "died")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str()
      ->group("Sweep");
  verb->add_option("--draw-only", options->draw_only, "draw samples into this folder and stop")->group("Samples");
  verb->add_option("--shard", options->shard,
                   "with --draw-only: I/N, every N-th part from I on; array: as the task of a Slurm array")
      ->capture_default_str()
      ->group("Samples");
  verb->add_flag("--keep-cross-entropy", options->keep_cross_entropy,
                 "write the cross-entropy by known cells into the bundle, for --schedule dp");
  verb->add_flag("--json", options->json, "all figures as JSON on standard output");
  verb->callback([verb, options] {
    options->command = command_line(*verb);
    evaluate(*options);
  });
}

}  // namespace tessera::cli
