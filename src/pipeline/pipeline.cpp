#include "pipeline/pipeline.h"

#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "runtime/error.h"

namespace tessera {
namespace {

Precision precision_of(const std::string& dtype) {
  if (dtype == "float32") return Precision::float32;
  if (dtype == "bfloat16") return Precision::bfloat16;
  fail("dtype '{}': expected one of float32, bfloat16", dtype);
}

torch::Device device_of(const std::string& name) {
  if (name == "cpu") return torch::kCPU;
  require(name == "cuda" || name.starts_with("cuda:"), "device '{}': expected cpu, cuda or cuda:N", name);
  require(torch::cuda::is_available(), "device '{}': this machine or this LibTorch has no CUDA", name);
  return torch::Device(name);
}

}  // namespace

Pipeline Pipeline::load(const std::filesystem::path& bundle, const PipelineOptions& options) {
  const auto precision = precision_of(options.dtype);
  const auto device = device_of(options.device);
  const auto parts = load_bundle(bundle);
  Pipeline pipeline;
  pipeline.bundle_ = bundle;
  require(parts.codec.has_value(), "{}: the bundle holds no codec (vqvae/)", bundle.string());
  pipeline.codec_ = Codec(codec_options_from_json(parts.codec->config));
  pipeline.codec_->load(parts.codec->tensors, (bundle / "vqvae").string());
  pipeline.codec_->set_precision(precision);
  pipeline.codec_->eval();
  pipeline.codec_->to(device);
  if (!parts.denoiser) return pipeline;
  pipeline.prior_ = load_transformer(parts.denoiser->config, parts.denoiser->tensors, (bundle / "transformer").string());
  pipeline.prior_->set_precision(precision);
  pipeline.prior_->to(device);
  require(pipeline.prior_->codebook_size() == pipeline.codec_->options().codebook_size,
          "{}: the prior knows {} codes, the codec {}", bundle.string(), pipeline.prior_->codebook_size(),
          pipeline.codec_->options().codebook_size);
  const auto own = parts.scheduler ? parts.scheduler->value("tessera", nlohmann::json::object()) : nlohmann::json::object();
  pipeline.total_steps_ = own.value("total_steps", pipeline.prior_->options().grid.cells());
  pipeline.process_ = own.value("process", std::string(pipeline.prior_->is_autoregressive() ? "autoregressive" : "absorbing"));
  return pipeline;
}

Denoiser& Pipeline::prior() {
  require(has_prior(), "{}: the bundle holds a codec only; train or import a prior first", bundle_.string());
  return *prior_;
}

const TransformerOptions& Pipeline::prior_options() {
  (void)prior();
  return prior_->options();
}

Generated Pipeline::generate(std::int64_t count, const FillOptions& options, const StepCallback& on_step) {
  const torch::NoGradGuard no_grad;
  auto filled = fill(TokenGrid::all_masked(count, prior_options().grid, prior().codebook_size()), prior(), options, on_step);
  auto images = filled.report.cancelled ? torch::Tensor() : codec_->decode(filled.grid);
  return {images, std::move(filled.grid), filled.report};
}

}  // namespace tessera
