/// tessera bench: milliseconds per denoiser evaluation, encode and decode; pictures per second end to end.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/bench_conditional.h"
#include "cli/model_flags.h"
#include "cli/stopwatch.h"
#include "cli/verbs.h"
#include "data/catalogue.h"
#include "denoiser/transformer.h"
#include "kernels/ops/device.h"
#include "kernels/ops/machine_peak.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/seconds_since.h"
#include "runtime/threads.h"

namespace tessera::cli {
namespace {

constexpr std::int64_t kPicturesOnDevice = 128;

struct BenchOptions {
  std::string model, dtype = "auto", device = "cpu";
  int threads = 0;
  std::int64_t repeats = 5;
  std::vector<std::int64_t> steps = {256, 100, 50, 16};
  bool quick = false, conditional = false, json = false;
};

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

/// Operations of one evaluation for one picture: products with weights, scores and mixtures of attention, head.
double operations(const NetworkFacts& options) {
  const double cells = static_cast<double>(options.grid.cells()), width = static_cast<double>(options.width);
  const double layer = 12 * width * width * cells + 2 * cells * cells * width;
  return 2 * (static_cast<double>(options.layers) * layer + cells * width * static_cast<double>(options.codebook_size));
}

double peak_memory_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// What all threads in use, or a GPU, reach together; a share of it is what a figure is worth.
void measure_peak(torch::Device device, nlohmann::json& report) {
  if (device.is_cpu()) {
    const auto peak = measure_machine_peak(torch::get_num_threads());
    report["peak_gflops"] = {{"float32", peak.float32}, {"bfloat16", peak.bfloat16}, {"int8", peak.int8}};
    return;
  }
  const auto peak = measure_device_peak(device);
  report["peak_gflops"] = {{"float32", peak.float32}, {"bfloat16", peak.bfloat16}, {"float16", peak.float16}};
}

/// Pictures that keep a device busy.
std::vector<std::int64_t> batches_for(torch::Device device, bool quick) {
  if (device.is_cpu()) return quick ? std::vector<std::int64_t>{1, 8} : std::vector<std::int64_t>{1, 8, 32};
  return {1, 8, 32, 128};
}

void measure_denoiser(Denoiser& prior, const NetworkFacts& sizes, const BenchOptions& options, nlohmann::json& report) {
  const auto device = prior.device();
  for (const std::int64_t batch : batches_for(device, options.quick)) {
    const auto tokens = torch::full({batch, sizes.grid.cells()}, sizes.codebook_size, torch::kInt64);
    const auto rows = torch::arange(batch * sizes.grid.cells());
    const auto evaluator = prior.begin();
    const Look look{tokens, rows, torch::ones({1}, torch::kInt64)};
    const auto ms = median_ms(device, options.repeats, [&] { evaluator->logits(look); });
    report[fmt::format("denoiser_batch_{}_ms", batch)] = ms;
    if (prior.sees_time()) continue;  // other operations than those counted
    report[fmt::format("denoiser_batch_{}_gflops", batch)] = static_cast<double>(batch) * operations(sizes) / ms * 1e-6;
  }
}

void measure_pictures(Codec codec, Denoiser& prior, Extent grid, const std::shared_ptr<const Process>& process,
                      const BenchOptions& options, nlohmann::json& report) {
  auto& all = report["end_to_end"] = nlohmann::json::array();
  const std::int64_t pictures = prior.device().is_cpu() ? 1 : kPicturesOnDevice;
  for (const auto steps : options.steps) {
    FillOptions fill_options;
    fill_options.process = process;
    fill_options.steps = std::min(steps, process ? process->total_steps() : grid.cells());
    const auto begin = std::chrono::steady_clock::now();
    const auto made = fill(TokenGrid::all_masked(pictures, grid, prior.codebook_size()), prior, fill_options);
    codec->decode(made.grid);
    const double seconds = seconds_since(begin);
    all.push_back({{"steps", fill_options.steps},
                   {"pictures", pictures},
                   {"evaluations", made.report.evaluations},
                   {"seconds", seconds},
                   {"images_per_second", static_cast<double>(pictures) / seconds}});
  }
}

nlohmann::json measure(Codec codec, Denoiser& prior, const NetworkFacts& sizes,
                       const std::shared_ptr<const Process>& process, const BenchOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto side = codec->options().image_size;
  const auto bytes = torch::zeros({1, codec->options().image_channels, side, side}, torch::kUInt8);
  const TokenGrid filled(torch::zeros({1, sizes.grid.h, sizes.grid.w}, torch::kInt64), codec->options().codebook_size);
  nlohmann::json report;
  measure_peak(prior.device(), report);
  report["encode_ms"] = median_ms(prior.device(), options.repeats, [&] { codec->encode(bytes); });
  report["decode_ms"] = median_ms(prior.device(), options.repeats, [&] { codec->decode(filled); });
  if (!prior.device().is_cpu()) {
    constexpr std::int64_t kBatch = 32;
    const auto many = bytes.expand({kBatch, -1, -1, -1}).contiguous();
    const TokenGrid grids(torch::zeros({kBatch, sizes.grid.h, sizes.grid.w}, torch::kInt64), filled.codebook_size());
    report["encode_batch_32_ms"] = median_ms(options.repeats, [&] { codec->encode(many); });
    report["decode_batch_32_ms"] = median_ms(options.repeats, [&] { codec->decode(grids); });
  }
  if (!prior.is_autoregressive()) {
    measure_denoiser(prior, sizes, options, report);
    if (!options.quick) measure_pictures(codec, prior, sizes.grid, process, options, report);
  }
  report["peak_memory_mib"] = peak_memory_mib();
  if (const auto bytes_there = device_memory_in_use(prior.device()); bytes_there > 0) {
    report["device_memory_mib"] = static_cast<double>(bytes_there) / (1 << 20);
  }
  return report;
}

/// What share of the peak of its dtype each rate is.
void add_shares(nlohmann::json& report) {
  const auto peak = report["peak_gflops"].value(report["dtype"].get<std::string>(), 0.0);
  if (peak <= 0) return;
  constexpr std::string_view kRate = "_gflops";
  auto shares = nlohmann::json::object();
  for (const auto& [name, value] : report.items()) {
    if (!value.is_number() || !name.ends_with(kRate)) continue;
    shares[name.substr(0, name.size() - kRate.size()) + "_percent_of_peak"] = 100 * value.get<double>() / peak;
  }
  report.update(shares);
}

/// How much longer the second takes, for people.
std::string more(const nlohmann::json& times, const char* first, const char* second) {
  const double ratio = times[second].get<double>() / times[first].get<double>();
  return fmt::format("{:.2f} times as long", ratio);
}

void print_conditioning(const nlohmann::json& figures) {
  const auto number = [&](const char* name) { return figures[name].get<double>(); };
  fmt::print("  a condition ({}, {:.1f} million parameters), one picture:\n", figures["condition"].get<std::string>(),
             number("parameters") * 1e-6);
  fmt::print("    evaluation without condition {:10.1f} ms\n", number("evaluation_without_condition_ms"));
  fmt::print("    evaluation with it           {:10.1f} ms, {}\n", number("evaluation_with_condition_ms"),
             more(figures, "evaluation_without_condition_ms", "evaluation_with_condition_ms"));
  fmt::print("    evaluation with guidance     {:10.1f} ms, {} as that\n", number("evaluation_with_guidance_ms"),
             more(figures, "evaluation_with_condition_ms", "evaluation_with_guidance_ms"));
  if (figures.contains("prompt_ms")) fmt::print("    a prompt, once a picture     {:10.1f} ms\n", number("prompt_ms"));
  fmt::print("    steps per second: {:.2f} with guidance off, {:.2f} with guidance on\n",
             number("steps_per_second_with_condition"), number("steps_per_second_with_guidance"));
}

void print(const nlohmann::json& report) {
  const auto where = report["device"] == "cpu" ? fmt::format("{} threads", report["threads"].get<int>())
                                               : report["device"].get<std::string>();
  fmt::print("{} ({}, {})\n", report["model"].get<std::string>(), report["dtype"].get<std::string>(), where);
  for (const auto& [name, value] : report.items()) {
    if (value.is_number() && name != "threads") fmt::print("  {:33} {:10.1f}\n", name, value.get<double>());
  }
  if (report.contains("conditioning")) print_conditioning(report["conditioning"]);
  fmt::print("  the peak of {}, GFLOP/s:", where);
  for (const auto& [name, value] : report["peak_gflops"].items()) fmt::print(" {} {:.0f}", name, value.get<double>());
  fmt::print("\n");
  if (!report.contains("end_to_end")) return;
  for (const auto& whole : report["end_to_end"]) {
    const auto pictures = whole["pictures"].get<std::int64_t>();
    fmt::print("  {}, {} steps, {} evaluations: {:.2f} s, {:.3f} images/s\n",
               pictures == 1 ? "one picture" : fmt::format("{} pictures", pictures), whole["steps"].get<std::int64_t>(),
               whole["evaluations"].get<std::int64_t>(), whole["seconds"].get<double>(),
               whole["images_per_second"].get<double>());
  }
}

void bench(const BenchOptions& options) {
  if (options.repeats < 1) throw UsageError(fmt::format("--repeats {}: expected 1 or more", options.repeats));
  if (options.conditional && !options.model.empty())
    throw UsageError("--conditional: a model is given, expected one of them");
  if (options.conditional && options.device != "cpu")
    throw UsageError(fmt::format("--conditional: device {}, expected cpu", options.device));
  set_threads(options.threads);
  const auto device = device_from(options.device);
  const auto precision = precision_from(options.dtype, device);
  nlohmann::json report;
  if (!options.model.empty()) {
    auto pipeline = Pipeline::load(options.model, {options.dtype, options.device});
    report = measure(pipeline.codec(), pipeline.prior(), pipeline.prior_network(), pipeline.fill_process(), options);
    if (pipeline.prior_network().sees_time()) {
      auto& figures = report["conditioning"];
      const auto none = pipeline.condition_for({});
      const auto file = std::filesystem::path(options.model) / "transformer" / "config.json";
      const auto sizes = ConditionalOptions::from_config(read_json_object(read_file(file), file.string()));
      figures = measure_conditioning(pipeline.prior(), sizes, pipeline.fill_process(), precision, options.repeats,
                                     none.states.defined() ? none.states.size(0) : 0);
      if (pipeline.condition() == "text") {
        PromptOptions prompt;
        prompt.prompt = "a teddy bear playing in the pool";
        std::int64_t number = 0;  // another text each time: the same is remembered
        figures["prompt_ms"] = median_ms(device, options.repeats, [&] {
          auto other = prompt;
          other.prompt += fmt::format(" {}", number++);
          (void)pipeline.condition_for(other);
        });
      }
    }
    report["model"] = valid_utf8(std::filesystem::path(options.model).filename().string());
  } else if (options.conditional) {
    torch::manual_seed(0);
    measure_peak(device, report);
    report["conditioning"] = measure_paper_conditioning(precision, options.repeats);
    report["peak_memory_mib"] = peak_memory_mib();
    report["model"] = "VQ-Diffusion-B's sizes, random weights";
  } else {
    torch::manual_seed(0);
    Codec codec(paper_codec());
    const TransformerOptions sizes;
    Transformer prior(sizes, Initialisation::small_normal);
    codec->eval();
    prior->eval();
    codec->set_precision(precision_of_codec(precision, device));
    prior->set_precision(precision);
    codec->to(device);
    prior->to(device);
    report = measure(codec, *prior, network_facts(sizes.to_config(), "bench"), nullptr, options);
    report["model"] = "the paper's sizes, random weights";
  }
  report["dtype"] = name_of(precision);
  report["device"] = options.device;
  report["threads"] = torch::get_num_threads();
  add_shares(report);
  if (options.json) {
    fmt::print("{}\n", report.dump(2));
  } else {
    print(report);
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  auto* verb = app.add_subcommand("bench", "how fast this machine is, at the paper's sizes or for a bundle");
  verb->add_option("-m,--model", options->model, "bundle folder [the paper's sizes with random weights]");
  verb->add_option("--dtype", options->dtype, kDtypeHelp)->capture_default_str();
  verb->add_option("--device", options->device, kDeviceHelp)->capture_default_str();
  verb->add_option("--repeats", options->repeats, "runs of which the median is taken")->capture_default_str();
  verb->add_option("--steps", options->steps, "of the end-to-end pictures")
      ->capture_default_str()
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  verb->add_flag("--quick", options->quick, "leave out batch 32 and the end-to-end pictures");
  verb->add_flag("--conditional", options->conditional,
                 "the sizes of VQ-Diffusion-B instead: what a condition and guidance cost (a model of -m with a "
                 "condition shows it by itself)");
  verb->add_option("-t,--threads", options->threads, "threads; 0: one a processor")->capture_default_str();
  verb->add_flag("--json", options->json, "report as JSON on standard output");
  verb->callback([options] { bench(*options); });
}

}  // namespace tessera::cli
