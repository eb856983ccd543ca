#include "server/pipeline_backend.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "canvas/cell_likelihood.h"
#include "canvas/stitch.h"
#include "canvas/tiles.h"
#include "image/image_io.h"
#include "pipeline/sampling_choice.h"
#include "pipeline/variation_plans.h"
#include "runtime/error.h"
#include "runtime/wanted.h"
#include "sampling/sampler.h"
#include "tokens/token_list.h"

namespace tessera::server {
namespace {

constexpr std::int64_t kThumbnailRadius = 3;  // cells around the one that is asked about

struct PreparedEdit : PreparedJob {
  std::shared_ptr<const std::string> model;
  std::vector<EditPlan> plans;
  FillOptions options;
  WindowOptions windows;
};

/// Of the model that takes any; what it does not take is refused.
std::vector<Condition> conditions_for(Pipeline& pipeline, const PromptOptions& prompt) {
  auto condition = pipeline.condition_for(prompt);
  return pipeline.condition() == "none" ? std::vector<Condition>{} : std::vector<Condition>{std::move(condition)};
}

std::vector<EditPlan> plans_of(const JobRequest& request, Pipeline& pipeline, const WindowOptions& windows) {
  const auto codec = pipeline.codec();
  const auto own = static_cast<int>(codec->options().image_size);
  const RegionOptions region{request.threshold, static_cast<int>(request.feather), request.sharp};
  const int width = request.width != 0 ? static_cast<int>(request.width) : own;
  const int height = request.height != 0 ? static_cast<int>(request.height) : own;
  torch::Tensor codes;  // of the picture, where the client knows them
  if (request.tokens) {
    codes = to_codes(request.tokens->code, request.tokens->h, request.tokens->w, codec->options().codebook_size);
  }
  const bool everywhere = !request.mask;
  if (request.verb == "fill" || (request.verb == "inpaint" && everywhere)) {
    return {plan_tokens(codec, codes, request.image, region)};
  }
  const auto region_plan = [&] {
    return request.keep ? plan_keep(codec, request.image, *request.mask, region, "image", codes)
                        : plan_inpaint(codec, request.image, *request.mask, region, codes);
  };
  if (request.verb == "generate") return {plan_generate(codec, width, height)};
  if (request.verb == "inpaint") return {region_plan()};
  if (request.verb == "outpaint") {
    const Borders borders{static_cast<int>(request.left), static_cast<int>(request.right),
                          static_cast<int>(request.top), static_cast<int>(request.bottom)};
    return {plan_outpaint(codec, request.image, borders, region)};
  }
  if (request.verb == "stitch") {
    std::vector<LoadedPiece> pieces;
    for (std::size_t i = 0; i < request.pieces.size(); ++i) {
      const auto& piece = request.pieces[i];
      pieces.push_back({{fmt::format("piece{}", i), piece.from, piece.to_x, piece.to_y}, piece.image});
    }
    // Pieces meet in the tokens: without a word about it the decode is shown as it is.
    StitchOptions options{{request.threshold, request.feather < 0 ? 0 : static_cast<int>(request.feather), false},
                          static_cast<int>(request.seam)};
    return {plan_stitch(codec, request.onto, width, height, pieces, options)};
  }
  if (request.verb == "variations") {
    VariationOptions near;
    near.strength = request.strength.value_or(everywhere ? 0.5 : 1.0);
    near.least_likely = request.by == "likelihood";
    near.count = request.count;
    near.seed = request.seed;
    // The least likely cells are looked for under the prompt.
    if (near.least_likely && pipeline.has_prior())
      near.conditions = conditions_for(pipeline, prompt_of(request.sampling));
    return plan_variations(pipeline, everywhere ? plan_everywhere(codec, request.image, region, codes) : region_plan(),
                           windows, near);
  }
  require(request.verb == "reconstruct", "verb '{}': not known", request.verb);
  return {plan_reconstruct(codec, request.image)};
}

}  // namespace

std::unique_ptr<PreparedJob> PipelineBackend::prepare(const JobRequest& request) {
  const torch::NoGradGuard no_grad;
  const auto key = model_key(request.model, request.loras);
  const auto pipeline = store_.get(key);
  auto job = std::make_unique<PreparedEdit>();
  job->model = std::make_shared<const std::string>(key);
  job->windows = {request.stride, request.random_windows, 0};
  job->plans = plans_of(request, *pipeline, job->windows);
  job->plans.resize(static_cast<std::size_t>(request.count), job->plans.front());
  const auto& plan = job->plans.front();
  job->h = plan.extent().h;
  job->w = plan.extent().w;
  job->factor = pipeline->codec()->options().factor();
  job->area = plan.area;
  job->offset_x = plan.offset_x;
  job->offset_y = plan.offset_y;
  job->width = plan.base->width;
  job->height = plan.base->height;
  job->notes = plan.notes;
  bool open = false;
  for (const auto& each : job->plans) {
    job->start.push_back(from_codes(each.codes, each.codebook_size));
    open = open || std::find(job->start.back().begin(), job->start.back().end(), -1) != job->start.back().end();
  }
  if (!open) {
    job->effective = "{}";
    return job;
  }
  require(pipeline->has_prior(), "the model {} has a codec only, expected one that can fill", request.model);
  SamplingChoice choice;
  choice.options = request.sampling;
  choice.seed = request.seed;
  job->options = resolve(choice, *pipeline, plan.extent());
  job->windows.validate(pipeline->prior_network().grid);
  auto effective = tessera::to_json(job->options);
  effective["dtype"] = pipeline->dtype();
  job->effective = effective.dump();
  return job;
}

FillOutcome PipelineBackend::fill(const std::vector<JobPart>& parts, FillWatch& watch, const FillStart& from) {
  const torch::NoGradGuard no_grad;
  auto& first = dynamic_cast<PreparedEdit&>(*parts.at(0).job);
  const auto pipeline = store_.get(*first.model);
  const auto mask_token = first.plans.front().codebook_size;
  std::vector<EditPlan> plans;
  auto options = first.options;
  options.conditions.clear();
  for (const auto& part : parts) {
    const auto& job = dynamic_cast<PreparedEdit&>(*part.job);
    for (auto i = part.first; i < part.first + part.count; ++i) {
      plans.push_back(job.plans.at(static_cast<std::size_t>(i)));
      options.images.push_back({job.options.seed, static_cast<std::uint64_t>(i)});
      for (const auto& condition : job.options.conditions) options.conditions.push_back(condition);
    }
  }
  const auto grid = grid_of(plans);
  FillOutcome outcome;
  auto codes = grid.codes();
  if (grid.masked_cells() > 0) {
    options.abandoned = [&](std::int64_t image) { return watch.abandoned(image); };
    FillCheckpoint stood;
    if (from.step > 0) {
      std::vector<torch::Tensor> stacked;
      for (const auto& tokens : from.tokens) stacked.push_back(to_codes(tokens, first.h, first.w, mask_token));
      stood = {torch::stack(stacked), from.step};
    }
    const auto on_step = [&](const FillProgress& at) {
      const auto tokens = from_codes(at.tokens, mask_token);
      return watch.after_step(at.step, at.steps, at.evaluations, tokens);
    };
    const auto result = pipeline->fill(grid, options, first.windows, on_step, stood);
    codes = result.grid.codes();
    outcome.evaluations = result.report.evaluations;
    outcome.stopped = result.report.cancelled;
  }
  for (std::int64_t n = 0; n < codes.size(0); ++n) outcome.tokens.push_back(from_codes(codes[n], mask_token));
  return outcome;
}

Image PipelineBackend::picture(PreparedJob& prepared, std::int64_t index, std::span<const std::int32_t> tokens) {
  const torch::NoGradGuard no_grad;
  auto& job = dynamic_cast<PreparedEdit&>(prepared);
  const auto& plan = job.plans.at(static_cast<std::size_t>(index));
  const auto codes = to_codes(tokens, job.h, job.w, plan.codebook_size);
  const auto pipeline = store_.get(*job.model);
  return finish(plan, pipeline->decode({codes.unsqueeze(0), plan.codebook_size})[0]);
}

std::optional<Image> PipelineBackend::guess(PreparedJob& prepared, std::int64_t index,
                                            std::span<const std::int32_t> tokens) {
  const torch::NoGradGuard no_grad;
  const auto& job = dynamic_cast<PreparedEdit&>(prepared);
  const auto pipeline = store_.get(*job.model);
  auto& prior = pipeline->prior();
  if (prior.is_autoregressive()) return {};
  const auto process = pipeline->fill_process();
  if (process && !process->has_mask()) return {};
  const auto mask_token = prior.codebook_size();
  const Extent extent{job.h, job.w};
  const auto flat = to_codes(tokens, job.h, job.w, mask_token).view({1, extent.cells()});
  const auto open = (flat == mask_token).flatten().nonzero().squeeze(1);
  if (open.size(0) == 0) return {};
  const auto own = pipeline->prior_network().grid;
  WindowedDenoiser canvas(prior, own, extent, {job.windows.stride, false, 0});
  Denoiser& denoiser = extent == own ? prior : static_cast<Denoiser&>(canvas);
  Look look{flat, open};
  if (process) {
    const auto time = std::max<std::int64_t>(1, implied_time(*process, open.size(0), extent.cells()));
    look.times = torch::full({1}, time, torch::kInt64);
  }
  auto whole = flat.clone().view(-1);
  const auto logits = denoiser.begin(job.options.conditions)->logits(look);
  whole.index_copy_(0, open, logits.argmax(-1).to(torch::kCPU));
  return picture(prepared, index, from_codes(whole, mask_token));
}

TokenArray PipelineBackend::encode(const std::string& model, const Image& image) {
  const torch::NoGradGuard no_grad;
  const auto codec = store_.get(model)->codec();
  const auto codes = encode_picture(codec, image);
  return {codes.size(0), codes.size(1), from_codes(codes, codec->options().codebook_size)};
}

std::vector<std::string> PipelineBackend::captions(const std::string& model, const Image& image, std::int64_t count,
                                                   const CaptionChoice& choice) {
  const torch::NoGradGuard no_grad;
  const auto pipeline = store_.get(model);
  const auto picture = resize_and_crop(image, static_cast<int>(pipeline->codec()->options().image_size));
  return captions_of(*pipeline, to_tensor(picture), count, choice);
}

Image PipelineBackend::decode(const std::string& model, const TokenArray& tokens) {
  const torch::NoGradGuard no_grad;
  const auto pipeline = store_.get(model);
  const auto mask_token = pipeline->codec()->options().codebook_size;
  const auto codes = to_codes(tokens.code, tokens.h, tokens.w, mask_token);
  return to_image(pipeline->decode({codes.unsqueeze(0), mask_token})[0]);
}

Scores PipelineBackend::score(const std::string& model, const ScoreRequest& request) {
  const torch::NoGradGuard no_grad;
  const auto pipeline = store_.get(model);
  auto& prior = pipeline->prior();
  std::vector<torch::Tensor> codes;
  for (const auto& grid : request.grids) codes.push_back(to_codes(grid.code, grid.h, grid.w, prior.codebook_size()));
  CellLikelihoodOptions options;
  options.conditions = conditions_for(*pipeline, request.prompt);
  options.spacing = request.spacing;
  options.before_call = [] { check_wanted(); };
  const auto process = pipeline->fill_process();
  const auto found =
      cell_likelihood(prior, pipeline->prior_network().grid, torch::stack(codes), process.get(), options);
  Scores scores;
  scores.evaluations = found.evaluations;
  scores.given_before = prior.is_autoregressive();
  const auto rows = found.log_probabilities.flatten(1).contiguous();
  for (std::int64_t n = 0; n < rows.size(0); ++n) {
    const auto* values = rows[n].data_ptr<double>();
    scores.log_probabilities.emplace_back(values, values + rows.size(1));
  }
  return scores;
}

std::vector<Candidate> PipelineBackend::candidates(const std::string& model, const CandidateRequest& request) {
  const torch::NoGradGuard no_grad;
  const auto pipeline = store_.get(model);
  auto& prior = pipeline->prior();
  if (prior.is_autoregressive()) {
    throw UsageError("candidates: an autoregressive prior sees only the cells before, expected a bidirectional one");
  }
  const auto process = pipeline->fill_process();
  require(!process || process->has_mask(), "candidates: expected a process with MASK");
  const auto mask_token = prior.codebook_size();
  const Extent extent{request.tokens.h, request.tokens.w};
  auto codes = to_codes(request.tokens.code, extent.h, extent.w, mask_token);
  codes[request.y][request.x] = mask_token;
  const auto flat = codes.flatten().unsqueeze(0);
  check_wanted();
  const auto conditions =
      conditions_for(*pipeline, {request.prompt, request.negative_prompt, request.label, request.cfg_scale});
  const auto own = pipeline->prior_network().grid;
  WindowedDenoiser canvas(prior, own, extent, {});
  Denoiser& denoiser = extent == own ? prior : static_cast<Denoiser&>(canvas);
  Look look{flat, torch::full({1}, request.y * extent.w + request.x, torch::kInt64)};
  if (process) {
    const auto masked = (flat == mask_token).sum().item<std::int64_t>();
    const auto time = std::max<std::int64_t>(1, implied_time(*process, masked, extent.cells()));
    look.times = torch::full({1}, time, torch::kInt64);
  }
  const auto logits = denoiser.begin(conditions)->logits(look).to(torch::kCPU, torch::kFloat64)[0];
  const auto probabilities = torch::softmax(logits / request.temperature, -1);
  const auto [likeliest, tokens] = probabilities.topk(std::min(request.count, mask_token));
  const auto top = std::max<std::int64_t>(0, request.y - kThumbnailRadius);
  const auto left = std::max<std::int64_t>(0, request.x - kThumbnailRadius);
  const auto around = codes.narrow(0, top, std::min(extent.h, request.y + kThumbnailRadius + 1) - top)
                          .narrow(1, left, std::min(extent.w, request.x + kThumbnailRadius + 1) - left);
  std::vector<Candidate> result;
  for (std::int64_t i = 0; i < tokens.size(0); ++i) {
    check_wanted();
    auto one = around.clone();
    one[request.y - top][request.x - left] = tokens[i];
    const auto picture = pipeline->decode({one.unsqueeze(0), mask_token});
    result.push_back(
        {static_cast<std::int32_t>(tokens[i].item<std::int64_t>()), likeliest[i].item<double>(), to_image(picture[0])});
  }
  return result;
}

}  // namespace tessera::server
