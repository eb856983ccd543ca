/// tessera compare A B: two models measured alike, two sets of pictures, or a model's samples and a set of pictures.
#include <fmt/ranges.h>

#include <map>

#include "cli/edit_run.h"
#include "cli/evaluate_references.h"
#include "cli/evaluation_flags.h"
#include "cli/verbs.h"
#include "data/pack_file.h"
#include "metrics/confidence.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/threads.h"
#include "runtime/version.h"

namespace tessera::cli {
namespace {

struct CompareOptions : EvaluationFlags {
  std::string a, b, command;
  bool json = false;
};

bool is_bundle(const std::filesystem::path& path) {
  return std::filesystem::exists(path / "model_index.json") || std::filesystem::exists(path / "config.json");
}

/// The pictures of a path in their own sizes; those of a pack as packed.
std::unique_ptr<ImageStream> pictures_of(const CompareOptions& options, const std::string& path) {
  if (!is_pack(path)) return file_stream(path, options.images);
  auto flags = static_cast<EvaluationFlags>(options);
  flags.data = path;
  const auto data = open_data(flags, 0);
  auto indices = data.require_split(Split::all);
  if (options.images > 0 && static_cast<std::int64_t>(indices.size()) > options.images)
    indices.resize(static_cast<std::size_t>(options.images));
  return dataset_stream(data, indices);
}

/// Two models are asked alike, as far as each can be.
void keep_what_it_uses(EvaluationFlags& flags, NamedModel& model) {
  std::vector<std::string> dropped;
  flags.sampling.options = used_by(flags.sampling.options, model.pipeline, dropped);
  if (!dropped.empty()) log().info("{}: its sampler does not use {}", model.path, fmt::join(dropped, ", "));
}

/// A model's samples as pictures.
std::unique_ptr<ImageStream> samples_of(const CompareOptions& options, const std::string& path,
                                        const std::filesystem::path& folder) {
  auto flags = static_cast<EvaluationFlags>(options);
  flags.model.model = path;
  auto model = load_named(flags.model);
  keep_what_it_uses(flags, model);
  const auto made = sampled(flags, model, resolve(flags.sampling, model.pipeline), folder);
  return tensor_stream(decode_grids(model.pipeline.codec(), made.grid), "");
}

/// Two sets of pictures; A takes the part of the real ones.
nlohmann::ordered_json compare_pictures(const CompareOptions& options, HtmlReport& report) {
  set_threads(options.model.threads);
  const auto network = feature_network(options, nullptr);
  const auto side = [&](const std::string& path, const char* name) {
    const auto stream = is_bundle(path)
                            ? samples_of(options, path, std::filesystem::path(options.output) / "samples" / name)
                            : pictures_of(options, path);
    return extract_features(*stream, *network, fmt::format("features of {}", name), cache_of(options));
  };
  const auto a = side(options.a, "a"), b = side(options.b, "b");
  const auto figures = distribution_figures(a, b, *network, options.distribution);
  report.heading("B against A");
  report.paragraph("A takes the part of the real pictures, B that of the generated ones.");
  report.figures(figures);
  nlohmann::ordered_json all = {{"distribution", figures}};
  if (options.wants("shape")) {
    all["shape"] = shape_figures(a, b, *network, options.shape);
    report.figures(all["shape"]);
  }
  if (auto references = picture_references(options, *network, a, b, report); !references.is_null())
    all["references"] = std::move(references);
  return all;
}

/// Mean of B's minus A's value over the images that both have.
void add_paired(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b, const std::string& part,
                const std::string& value, double scale_a, double scale_b, const std::string& label, double confidence,
                nlohmann::ordered_json& differences) {
  if (!a.contains(part) || !b.contains(part)) return;
  std::map<std::string, double> of_a;
  for (const auto& image : a[part]["images"]) {
    if (image.contains(value)) of_a[image["image"].get<std::string>()] = image[value].get<double>() * scale_a;
  }
  std::vector<double> apart;
  for (const auto& image : b[part]["images"]) {
    const auto found = image.contains(value) ? of_a.find(image["image"].get<std::string>()) : of_a.end();
    if (found != of_a.end()) apart.push_back(image[value].get<double>() * scale_b - found->second);
  }
  if (!apart.empty()) differences[label] = to_json(interval_of(torch::tensor(apart, torch::kFloat64), confidence));
}

/// Two bundles on the same data, with the same features (`--features codec`: of A's codec).
nlohmann::ordered_json compare_models(const CompareOptions& options, HtmlReport& report) {
  nlohmann::ordered_json figures;
  for (const auto& [name, path] : {std::pair{"a", options.a}, std::pair{"b", options.b}}) {
    auto flags = static_cast<EvaluationFlags>(options);
    flags.model.model = path;
    if (flags.features == "codec") flags.features_from = options.a;
    auto model = load_named(flags.model);
    if (model.pipeline.has_prior()) keep_what_it_uses(flags, model);
    if (!model.pipeline.has_prior()) flags.metrics = {"reconstruction"};
    report.heading(fmt::format("Model {}: {}", name, path));
    figures[name] = evaluate_model(flags, model, std::filesystem::path(options.output) / "samples" / name, report);
  }
  const auto &a = figures["a"], &b = figures["b"];
  nlohmann::ordered_json differences;
  const double confidence = options.likelihood.confidence;
  if (a.contains("likelihood") && b.contains("likelihood")) {
    // Codecs differ in the number of cells: bits an image, not bits per token, can be compared.
    add_paired(a, b, "likelihood", "bits_per_token", a["likelihood"]["cells"].get<double>(),
               b["likelihood"]["cells"].get<double>(), "bits_an_image", confidence, differences);
  }
  for (const char* value : {"l1", "psnr_db", "ssim", "lpips_vgg"})
    add_paired(a, b, "reconstruction", value, 1, 1, value, confidence, differences);
  for (const char* value : {"frechet_distance", "precision", "recall", "density", "coverage"}) {
    if (a.contains("distribution") && b.contains("distribution")) {
      differences[value] = b["distribution"][value].get<double>() - a["distribution"][value].get<double>();
    }
  }
  figures["b_minus_a"] = differences;
  report.heading("B minus A");
  report.paragraph(
      "Image by image where both models have a value for the same image: the interval is that of the difference.");
  report.figures(differences);
  return figures;
}

void compare(const CompareOptions& options) {
  options.validate();
  for (const auto& path : {options.a, options.b})
    require(std::filesystem::exists(path), "{}: no such file or folder", path);
  const bool models = is_bundle(options.a) && is_bundle(options.b);
  if (models && options.data.empty()) throw UsageError("compare: two models need --data to be measured on");
  if (options.output.empty() && (models || is_bundle(options.a) || is_bundle(options.b)))
    throw UsageError("compare: expected -o, the folder of the report and the samples");
  HtmlReport report(fmt::format("{} and {}", std::filesystem::path(options.a).filename().string(),
                                std::filesystem::path(options.b).filename().string()));
  nlohmann::ordered_json figures = {
      {"tessera", version()}, {"command", options.command}, {"a_path", options.a}, {"b_path", options.b}};
  figures.update(models ? compare_models(options, report) : compare_pictures(options, report));
  report.heading("To repeat it");
  report.code(options.command);
  if (!options.output.empty()) {
    std::filesystem::create_directories(options.output);
    write_file_atomically(std::filesystem::path(options.output) / "report.json", figures.dump(1) + "\n");
    report.write(std::filesystem::path(options.output) / "report.html");
  }
  if (options.json) {
    fmt::print("{}\n", figures.dump(2));
    return;
  }
  const auto& shown = figures.contains("b_minus_a") ? figures["b_minus_a"] : figures["distribution"];
  for (const auto& [name, value] : shown.items()) {
    if (value.is_number()) fmt::print("{:<28} {}\n", name, number_text(value.get<double>()));
    if (value.is_string()) fmt::print("{:<28} {}\n", name, value.get<std::string>());
    if (value.is_object() && value.contains("low")) {
      fmt::print("{:<28} {} ({} to {})\n", name, number_text(value["mean"].get<double>()),
                 number_text(value["low"].get<double>()), number_text(value["high"].get<double>()));
    }
  }
  if (!options.output.empty()) fmt::print("{}\n", (std::filesystem::path(options.output) / "report.html").string());
}

}  // namespace

void add_compare(CLI::App& app) {
  auto options = std::make_shared<CompareOptions>();
  auto* verb = app.add_subcommand("compare", "two models on the same data, or two sets of pictures");
  verb->add_option("a", options->a, "bundle, or pictures (folder, zip, tar, .tessera-pack)")->required();
  verb->add_option("b", options->b, "the same")->required();
  verb->add_option("--dtype", options->model.options.dtype, kDtypeHelp)->capture_default_str();
  verb->add_option("--device", options->model.options.device, kDeviceHelp)->capture_default_str();
  verb->add_option("-t,--threads", options->model.threads, "threads; 0: one a processor")->capture_default_str();
  add_evaluation_flags(*verb, *options);
  verb->add_option("-o,--output", options->output, "folder: report.html, report.json, the samples");
  verb->add_flag("--json", options->json, "all figures as JSON on standard output");
  verb->callback([verb, options] {
    options->command = command_line(*verb);
    compare(*options);
  });
}

}  // namespace tessera::cli
