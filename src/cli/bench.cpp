/// tessera bench: milliseconds per denoiser evaluation, encode and decode; pictures per second end to end.
#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>

#include "cli/model_flags.h"
#include "cli/threads.h"
#include "cli/verbs.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

struct BenchOptions {
  std::string model, dtype = "float32";
  int threads = 0;
  std::int64_t repeats = 5, steps = 256;
  bool json = false;
};

/// Median of the repeats after one run that does not count, in milliseconds.
double median_ms(std::int64_t repeats, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (std::int64_t i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

/// The paper's sizes (arXiv:2111.12701: 24 layers, 8 heads of 64, 16x16 cells, 1,024 codes; VQGAN of 128 channels times
/// 1, 1, 2, 2, 4 at 256x256) with random weights, which cost the same as trained ones.
CodecOptions paper_codec() {
  CodecOptions options;
  options.image_size = 256;
  options.base_channels = 128;
  options.channel_multipliers = {1, 1, 2, 2, 4};
  options.residual_blocks = 2;
  options.decoder_residual_blocks = 2;
  options.attention_resolutions = {16};
  options.embedding_width = 256;
  options.codebook_size = 1024;
  options.final_activation = false;
  return options;
}

nlohmann::json measure(Codec codec, Denoiser& prior, Extent grid, const BenchOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto side = codec->options().image_size;
  const auto K = codec->options().codebook_size;
  const auto bytes = torch::zeros({1, codec->options().image_channels, side, side}, torch::kUInt8);
  const TokenGrid filled(torch::zeros({1, grid.h, grid.w}, torch::kInt64), K);
  nlohmann::json report;
  report["encode_ms"] = median_ms(options.repeats, [&] { codec->encode(bytes); });
  report["decode_ms"] = median_ms(options.repeats, [&] { codec->decode(filled); });
  if (prior.is_autoregressive()) return report;
  for (const std::int64_t batch : {1, 8}) {
    const auto tokens = torch::full({batch, grid.cells()}, K, torch::kInt64);
    const auto rows = torch::arange(batch * grid.cells());
    report[fmt::format("denoiser_batch_{}_ms", batch)] = median_ms(options.repeats, [&] { prior.logits_at(tokens, rows); });
  }
  FillOptions fill_options;
  fill_options.steps = options.steps;
  std::int64_t evaluations = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto made = fill(TokenGrid::all_masked(1, grid, K), prior, fill_options);
  codec->decode(made.grid);
  evaluations = made.report.evaluations;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  report["end_to_end"] = {{"steps", options.steps}, {"evaluations", evaluations}, {"seconds", seconds}, {"images_per_second", 1 / seconds}};
  return report;
}

void bench(const BenchOptions& options) {
  if (options.repeats < 1) throw UsageError(fmt::format("--repeats {}: expected 1 or more", options.repeats));
  set_threads(options.threads);
  nlohmann::json report;
  if (!options.model.empty()) {
    auto pipeline = Pipeline::load(options.model, {options.dtype, "cpu"});
    report = measure(pipeline.codec(), pipeline.prior(), pipeline.prior_options().grid, options);
    report["model"] = std::filesystem::path(options.model).filename().string();
  } else {
    require(options.dtype == "float32" || options.dtype == "bfloat16", "dtype '{}': expected one of float32, bfloat16", options.dtype);
    const auto precision = options.dtype == "bfloat16" ? Precision::bfloat16 : Precision::float32;
    torch::manual_seed(0);
    Codec codec(paper_codec());
    Transformer prior(TransformerOptions{}, Initialisation::small_normal);
    codec->eval();
    prior->eval();
    codec->set_precision(precision);
    prior->set_precision(precision);
    report = measure(codec, *prior, {16, 16}, options);
    report["model"] = "the paper's sizes, random weights";
  }
  report["dtype"] = options.dtype;
  report["threads"] = torch::get_num_threads();
  if (options.json) {
    fmt::print("{}\n", report.dump(2));
    return;
  }
  fmt::print("{} ({}, {} threads)\n", report["model"].get<std::string>(), options.dtype, report["threads"].get<int>());
  for (const auto& [name, value] : report.items()) {
    if (value.is_number() && name != "threads") fmt::print("  {:24} {:10.1f}\n", name, value.get<double>());
  }
  if (report.contains("end_to_end")) {
    const auto& whole = report["end_to_end"];
    fmt::print("  one picture, {} steps, {} evaluations: {:.2f} s, {:.3f} images/s\n", whole["steps"].get<std::int64_t>(),
               whole["evaluations"].get<std::int64_t>(), whole["seconds"].get<double>(), whole["images_per_second"].get<double>());
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  auto* verb = app.add_subcommand("bench", "how fast this machine is, at the paper's sizes or for a bundle");
  verb->add_option("-m,--model", options->model, "bundle folder [the paper's sizes with random weights]");
  verb->add_option("--dtype", options->dtype, "float32 or bfloat16: of the products")->capture_default_str();
  verb->add_option("--repeats", options->repeats, "runs of which the median is taken")->capture_default_str();
  verb->add_option("--steps", options->steps, "of the end-to-end picture")->capture_default_str()->check(CLI::PositiveNumber);
  verb->add_option("-t,--threads", options->threads, "threads; 0: one a processor")->capture_default_str();
  verb->add_flag("--json", options->json, "report as JSON on standard output");
  verb->callback([options] { bench(*options); });
}

}  // namespace tessera::cli
