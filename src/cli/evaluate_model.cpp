/// Everything that an evaluation measures of one model.
#include <algorithm>

#include "cli/evaluate_references.h"
#include "cli/evaluation_flags.h"
#include "denoiser/class_names.h"
#include "image/contact_sheet.h"
#include "metrics/confidence.h"
#include "metrics/references.h"
#include "pipeline/captions.h"
#include "runtime/error.h"
#include "sampling/step_look.h"

namespace tessera::cli {
namespace {

constexpr std::int64_t kSheetImages = 64;

std::vector<std::int64_t> indices_of(const Dataset& data, const std::string& split, std::int64_t limit) {
  auto indices = data.require_split(parse_split(split));
  if (limit > 0 && static_cast<std::int64_t>(indices.size()) > limit) indices.resize(static_cast<std::size_t>(limit));
  return indices;
}

NamedGrids named_grids(const torch::Tensor& tokens, const Dataset& data, const std::vector<std::int64_t>& indices) {
  NamedGrids grids{tokens.flatten(1), {}};
  for (const auto index : indices) grids.names.push_back(data.file_name(index));
  return grids;
}

LikelihoodOptions likelihood_options(const EvaluationFlags& flags, const NamedModel& model) {
  auto options = flags.likelihood;
  options.bound.form = bound_form_from(flags.form);
  options.bound.total_steps = model.pipeline.total_steps();
  options.bound.seed = flags.sampling.seed;
  return options;
}

/// Logits at given times of image n under condition n, or all under the only one. An evaluator for each part: one for
/// all images would hold keys and values of every text at once.
LogitsOfTimes under(Denoiser& prior, const std::vector<Condition>& conditions) {
  return [&prior, conditions](const torch::Tensor& xt, const torch::Tensor& t, std::int64_t first) {
    const auto from = conditions.begin() + first;
    const auto part = conditions.size() > 1 ? std::vector<Condition>(from, from + xt.size(0)) : conditions;
    return prior.begin(part)->logits({xt, torch::arange(xt.numel()), t}).view({xt.size(0), xt.size(1), -1});
  };
}

/// Of a network whose steps back in time go cell by cell.
ChainLogits step_under(Denoiser& prior, const std::vector<Condition>& conditions, const Process& process) {
  return [&prior, conditions, &process](const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time,
                                        std::int64_t first) {
    const auto from = conditions.begin() + first;
    const auto evaluator =
        prior.begin(conditions.size() > 1 ? std::vector<Condition>(from, from + xt.size(0)) : conditions);
    return as_step_evaluator(*evaluator).step_logits(step_look(process, xt, time), before);
  };
}

/// Each picture's own caption or label, and one of none for all; both empty where the prior takes no condition.
struct OwnConditions {
  std::vector<Condition> own, none;
};

OwnConditions own_conditions(const EvaluationFlags& flags, NamedModel& model, const Dataset& data,
                             const std::vector<std::int64_t>& indices) {
  const auto kind = model.pipeline.condition();
  if (kind == "none") return {};
  require(kind != "text" || data.has_captions(), "{}: the likelihood of a prior with text needs captions, {} has none",
          model.path, flags.data);
  const auto& network = model.pipeline.prior_network();
  std::vector<std::int64_t> labels;
  for (const auto index : indices) labels.push_back(kind == "class" ? data.label(index) : -1);
  labels = labels_for_model(labels, data.class_names(), network.class_names, network.classes, flags.data);
  PromptOptions asked;
  asked.guidance_scale = 1;
  OwnConditions conditions;
  conditions.none = {model.pipeline.condition_for(asked)};
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (kind == "text") asked.prompt = data.caption(indices[i]);
    asked.label = labels[i];
    conditions.own.push_back(model.pipeline.condition_for(asked));
  }
  return conditions;
}

nlohmann::ordered_json prior_likelihood(const EvaluationFlags& flags, NamedModel& model, const NamedGrids& grids,
                                        const Dataset& data, const std::vector<std::int64_t>& indices,
                                        HtmlReport& report, torch::Tensor* nats) {
  const auto conditions = own_conditions(flags, model, data, indices);
  const auto options = likelihood_options(flags, model);
  auto& prior = model.pipeline.prior();
  const auto cells = model.pipeline.prior_network().grid.cells();
  if (!prior.sees_time())
    return likelihood_figures(prior, cells, grids, options, report, nats, conditions.own, conditions.none);
  const auto process = model.pipeline.fill_process();
  const auto estimate = [&](const std::vector<Condition>& told) -> EstimateBound {
    return [&, &told = told](const LikelihoodProgress& progress) {
      if (prior.is_autoregressive())
        return estimate_chain_bound(*process, step_under(prior, told, *process), grids.tokens, options.bound, 0,
                                    progress);
      return estimate_process_bound(*process, under(prior, told), grids.tokens, options.bound, 0, progress);
    };
  };
  return process_likelihood_figures(process->total_steps(), estimate(conditions.own),
                                    conditions.own.empty() ? EstimateBound{} : estimate(conditions.none), grids,
                                    options, report, nats);
}

torch::Tensor encoded(Codec codec, const Dataset& data, const std::vector<std::int64_t>& indices) {
  std::vector<torch::Tensor> tokens;
  dataset_stream(data, indices)->read(16, [&](const std::vector<torch::Tensor>& images) {
    tokens.push_back(codec->encode(torch::stack(images)).codes());
  });
  return torch::cat(tokens);
}

/// Pictures made from the captions of held-out pictures.
void evaluate_captions(const EvaluationFlags& flags, NamedModel& model, const Dataset& data, FeatureNetwork& network,
                       HtmlReport& report, nlohmann::ordered_json& figures) {
  const auto condition = model.pipeline.condition();
  require(condition == "text", "captions: {}: the model takes {}, expected one with text", model.path,
          condition == "none" ? "no condition" : condition);
  auto options = flags.captions;
  options.confidence = flags.likelihood.confidence;
  options.cache_folder = cache_of(flags);
  auto fill = resolve(flags.sampling, model.pipeline);
  auto prompt = prompt_of(flags.sampling.options);
  const MakePictures make = [&](const std::string& caption, std::int64_t number) {
    prompt.prompt = caption;
    auto own = fill;
    own.conditions = {model.pipeline.condition_for(prompt)};
    own.first_image += static_cast<std::uint64_t>(number * options.each);
    return model.pipeline.generate(options.each, own).images;
  };
  auto part = caption_figures(data, indices_of(data, flags.split, 0), options, network, make, report);
  auto settings = settings_of(fill);
  settings["guidance_scale"] = model.pipeline.guidance_scale(prompt);
  settings["negative_prompt"] = prompt.negative_prompt;
  part["settings"] = settings;
  figures["captions"] = part;
}

/// Reconstruction, likelihood, and where both are asked for the likelihood of the pixels.
void evaluate_held_out(const EvaluationFlags& flags, NamedModel& model, const Dataset& data, Lpips* lpips,
                       FeatureNetwork& network, HtmlReport& report, nlohmann::ordered_json& figures) {
  const auto indices = indices_of(data, flags.split, flags.images);
  auto codec = model.pipeline.codec();
  Reconstructions made;
  if (flags.wants("reconstruction")) {
    ReconstructionOptions options;
    options.pixel_bits = flags.pixel_bits;
    options.pixel_form = pixel_form_from(flags.pixel_form);
    options.confidence = flags.likelihood.confidence;
    nlohmann::ordered_json part;
    made = reconstruction_figures(codec, data, indices, lpips, options, report, part);
    if (indices.size() >= 2) {
      const auto real =
          extract_features(*dataset_stream(data, indices), network, "features of originals", cache_of(flags));
      const auto back = extract_features(*tensor_stream(made.images, ""), network, "features of reconstructions");
      part["reconstruction_distance"] = {{"name", network.distance_name()},
                                         {"value", frechet_distance(real, back)},
                                         {"images", indices.size()},
                                         {"features", network.label()}};
      report.figures({{"reconstruction_distance", part["reconstruction_distance"]}});
    }
    if (const auto heads = untrained_heads(*codec); flags.pixel_bits > 0 && !heads.empty()) {
      part["untrained_heads"] = heads;
      report.paragraph(fmt::format("{}: this head was never trained, so the pixel likelihood means nothing.",
                                   fmt::join(heads, ", ")));
    }
    part["references"] =
        reconstruction_references(flags, model, data, network, indices, part["psnr_db"]["mean"].get<double>(), report);
    figures["reconstruction"] = part;
  }
  if (!flags.wants("likelihood")) return;
  const auto tokens = made.tokens.defined() ? made.tokens : encoded(codec, data, indices);
  torch::Tensor nats;
  const auto grids = named_grids(tokens, data, indices);
  const auto measure = [&](const NamedGrids& of, const std::vector<std::int64_t>& pictures, HtmlReport& into,
                           torch::Tensor* out) {
    return prior_likelihood(flags, model, of, data, pictures, into, out);
  };
  figures["likelihood"] = measure(grids, indices, report, &nats);
  const BitsOfGrids bits_of = [&](const torch::Tensor& given, const std::vector<std::int64_t>& pictures) {
    HtmlReport unseen("");
    return measure(named_grids(given, data, pictures), pictures, unseen, nullptr)["bits_per_token"]["mean"]
        .get<double>();
  };
  figures["likelihood"]["references"] = likelihood_references(
      flags, model, data, indices, figures["likelihood"]["bits_per_token"]["mean"].get<double>(), bits_of, report);
  if (!made.pixel_nats.defined()) return;
  const auto values = 3 * data.image_size() * data.image_size();
  const auto bits = image_bits_per_dimension(made.pixel_nats, nats, values);
  nlohmann::ordered_json image = {{"bits_per_dimension", to_json(interval_of(bits, flags.likelihood.confidence))},
                                  {"pixel_form", flags.pixel_form},
                                  {"pixel_bits", flags.pixel_bits}};
  report.heading("Likelihood of images");
  report.figures(image);
  auto each = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    each.push_back({{"image", data.file_name(indices[i])},
                    {"bits_per_dimension", bits[static_cast<std::int64_t>(i)].item<double>()}});
  }
  image["images"] = each;
  figures["image_likelihood"] = image;
}

void evaluate_samples(const EvaluationFlags& flags, NamedModel& model, const Dataset& data, const Lpips* lpips,
                      FeatureNetwork& network, const std::filesystem::path& folder, HtmlReport& report,
                      nlohmann::ordered_json& figures) {
  const auto fill = resolve(flags.sampling, model.pipeline);
  const auto samples = sampled(flags, model, fill, folder);
  const auto images = decode_grids(model.pipeline.codec(), samples.grid);
  const auto indices = indices_of(data, flags.real, 0);
  report.heading("Samples");
  nlohmann::ordered_json settings = settings_of(fill);
  settings["images"] = flags.count;
  settings["evaluations_an_image"] = samples.evaluations;
  settings["seconds_an_image"] = samples.seconds / static_cast<double>(flags.count);
  report.figures(settings);
  const auto shown = to_images(images.slice(0, 0, std::min(kSheetImages, images.size(0))));
  report.picture(contact_sheet(shown), fmt::format("the first {} samples", shown.size()));
  figures["samples"] = settings;
  const auto real =
      extract_features(*dataset_stream(data, indices), network, "features of real pictures", cache_of(flags));
  const auto fake = extract_features(*tensor_stream(images, ""), network, "features of samples");
  if (flags.wants("distribution")) {
    const auto part = distribution_figures(real, fake, network, flags.distribution);
    report.heading("Samples against real pictures");
    report.figures(part);
    figures["distribution"] = part;
  }
  if (flags.wants("shape")) {
    const auto part = shape_figures(real, fake, network, flags.shape);
    report.heading("Shape of samples against that of real pictures");
    report.figures(part);
    figures["shape"] = part;
  }
  figures["references"] = sample_references(flags, model, data, network, real, fake, report);
  if (flags.wants("neighbours")) {
    figures["neighbours"] = neighbour_figures(images, data, indices, network, lpips, flags.neighbours_shown,
                                              flags.neighbours, cache_of(flags), report);
  }
}

}  // namespace

nlohmann::ordered_json evaluate_model(const EvaluationFlags& flags, NamedModel& model,
                                      const std::filesystem::path& folder, HtmlReport& report) {
  if (flags.data.empty()) throw UsageError("evaluate: expected --data");
  const auto data = open_data(flags, model.pipeline.codec()->options().image_size);
  const auto network = feature_network(flags, &model);
  const auto lpips = lpips_of(flags);
  nlohmann::ordered_json figures;
  figures["model"] = model.to_json();
  figures["data"] = {{"path", flags.data},
                     {"key", data.key()},
                     {"images", data.size()},
                     {"split", flags.split},
                     {"real", flags.real},
                     {"split_seed", flags.split_seed},
                     {"validation_fraction", flags.validation_fraction}};
  figures["seed"] = flags.sampling.seed;
  report.heading("Model and data");
  report.figures({{"model", figures["model"]}, {"data", figures["data"]}, {"seed", figures["seed"]}});
  if (flags.wants("reconstruction") || flags.wants("likelihood"))
    evaluate_held_out(flags, model, data, lpips.get(), *network, report, figures);
  if (flags.wants("distribution") || flags.wants("shape") || flags.wants("neighbours"))
    evaluate_samples(flags, model, data, lpips.get(), *network, folder, report, figures);
  if (flags.wants("captioning")) {
    auto options = flags.captions;
    options.cache_folder = cache_of(flags);
    CaptionChoice choice;
    choice.seed = flags.sampling.seed;
    const SayCaptions say = [&](const torch::Tensor& pictures, std::int64_t first) {
      auto own = choice;
      own.first_picture = static_cast<std::uint64_t>(first);
      return captions_of(model.pipeline, model.pipeline.codec()->encode(pictures), own);
    };
    figures["captioning"] =
        captioning_figures(data, indices_of(data, flags.split, flags.images), options, *network, say, report);
  }
  if (flags.wants("captions")) evaluate_captions(flags, model, data, *network, report, figures);
  return figures;
}

}  // namespace tessera::cli
