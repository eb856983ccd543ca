#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "image/contact_sheet.h"
#include "metrics/codebook_use.h"
#include "metrics/confidence.h"
#include "metrics/evaluation.h"
#include "metrics/feature_rows.h"
#include "metrics/neighbours.h"
#include "metrics/plots.h"
#include "metrics/reconstruction.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

constexpr int kSheetColumns = 8;

nlohmann::ordered_json codebook_figures(const torch::Tensor& tokens, std::int64_t codebook_size, HtmlReport& report) {
  const auto use = codebook_histogram(tokens, codebook_size);
  nlohmann::ordered_json figures = {{"codes", codebook_size},           {"used", use.used},
                                    {"dead", use.dead.size()},          {"perplexity", use.perplexity},
                                    {"entropy_bits", use.entropy_bits}, {"tokens", use.tokens}};
  report.heading("Codebook use");
  report.figures(figures);
  report.plot(bar_plot(std::vector<double>(use.counts.begin(), use.counts.end()),
                       {"How often each code occurs", "code", "tokens", false}));
  auto sorted = use.counts;
  std::sort(sorted.rbegin(), sorted.rend());
  report.plot(bar_plot(std::vector<double>(sorted.begin(), sorted.end()),
                       {"The same, most frequent first", "rank", "tokens", false}));
  figures["dead_codes"] = use.dead;
  figures["histogram"] = use.counts;
  return figures;
}

/// Collects a metric's values batch by batch.
using Columns = std::vector<std::pair<std::string, std::vector<torch::Tensor>>>;

void add_to(Columns& columns, const std::string& name, const torch::Tensor& values) {
  for (auto& [known, parts] : columns) {
    if (known == name) return parts.push_back(values);
  }
  columns.push_back({name, {values}});
}

}  // namespace

nlohmann::ordered_json distribution_figures(const torch::Tensor& real, const torch::Tensor& fake,
                                            const FeatureNetwork& network, const DistributionOptions& options) {
  require_features(real, fake, options.prdc.k + 1);
  nlohmann::ordered_json figures = {{"features", network.label()},
                                    {"comparable_with_published", network.published()},
                                    {"real_images", real.size(0)},
                                    {"generated_images", fake.size(0)},
                                    {"feature_width", real.size(1)},
                                    {"distance_name", network.distance_name()},
                                    {"frechet_distance", frechet_distance(real, fake)}};
  if (options.infinity.points > 0 && fake.size(0) >= 4) {
    const auto infinite = fid_infinity(real, fake, options.infinity);
    figures["frechet_distance_infinity"] = {{"value", infinite.value},
                                            {"standard_error", infinite.standard_error},
                                            {"counts", infinite.counts},
                                            {"distances", infinite.fids}};
  }
  auto kernel = options.kid;
  kernel.subset_size = std::min({kernel.subset_size, real.size(0), fake.size(0)});
  const auto distance = kid(real, fake, kernel);
  figures["kernel_distance"] = {{"mean", distance.mean},
                                {"deviation", distance.deviation},
                                {"subsets", kernel.subsets},
                                {"subset_size", kernel.subset_size}};
  const auto balls = prdc(real, fake, options.prdc);
  figures["k"] = options.prdc.k;
  figures["precision"] = balls.precision;
  figures["recall"] = balls.recall;
  figures["density"] = balls.density;
  figures["coverage"] = balls.coverage;
  return figures;
}

Reconstructions reconstruction_figures(Codec codec, const Dataset& data, const std::vector<std::int64_t>& indices,
                                       Lpips* lpips, const ReconstructionOptions& options, HtmlReport& report,
                                       nlohmann::ordered_json& figures) {
  const torch::NoGradGuard no_grad;
  require(!indices.empty(), "reconstruction: no images");
  Columns columns;
  std::vector<torch::Tensor> images, tokens, pixel_nats;
  const auto scales = ms_ssim_scales(data.image_size());
  const auto count = static_cast<std::int64_t>(indices.size());
  std::vector<Image> sheet;
  {
    Progress progress("reconstruct", 0, count, "images");
    for (std::int64_t start = 0; start < count; start += options.batch) {
      const auto last = std::min(start + options.batch, count);
      const auto where = torch::tensor(std::vector<std::int64_t>(indices.begin() + start, indices.begin() + last));
      const auto given = data.images(where);
      const auto grid = codec->encode(given);
      const auto back = codec->decode(grid);
      add_to(columns, "l1", l1_distance(given, back));
      add_to(columns, "psnr_db", psnr(given, back));
      if (scales > 0) add_to(columns, "ssim", ssim(given, back));
      if (scales > 0)
        add_to(columns, scales == 5 ? "ms_ssim" : fmt::format("ms_ssim_{}_scales", scales),
               ms_ssim(given, back, scales));
      if (lpips) {
        add_to(columns, "lpips_vgg",
               lpips->distance(given.to(torch::kFloat32) / 127.5 - 1, back.to(torch::kFloat32) / 127.5 - 1)
                   .to(torch::kFloat64));
      }
      if (options.pixel_bits > 0) {
        pixel_nats.push_back(pixel_nll(*codec, given, options.pixel_bits, options.pixel_form));
        add_to(columns, "pixel_bits_per_dimension",
               image_bits_per_dimension(pixel_nats.back(), torch::zeros_like(pixel_nats.back()), given[0].numel()));
      }
      for (std::int64_t i = 0; i < given.size(0) && start + i < options.shown; ++i) {
        sheet.push_back(to_image(given[i]));
        sheet.push_back(to_image(back[i]));
      }
      images.push_back(back);
      tokens.push_back(grid.codes());
      progress.update(last, "");
    }
  }
  report.heading("Reconstruction");
  auto each = nlohmann::ordered_json::array();
  for (const auto index : indices) each.push_back({{"image", data.file_name(index)}});
  figures["image_count"] = count;
  for (const auto& [name, parts] : columns) {
    const auto values = torch::cat(parts).to(torch::kFloat64);
    figures[name] = to_json(interval_of(values, options.confidence));
    for (std::int64_t i = 0; i < count; ++i) each[static_cast<std::size_t>(i)][name] = values[i].item<double>();
  }
  report.figures(figures);
  report.picture(contact_sheet(sheet, {kSheetColumns, 2, {}}), "original left, reconstruction right");
  figures["images"] = each;
  Reconstructions result{torch::cat(images), torch::cat(tokens),
                         pixel_nats.empty() ? torch::Tensor() : torch::cat(pixel_nats)};
  figures["codebook"] = codebook_figures(result.tokens, codec->options().codebook_size, report);
  return result;
}

nlohmann::ordered_json neighbour_figures(const torch::Tensor& samples, const Dataset& data,
                                         const std::vector<std::int64_t>& indices, FeatureNetwork& network,
                                         const Lpips* lpips, std::int64_t shown, std::int64_t k,
                                         const std::filesystem::path& cache_folder, HtmlReport& report) {
  const auto queries = samples.slice(0, 0, std::min(shown, samples.size(0)));
  const auto stream = dataset_stream(data, indices);
  Neighbours found;
  if (lpips) {
    found = nearest_lpips(queries, *stream, *lpips, k);
  } else {
    const auto base = extract_features(*stream, network, "features of training pictures", cache_folder);
    found = nearest_features(extract_features(*tensor_stream(queries, ""), network, "features of samples"), base, k);
  }
  const auto by = lpips ? std::string("LPIPS v0.1, VGG16") : fmt::format("Euclidean distance of {}", network.label());
  auto each = nlohmann::ordered_json::array();
  for (std::int64_t row = 0; row < queries.size(0); ++row) {
    auto names = nlohmann::ordered_json::array();
    for (std::int64_t i = 0; i < k; ++i) {
      const auto image = indices[static_cast<std::size_t>(found.index[row][i].item<std::int64_t>())];
      names.push_back({{"image", data.file_name(image)}, {"distance", found.distance[row][i].item<double>()}});
      found.index[row][i] = image;  // from here on a place in the whole set
    }
    each.push_back({{"sample", row}, {"neighbours", names}});
  }
  report.heading("Nearest training pictures");
  report.paragraph("Each sample, then the training pictures nearest to it, nearest first; by " + by + ".");
  report.picture(neighbours_sheet(queries, data.images(), found), "sample, then its nearest training pictures");
  return {
      {"by", by}, {"mean_distance_to_nearest", found.distance.select(1, 0).mean().item<double>()}, {"samples", each}};
}

}  // namespace tessera
