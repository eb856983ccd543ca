#include "pipeline/pipeline.h"

#include <nlohmann/json.hpp>

#include "canvas/tiles.h"
#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "kernels/ops/device.h"
#include "kernels/ops/isa.h"
#include "pipeline/sampling_choice.h"
#include "runtime/error.h"
#include "runtime/shipped_files.h"

namespace tessera {
namespace {

/// A pipeline's weights are never written to.
WeightLoading loading_for(Precision precision, torch::Device device, const PipelineOptions& options) {
  if (!device.is_cpu() || !options.map_weights) return WeightLoading::copy;
  return precision == Precision::float32 ? WeightLoading::share : WeightLoading::share_halves;
}

}  // namespace

Pipeline Pipeline::load(const std::filesystem::path& model, const PipelineOptions& options) {
  const auto bundle = find_model(model);
  const auto device = device_from(options.device);
  const auto precision = precision_from(options.dtype, device);
  auto parts = load_bundle(bundle, BundleCheck::weights);
  for (const auto& lora : options.loras) apply_lora(parts, lora);
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
    pipeline.prior_ =
        std::make_shared<Prior>(parts, bundle.string(), pipeline.codec_->quantizer->codebook().to(torch::kCPU),
                                Prior::Loading{loading, precision, device});
    return pipeline;
  };
  // Last: what is wrong in a configuration is said in its own words where there are any; then which file has changed.
  try {
    auto pipeline = built();
    require_recorded(bundle, parts.index);
    return pipeline;
  } catch (const Error& error) {
    const std::string own_words = error.what();
    try {
      require_recorded(bundle, parts.index);
    } catch (const Error& changed) {
      if (own_words != changed.what()) fail("{}; {}", own_words, changed.what());
    }
    throw;
  }
}

nlohmann::json Pipeline::computed_by() const {
  return {{"dtype", dtype_},
          {"kernels", codec_->device().is_cpu() ? std::string(cpu_kernels()) : codec_->device().str()}};
}

Prior& Pipeline::held_prior() const {
  require(has_prior(), "{}: the bundle holds a codec only; train or import a prior first", bundle_.string());
  return *prior_;
}

Generated Pipeline::generate(std::int64_t count, const FillOptions& options, const StepCallback& on_step) {
  const torch::NoGradGuard no_grad;
  auto filled = tessera::fill(TokenGrid::all_masked(count, prior_network().grid, prior().codebook_size()), prior(),
                              decided_by_model(options, *this), on_step);
  auto images = filled.report.cancelled ? torch::Tensor() : codec_->decode(filled.grid);
  return {images, std::move(filled.grid), filled.report};
}

FillResult Pipeline::fill(const TokenGrid& grid, const FillOptions& options, const WindowOptions& windows,
                          const StepCallback& on_step, const FillCheckpoint& from) {
  return fill_canvas(grid, prior(), prior_network().grid, decided_by_model(options, *this, grid.extent()), windows,
                     on_step, from);
}

torch::Tensor Pipeline::decode(const TokenGrid& grid) {
  return decode_tiled(codec_, grid);
}

}  // namespace tessera
