#include "codec/codec.h"

#include <algorithm>
#include <cmath>

#include "checkpoint/parameter_shapes.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// What the EMA quantiser needs to go on training and inference does not.
constexpr const char* kTrainingOnly[] = {"quantize.cluster_size", "quantize.embedding_sum"};

/// Two convolutions with a ReLU between, named 0 and 2: mean features -> log standard deviation.
torch::nn::ModuleDict make_logsigma(const CodecComputePtr& compute, std::int64_t width, std::int64_t channels) {
  torch::nn::ModuleDict head;
  torch::OrderedDict<std::string, std::shared_ptr<torch::nn::Module>> parts;
  parts.insert("0", Convolution(compute, width, width, 3, 1, Padding::all(1)).ptr());
  parts.insert("2", Convolution(compute, width, channels, 1).ptr());
  head->update(parts);
  return head;
}

}  // namespace

EncoderImpl::EncoderImpl(const CodecComputePtr& compute, const CodecOptions& options)
    : final_activation_(options.final_activation), patch_size_(options.patch_size) {
  conv_in_ = register_module(
      "conv_in", Convolution(compute, options.patch_channels(), options.base_channels, 3, 1, Padding::all(1)));
  std::int64_t width = options.base_channels;
  for (std::int64_t level = 0; level < options.levels(); ++level) {
    const bool last = level == options.levels() - 1;
    levels_->push_back(Level(compute, width, options.channels_at(level), options.residual_blocks,
                             options.attention_at(level),
                             last ? LevelImpl::Resample::none : LevelImpl::Resample::down));
    width = options.channels_at(level);
  }
  register_module("down_blocks", levels_);
  middle_ = register_module("mid_block", MiddleBlock(compute, width, options.middle_attention));
  norm_out_ = register_module("conv_norm_out", GroupNorm(width, compute->norm_groups));
  conv_out_ =
      register_module("conv_out", Convolution(compute, width, options.encoder_channels(), 3, 1, Padding::all(1)));
}

torch::Tensor EncoderImpl::forward(torch::Tensor x) {
  x = conv_in_->forward(patch_size_ > 1 ? torch::pixel_unshuffle(x, patch_size_) : x);
  for (std::size_t level = 0; level < levels_->size(); ++level) x = levels_->at<LevelImpl>(level).forward(x);
  return conv_out_->forward(norm_out_->forward(middle_->forward(x), final_activation_)).to(torch::kFloat32);
}

DecoderImpl::DecoderImpl(const CodecComputePtr& compute, const CodecOptions& options)
    : final_activation_(options.final_activation), patch_size_(options.patch_size) {
  std::int64_t width = options.channels_at(options.levels() - 1);
  conv_in_ = register_module("conv_in", Convolution(compute, options.encoder_channels(), width, 3, 1, Padding::all(1)));
  middle_ = register_module("mid_block", MiddleBlock(compute, width, options.middle_attention));
  for (std::int64_t level = options.levels() - 1; level >= 0; --level) {
    levels_->push_back(Level(compute, width, options.channels_at(level), options.decoder_residual_blocks,
                             options.attention_at(level),
                             level == 0 ? LevelImpl::Resample::none : LevelImpl::Resample::up));
    width = options.channels_at(level);
  }
  register_module("up_blocks", levels_);
  norm_out_ = register_module("conv_norm_out", GroupNorm(width, compute->norm_groups));
  conv_out_ = register_module("conv_out", Convolution(compute, width, options.patch_channels(), 3, 1, Padding::all(1)));
  if (options.logsigma_head)
    logsigma_ = register_module("logsigma", make_logsigma(compute, width, options.patch_channels()));
}

torch::Tensor DecoderImpl::features(const torch::Tensor& latents) {
  auto x = middle_->forward(conv_in_->forward(latents));
  for (std::size_t level = 0; level < levels_->size(); ++level) x = levels_->at<LevelImpl>(level).forward(x);
  return norm_out_->forward(x, final_activation_);
}

torch::Tensor DecoderImpl::pixels(const torch::Tensor& patches) const {
  const auto values = patches.to(torch::kFloat32);
  return patch_size_ > 1 ? torch::pixel_shuffle(values, patch_size_) : values;
}

torch::Tensor DecoderImpl::forward(const torch::Tensor& latents) {
  return pixels(conv_out_->forward(features(latents)));
}

std::pair<torch::Tensor, torch::Tensor> DecoderImpl::distribution(const torch::Tensor& latents) {
  require(logsigma_ && !logsigma_.is_empty(),
          "codec: this bundle has no logsigma head, so it gives no pixel likelihood");
  const auto x = features(latents);
  const auto hidden = torch::relu(std::static_pointer_cast<ConvolutionImpl>((*logsigma_)["0"])->forward(x));
  return {pixels(conv_out_->forward(x)),
          pixels(std::static_pointer_cast<ConvolutionImpl>((*logsigma_)["2"])->forward(hidden))};
}

CodecImpl::CodecImpl(CodecOptions options) : options_(std::move(options)), compute_(std::make_shared<CodecCompute>()) {
  options_.validate();
  compute_->norm_groups = options_.norm_groups;
  encoder = register_module("encoder", Encoder(compute_, options_));
  decoder = register_module("decoder", Decoder(compute_, options_));
  quantizer = register_module("quantize", make_quantizer(options_));
  if (options_.quant_convolutions) {
    quant_conv_ =
        register_module("quant_conv", Convolution(compute_, options_.encoder_channels(), options_.embedding_width, 1));
    post_quant_conv_ = register_module("post_quant_conv",
                                       Convolution(compute_, options_.embedding_width, options_.encoder_channels(), 1));
  }
}

torch::Tensor CodecImpl::to_network_range(const torch::Tensor& bytes) const {
  const auto pixels = bytes.to(torch::kFloat32);
  return options_.pixel_range == PixelRange::unit ? pixels / 255.0 : pixels / 127.5 - 1.0;
}

torch::Tensor CodecImpl::to_bytes(const torch::Tensor& pixels) const {
  const auto unit = options_.pixel_range == PixelRange::unit ? pixels : pixels * 0.5 + 0.5;
  const auto scaled = unit.clamp(0, 1).mul(255);
  return (options_.cut_bytes ? scaled.floor() : scaled.round()).to(torch::kUInt8);
}

torch::Tensor CodecImpl::latents(const torch::Tensor& pixels) {
  auto z = encoder->forward(pixels);
  return quant_conv_ ? quant_conv_->forward(z).to(torch::kFloat32) : z;
}

torch::Tensor CodecImpl::decode_latents(const torch::Tensor& quantized) {
  return decoder->forward(before_decoder(quantized));
}

torch::Tensor CodecImpl::before_decoder(const torch::Tensor& quantized) {
  return post_quant_conv_ ? post_quant_conv_->forward(quantized) : quantized;
}

CodecPass CodecImpl::train_pass(const torch::Tensor& bytes, const QuantizerContext& context) {
  CodecPass pass;
  pass.target = to_network_range(bytes.to(device()));
  pass.latents = latents(pass.target);
  const auto quantized = quantizer->quantize(pass.latents, context);
  pass.indices = quantized.indices;
  pass.quantizer_loss = quantized.loss;
  pass.seen = quantized.seen;
  pass.reconstruction = decode_latents(quantized.quantized);
  return pass;
}

CodecPass CodecImpl::decoder_pass(const torch::Tensor& bytes) {
  CodecPass pass;
  {
    const torch::NoGradGuard no_grad;
    pass.target = to_network_range(bytes.to(device()));
    pass.latents = latents(pass.target);
    pass.indices = quantizer->codes(pass.latents);
    pass.quantizer_loss = torch::zeros({}, pass.target.options());
  }
  pass.reconstruction = decode_latents(quantizer->embed(pass.indices));
  return pass;
}

TokenGrid CodecImpl::encode(const torch::Tensor& bytes) {
  require(bytes.dim() == 4 && bytes.size(1) == options_.image_channels && bytes.scalar_type() == torch::kUInt8,
          "codec: expected bytes [N, {}, H, W], got {} dimensions of type {}", options_.image_channels, bytes.dim(),
          c10::toString(bytes.scalar_type()));
  require(bytes.size(2) % options_.factor() == 0 && bytes.size(3) % options_.factor() == 0,
          "codec: image of {}x{}, expected sides that are multiples of {}", bytes.size(3), bytes.size(2),
          options_.factor());
  const torch::NoGradGuard no_grad;
  const auto code = [this](const torch::Tensor& given) { return quantizer->codes(latents(to_network_range(given))); };
  const auto given = bytes.to(device());
  const auto codes = is_recorded(given.size(0) * given.size(2) * given.size(3))
                         ? recorded_encode_({given}, weights_in_use(), [&](const auto& on) { return code(on[0]); })
                         : code(given);
  return {codes.to(torch::kCPU), options_.codebook_size};
}

torch::Tensor CodecImpl::decode(const TokenGrid& grid) {
  require(grid.codebook_size() == options_.codebook_size, "codec: a grid over {} codes, expected {}",
          grid.codebook_size(), options_.codebook_size);
  require(grid.masked_cells() == 0, "codec: {} cells are MASK, expected a filled grid", grid.masked_cells());
  const torch::NoGradGuard no_grad;
  const auto paint = [this](const torch::Tensor& given) { return to_bytes(decode_latents(quantizer->embed(given))); };
  const auto codes = grid.codes().to(device());
  const auto bytes = is_recorded(codes.numel() * options_.factor() * options_.factor())
                         ? recorded_decode_({codes}, weights_in_use(), [&](const auto& on) { return paint(on[0]); })
                         : paint(codes);
  return bytes.to(torch::kCPU);
}

bool CodecImpl::is_recorded(std::int64_t pixels) const {
  // A recording keeps its memory; larger calls compute for longer than their launches take.
  constexpr std::int64_t kMostPixels = std::int64_t{2} * 256 * 256;
  return pixels <= kMostPixels && CudaGraph::applies(quantizer->codebook(), is_training());
}

std::vector<torch::Tensor> CodecImpl::weights_in_use() const {
  return {quantizer->codebook(), decoder->last_layer()};  // train pixels writes the decoder alone
}

TensorMap CodecImpl::weights() const {
  auto map = training_state();
  for (const char* name : kTrainingOnly) map.erase(name);
  return map;
}

TensorMap CodecImpl::training_state() const {
  TensorMap map;
  for (const auto& item : named_parameters()) map[item.key()] = item.value().detach();
  for (const auto& item : named_buffers()) map[item.key()] = item.value().detach();
  return map;
}

void CodecImpl::load(const TensorMap& given, const std::string& what, WeightLoading loading) {
  const torch::NoGradGuard no_grad;
  auto own = training_state();
  ShapeMap expected;
  for (const auto& [name, tensor] : own) {
    const bool optional =
        std::find(std::begin(kTrainingOnly), std::end(kTrainingOnly), name) != std::end(kTrainingOnly);
    if (!optional || given.count(name)) expected[name] = tensor.sizes().vec();
  }
  match_parameters(given, expected, what);
  std::map<const c10::TensorImpl*, PackedWeight*> packed;
  for (const auto& module : modules(false)) {
    if (auto* layer = module->as<ConvolutionImpl>()) packed[layer->weight.unsafeGetTensorImpl()] = layer->packed();
    if (auto* layer = module->as<ProjectionImpl>()) packed[layer->weight.unsafeGetTensorImpl()] = layer->packed();
  }
  auto parameters = named_parameters();
  for (const auto& [name, shape] : expected) {
    if (auto* parameter = parameters.find(name)) {
      const auto layer = packed.find(parameter->unsafeGetTensorImpl());
      load_parameter(*parameter, given.at(name), loading, layer == packed.end() ? nullptr : layer->second);
    } else {
      own.at(name).copy_(given.at(name));
    }
  }
}

CodebookUse codebook_use(const torch::Tensor& indices, std::int64_t codebook_size) {
  const auto counts = torch::bincount(indices.flatten().to(torch::kCPU), {}, codebook_size).to(torch::kFloat64);
  const auto p = counts / counts.sum();
  return {std::exp(-(p * torch::log(p + 1e-10)).sum().item<double>()), (counts > 0).sum().item<std::int64_t>()};
}

}  // namespace tessera
