#include "pipeline/captions.h"

#include <fmt/format.h>

#include <cmath>

#include "denoiser/joint.h"
#include "runtime/error.h"
#include "sampling/registry.h"

namespace tessera {
namespace {

constexpr std::int64_t kPicturesPerCall = 8;

JointDenoiser* joint_of(Pipeline& pipeline) {
  return pipeline.has_prior() ? dynamic_cast<JointDenoiser*>(&pipeline.prior()) : nullptr;
}

}  // namespace

void CaptionChoice::validate() const {
  if (steps < 0) throw UsageError(fmt::format("steps {}: expected 0 (one a word) or more", steps));
  if (!(temperature >= 0 && std::isfinite(temperature)))
    throw UsageError(fmt::format("temperature {}: expected 0 or more", temperature));
  if (!std::isfinite(guidance_scale))
    throw UsageError(fmt::format("guidance scale {}: expected a number", guidance_scale));
}

bool can_caption(Pipeline& pipeline) {
  return joint_of(pipeline) != nullptr;
}

std::vector<std::string> captions_of(Pipeline& pipeline, const TokenGrid& pictures, const CaptionChoice& choice) {
  const torch::NoGradGuard no_grad;
  choice.validate();
  auto* joint = joint_of(pipeline);
  if (!joint)
    throw UsageError(
        "caption: the model makes pictures alone, expected one of both directions (train prior --prior joint)");
  const auto& options = joint->options();
  const auto& tokenizer = *pipeline.tokenizer();
  const auto flat = pictures.flat();
  require(flat.size(1) == options.grid.cells() && pictures.codebook_size() == options.codebook_size,
          "caption: pictures of {} cells of {} codes, expected {} of {}", flat.size(1), pictures.codebook_size(),
          options.grid.cells(), options.codebook_size);
  auto ids = tokenizer.encode(choice.begins);
  ids.insert(ids.begin(), tokenizer.start_token());
  const auto known = static_cast<std::int64_t>(ids.size());
  if (known >= options.words)
    throw UsageError(
        fmt::format("the caption's beginning is {} tokens long, the model's captions have {}", known, options.words));
  auto words = torch::full({flat.size(0), 1, options.words}, options.vocabulary, torch::kInt64);
  words.slice(2, 0, known).copy_(torch::tensor(ids));
  const auto captioner = joint->other_side();
  FillOptions fill_options;
  fill_options.sampler = reading_order_sampler().name;
  fill_options.steps = choice.steps > 0 ? std::min(choice.steps, options.words) : options.words;
  fill_options.total_steps = options.words;
  fill_options.draw.temperature = choice.temperature;
  fill_options.seed = choice.seed;
  fill_options.images_per_call = kPicturesPerCall;
  fill_options.first_image = choice.first_picture;
  for (std::int64_t n = 0; n < flat.size(0); ++n) {
    Condition condition;
    condition.states = flat[n].to(torch::kFloat32).unsqueeze(1);
    condition.scale = choice.guidance_scale;
    fill_options.conditions.push_back(std::move(condition));
  }
  const auto filled = fill(TokenGrid(words, options.vocabulary), *captioner, fill_options).grid.flat().contiguous();
  std::vector<std::string> captions;
  const auto* out = filled.data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < filled.size(0); ++n)
    captions.push_back(tokenizer.decode({out + n * options.words, out + (n + 1) * options.words}));
  return captions;
}

std::vector<std::string> captions_of(Pipeline& pipeline, const torch::Tensor& picture, std::int64_t count,
                                     const CaptionChoice& choice) {
  const torch::NoGradGuard no_grad;
  const auto grid = pipeline.codec()->encode(picture.narrow(0, 0, 3).unsqueeze(0));
  return captions_of(pipeline, TokenGrid(grid.codes().repeat({count, 1, 1}), grid.codebook_size()), choice);
}

}  // namespace tessera
