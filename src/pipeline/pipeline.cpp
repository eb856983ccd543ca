#include "pipeline/pipeline.h"

#include <nlohmann/json.hpp>

#include "canvas/tiles.h"
#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "kernels/device.h"
#include "pipeline/process_config.h"
#include "pipeline/sampling_choice.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// A pipeline's weights are never written to.
WeightLoading loading_for(Precision precision, torch::Device device, const PipelineOptions& options) {
  if (!device.is_cpu() || !options.map_weights) return WeightLoading::copy;
  return precision == Precision::float32 ? WeightLoading::share : WeightLoading::share_halves;
}

}  // namespace

Pipeline Pipeline::load(const std::filesystem::path& bundle, const PipelineOptions& options) {
  const auto device = device_from(options.device);
  const auto precision = precision_from(options.dtype, device);
  const auto parts = load_bundle(bundle, BundleCheck::weights);
  const auto built = [&]() -> Pipeline {
    Pipeline pipeline;
    pipeline.bundle_ = bundle;
    pipeline.dtype_ = name_of(precision);
    require(parts.codec.has_value(), "{}: the bundle holds no codec (vqvae/)", bundle.string());
    const auto loading = loading_for(precision, device, options);
    {
      const UnsetParameters unset;
      pipeline.codec_ = Codec(codec_options_from_json(parts.codec->config));
      pipeline.codec_->load(parts.codec->tensors, (bundle / "vqvae").string(), loading);
    }
    pipeline.codec_->set_precision(precision_of_codec(precision, device));
    pipeline.codec_->eval();
    pipeline.codec_->to(device);
    if (!parts.denoiser) return pipeline;
    if (parts.scheduler) {
      const auto where = (bundle / "scheduler").string();
      pipeline.suggestion_ = suggestion_from_config(*parts.scheduler, where);
      pipeline.cross_entropy_ = cross_entropy_from_config(*parts.scheduler, where);
    }
    if (is_conditional_config(parts.denoiser->config)) {
      pipeline.load_conditional_prior(parts, precision, device, loading);
      return pipeline;
    }
    pipeline.prior_ =
        load_transformer(parts.denoiser->config, parts.denoiser->tensors, (bundle / "transformer").string(), loading);
    pipeline.prior_->set_precision(precision);
    pipeline.prior_->to(device);
    require(pipeline.prior_->codebook_size() == pipeline.codec_->options().codebook_size,
            "{}: the prior knows {} codes, the codec {}", bundle.string(), pipeline.prior_->codebook_size(),
            pipeline.codec_->options().codebook_size);
    const auto own =
        parts.scheduler ? parts.scheduler->value("tessera", nlohmann::json::object()) : nlohmann::json::object();
    const auto process = pipeline.prior_->is_autoregressive() ? "autoregressive" : "absorbing";
    const auto total_steps = own.value("total_steps", nlohmann::json(pipeline.prior_->options().grid.cells()));
    const auto named = own.value("process", nlohmann::json(process));
    require(total_steps.is_number_integer() && total_steps > 0 && total_steps <= kMostSteps,
            "{}: total_steps is {}, expected 1 to {}", (bundle / "scheduler").string(), total_steps.dump(), kMostSteps);
    require(named == process, "{}: process is {}, expected \"{}\" as the transformer is",
            (bundle / "scheduler").string(), named.dump(), process);
    pipeline.total_steps_ = total_steps.get<std::int64_t>();
    pipeline.process_ = process;
    return pipeline;
  };
  auto pipeline = built();
  // Last: what is wrong in a configuration is said in its own words where there are any.
  require_recorded(bundle, parts.index);
  return pipeline;
}

void Pipeline::load_conditional_prior(const Bundle& parts, Precision precision, torch::Device device,
                                      WeightLoading loading) {
  const auto where = (bundle_ / "transformer").string();
  auto network = load_conditional(parts.denoiser->config, parts.denoiser->tensors, where, loading);
  network->set_precision(precision);
  network->to(device);
  const auto& options = network->options();
  require(options.codebook_size == codec_->options().codebook_size, "{}: the prior knows {} codes, the codec {}",
          bundle_.string(), options.codebook_size, codec_->options().codebook_size);
  require(parts.scheduler.has_value(), "{}: the bundle holds no process (scheduler/)", bundle_.string());
  const auto process = make_process(*parts.scheduler, options.codebook_size, options.total_steps,
                                    codec_->quantizer->codebook().to(torch::kCPU), (bundle_ / "scheduler").string());
  process_ = process.name;
  fill_process_ = process.process;
  total_steps_ = process.process->total_steps();
  guided_options_.codebook_size = options.codebook_size;
  guided_options_.grid = options.grid;
  guided_options_.layers = options.layers;
  guided_options_.heads = options.heads;
  guided_options_.width = options.width();
  if (options.condition_width > 0) {
    text_ = TextCondition::load(parts, bundle_.string());
    text_->encoder()->to(device);
    require(text_->encoder()->options().width == options.condition_width,
            "{}: the text encoder is {} wide, the denoiser expects {}", bundle_.string(),
            text_->encoder()->options().width, options.condition_width);
  }
  Condition none;
  if (text_) none.states = none.null_states = text_->null_states();
  guided_ = std::make_shared<GuidedDenoiser>(network, none);
}

std::string Pipeline::condition() const {
  if (!guided_) return "none";
  return text_ ? "text" : guided_->network()->options().classes > 0 ? "class" : "none";
}

double Pipeline::guidance_scale(const PromptOptions& prompt) const {
  return prompt.guidance_scale.value_or(suggestion_.get<double>("cfg_scale"));
}

Condition Pipeline::condition_for(const PromptOptions& options) {
  const auto kind = condition();
  const auto refuse = [&](bool given, const char* what, const char* expected) {
    if (given)
      throw UsageError(
          fmt::format("{}: the model takes {}, expected {}", what, kind == "none" ? "no condition" : kind, expected));
  };
  refuse(kind != "text" && !options.prompt.empty(), "prompt", "a model with text");
  refuse(kind != "text" && !options.negative_prompt.empty(), "negative prompt", "a model with text");
  refuse(kind != "class" && options.label >= 0, "class", "a model with classes");
  Condition condition;
  if (!guided_) return condition;
  condition.label = options.label;
  condition.scale = guidance_scale(options);
  // Without a condition there is nothing to be guided to.
  if (options.prompt.empty() && options.negative_prompt.empty() && options.label < 0) condition.scale = 1;
  if (text_) {
    condition.null_states =
        options.negative_prompt.empty() ? text_->null_states() : text_->states(options.negative_prompt);
    condition.states = options.prompt.empty() ? text_->null_states() : text_->states(options.prompt);
  }
  return condition;
}

Denoiser& Pipeline::prior() {
  require(has_prior(), "{}: the bundle holds a codec only; train or import a prior first", bundle_.string());
  if (guided_) return *guided_;
  return *prior_;
}

const TransformerOptions& Pipeline::prior_options() {
  (void)prior();
  return guided_ ? guided_options_ : prior_->options();
}

Generated Pipeline::generate(std::int64_t count, const FillOptions& options, const StepCallback& on_step) {
  const torch::NoGradGuard no_grad;
  auto filled = tessera::fill(TokenGrid::all_masked(count, prior_options().grid, prior().codebook_size()), prior(),
                              decided_by_model(options, *this), on_step);
  auto images = filled.report.cancelled ? torch::Tensor() : codec_->decode(filled.grid);
  return {images, std::move(filled.grid), filled.report};
}

FillResult Pipeline::fill(const TokenGrid& grid, const FillOptions& options, const WindowOptions& windows,
                          const StepCallback& on_step, const FillCheckpoint& from) {
  return fill_canvas(grid, prior(), prior_options().grid, decided_by_model(options, *this, grid.extent()), windows,
                     on_step, from);
}

torch::Tensor Pipeline::decode(const TokenGrid& grid) {
  return decode_tiled(codec_, grid);
}

}  // namespace tessera
