#include "cli/evaluate_references.h"

#include <algorithm>
#include <cmath>

#include "metrics/neighbours.h"
#include "metrics/reconstruction.h"
#include "metrics/references.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

constexpr std::int64_t kMostImages = 500;   // of a row: more would only take longer
constexpr std::int64_t kMostLookedAt = 64;  // images of a row of reconstruction or likelihood
constexpr std::int64_t kFewestImages = 4;
constexpr std::int64_t kEncodedTogether = 16;

/// `count` of them, spread evenly.
std::vector<std::int64_t> spread(const std::vector<std::int64_t>& indices, std::int64_t count) {
  const auto all = static_cast<std::int64_t>(indices.size());
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < std::min(count, all); ++i)
    chosen.push_back(indices[static_cast<std::size_t>(i * all / std::min(count, all))]);
  return chosen;
}

/// The part of the pictures that a split is not: what has been trained on beside what has not.
struct OtherPart {
  std::string name;  // of its row
  std::vector<std::int64_t> indices;
};

OtherPart other_than(const std::string& split, const Dataset& data) {
  if (split == "train") return {kHeldOutRow, data.split(Split::validation)};
  if (split == "validation") return {"training pictures", data.split(Split::train)};
  return {};
}

torch::Tensor rows_of(const Dataset& data, const std::vector<std::int64_t>& indices) {
  return data.images(torch::tensor(indices));
}

torch::Tensor features_of(const torch::Tensor& images, FeatureNetwork& network, const std::string& title) {
  return extract_features(*tensor_stream(images, ""), network, title);
}

ReferenceSet copies_of(const torch::Tensor& queries, const torch::Tensor& real) {
  const auto nearest = nearest_features(queries.contiguous(), real, 1).index.select(1, 0);
  return {kCopiesRow, "the nearest real picture in place of each: a model that copies", real.index_select(0, nearest)};
}

void add_table(const nlohmann::ordered_json& rows, const std::string& heading, const std::string& text,
               HtmlReport& report) {
  std::vector<std::vector<std::string>> table(1);
  for (const auto& [name, value] : rows.at(0).items()) table[0].push_back(name);
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : row.items())
      cells.push_back(value.is_string() ? value.get<std::string>() : number_text(value.get<double>()));
    table.push_back(std::move(cells));
  }
  report.heading(heading);
  report.paragraph(text);
  report.table(table);
}

}  // namespace

nlohmann::ordered_json sample_references(const EvaluationFlags& flags, NamedModel& model, const Dataset& data,
                                         FeatureNetwork& network, const torch::Tensor& real,
                                         const torch::Tensor& samples, HtmlReport& report) {
  const auto& options = flags.distribution.prdc;
  const auto fewest = std::max(kFewestImages, options.k + 1);
  auto codec = model.pipeline.codec();
  const auto unseen = other_than(flags.real, data);
  const auto unseen_count = static_cast<std::int64_t>(unseen.indices.size());
  std::vector<std::string> notes;
  std::int64_t images = samples.defined() ? samples.size(0) : kMostImages;
  const bool has_unseen = unseen_count >= fewest;
  if (has_unseen) images = std::min(images, unseen_count);
  images = std::min(images, kMostImages);
  if (!has_unseen) {
    notes.push_back(unseen.name.empty() ? "No row of unseen pictures: --real all compares with every picture there is."
                                        : fmt::format("No row of {}: {} of them, expected at least {}.", unseen.name,
                                                      unseen_count, fewest));
  }
  std::vector<ReferenceSet> sets;
  if (samples.defined()) sets.push_back({"samples", "what the model made", samples});
  torch::Tensor queries = samples;
  if (has_unseen) {
    const auto features = extract_features(*dataset_stream(data, spread(unseen.indices, images)), network,
                                           "features of " + unseen.name, cache_of(flags));
    sets.push_back({unseen.name, "real pictures of the other part of the data", features});
    if (!queries.defined()) queries = features;
  }
  if (queries.defined()) sets.push_back(copies_of(queries.slice(0, 0, images), real));
  const auto codes = random_codes(images, codec->options(), kNoiseSeed);
  const auto decoded = decode_grids(codec, TokenGrid(codes, codec->options().codebook_size));
  sets.push_back({kRandomCodesRow, "uniform codes through this model's decoder",
                  features_of(decoded, network, "features of random codes")});
  sets.push_back({kPixelNoiseRow, "uniform bytes",
                  features_of(pixel_noise(images, data.image_size(), kNoiseSeed), network, "features of noise")});
  const auto rows = reference_rows(real, sets, images, options);
  for (auto& note : warnings_of(rows, "samples")) notes.push_back(std::move(note));
  add_references(rows, network.distance_name(), notes, report);
  return to_json(rows, network.distance_name(), network.label(), notes);
}

nlohmann::ordered_json picture_references(const EvaluationFlags& flags, FeatureNetwork& network, const torch::Tensor& a,
                                          const torch::Tensor& b, HtmlReport& report) {
  const auto& options = flags.distribution.prdc;
  const auto fewest = std::max(kFewestImages, options.k + 1);
  const auto half = a.size(0) / 2;
  std::vector<std::string> notes;
  if (half < fewest || b.size(0) < fewest) return {};
  // A's even rows are the real ones here, so that its odd ones are pictures that they do not hold.
  const auto real = a.slice(0, 0, a.size(0), 2).contiguous(), rest = a.slice(0, 1, a.size(0), 2).contiguous();
  const auto images = std::min({rest.size(0), b.size(0), kMostImages});
  constexpr std::int64_t kNoiseSize = 64;
  const std::vector<ReferenceSet> sets = {
      {"B", "what is measured, against every second picture of A", b},
      {kHeldOutRow, "the other pictures of A", rest},
      copies_of(b.slice(0, 0, images), real),
      {kPixelNoiseRow, "uniform bytes",
       features_of(pixel_noise(images, kNoiseSize, kNoiseSeed), network, "features of noise")}};
  const auto rows = reference_rows(real, sets, images, options);
  notes = warnings_of(rows, "B");
  add_references(rows, network.distance_name(), notes, report);
  return to_json(rows, network.distance_name(), network.label(), notes);
}

nlohmann::ordered_json reconstruction_references(const EvaluationFlags& flags, NamedModel& model, const Dataset& data,
                                                 FeatureNetwork& network, const std::vector<std::int64_t>& indices,
                                                 double psnr_db, HtmlReport& report) {
  const torch::NoGradGuard no_grad;
  auto codec = model.pipeline.codec();
  auto rows = nlohmann::ordered_json::array();
  const auto add = [&](const std::string& name, const torch::Tensor& given, const torch::Tensor& got) {
    rows.push_back({{"set", name}, {"images", given.size(0)}, {"psnr_db", psnr(given, got).mean().item<double>()}});
  };
  const auto through_codec = [&](const torch::Tensor& images) {
    std::vector<torch::Tensor> codes;
    for (const auto& part : images.split(kEncodedTogether)) codes.push_back(codec->encode(part).codes());
    return decode_grids(codec, TokenGrid(torch::cat(codes), codec->options().codebook_size));
  };
  rows.push_back({{"set", "pictures of " + flags.split}, {"images", indices.size()}, {"psnr_db", psnr_db}});
  const auto other = other_than(flags.split, data);
  if (!other.indices.empty()) {
    const auto images = rows_of(data, spread(other.indices, kMostLookedAt));
    add(other.name, images, through_codec(images));
  }
  const auto noise = pixel_noise(kMostLookedAt, data.image_size(), kNoiseSeed);
  add(kPixelNoiseRow, noise, through_codec(noise));
  const auto& trained = data.split(Split::train);
  if (flags.split == "validation" && !trained.empty()) {
    const auto base =
        extract_features(*dataset_stream(data, trained), network, "features of training pictures", cache_of(flags));
    const auto chosen = spread(indices, kMostLookedAt);
    const auto images = rows_of(data, chosen);
    const auto nearest = nearest_features(features_of(images, network, "features of originals"), base, 1).index;
    std::vector<std::int64_t> copies;
    for (std::int64_t i = 0; i < nearest.size(0); ++i)
      copies.push_back(trained[static_cast<std::size_t>(nearest[i][0].item<std::int64_t>())]);
    add(kCopiesRow, images, rows_of(data, copies));
  }
  add_table(rows, "Reconstruction beside references",
            "What the same codec makes of pictures it was trained on and of noise, and how near the nearest training "
            "picture is to each original.",
            report);
  return rows;
}

nlohmann::ordered_json likelihood_references(const EvaluationFlags& flags, NamedModel& model, const Dataset& data,
                                             const std::vector<std::int64_t>& indices, double bits_per_token,
                                             const BitsOfGrids& measure, HtmlReport& report) {
  auto codec = model.pipeline.codec();
  auto rows = nlohmann::ordered_json::array();
  const auto add = [&](const std::string& name, std::size_t images, double bits) {
    rows.push_back({{"set", name}, {"images", images}, {"bits_per_token", bits}});
  };
  add("pictures of " + flags.split, indices.size(), bits_per_token);
  const auto other = other_than(flags.split, data);
  if (!other.indices.empty()) {
    const auto chosen = spread(other.indices, kMostLookedAt);
    add(other.name, chosen.size(), measure(codec->encode(rows_of(data, chosen)).codes(), chosen));
  }
  const auto like = spread(indices, kMostLookedAt);
  add("random codes", like.size(),
      measure(random_codes(static_cast<std::int64_t>(like.size()), codec->options(), kNoiseSeed), like));
  add("uniform distribution", 0, std::log2(static_cast<double>(codec->options().codebook_size)));
  add_table(rows, "Likelihood beside references",
            "Bits per token of pictures that were trained on, of random codes, and of a model that knows nothing. Far "
            "fewer for training pictures than for held-out ones: the prior has learned them by heart.",
            report);
  return rows;
}

}  // namespace tessera::cli
