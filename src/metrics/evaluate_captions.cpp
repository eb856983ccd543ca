#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "image/contact_sheet.h"
#include "metrics/caption_retrieval.h"
#include "metrics/evaluation.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

constexpr int kGroupsARow = 8;

/// The first pictures with different captions.
std::vector<std::int64_t> captioned(const Dataset& data, const std::vector<std::int64_t>& indices, std::int64_t count) {
  require(data.has_captions(), "captions: {}", data.no_captions_text());
  std::vector<std::int64_t> chosen;
  std::set<std::string> seen;
  for (const auto index : indices) {
    const auto& caption = data.caption(index);
    if (caption.empty() || !seen.insert(caption).second) continue;
    if (static_cast<std::int64_t>(chosen.size()) < count) chosen.push_back(index);
  }
  require(static_cast<std::int64_t>(chosen.size()) == count,
          "captions: {} different ones in this part of the pictures, expected {}", seen.size(), count);
  return chosen;
}

}  // namespace

nlohmann::ordered_json caption_figures(const Dataset& data, const std::vector<std::int64_t>& indices,
                                       const CaptionOptions& options, FeatureNetwork& network, const MakePictures& make,
                                       HtmlReport& report) {
  const torch::NoGradGuard no_grad;
  if (options.count < 2) throw UsageError(fmt::format("captions {}: expected 2 or more", options.count));
  if (options.each < 1) throw UsageError(fmt::format("pictures of a caption {}: expected 1 or more", options.each));
  const auto chosen = captioned(data, indices, options.count);
  std::vector<torch::Tensor> made;
  std::vector<std::vector<Image>> sheet;
  {
    Progress progress("captions", 0, options.count, "captions");
    for (std::int64_t i = 0; i < options.count; ++i) {
      const auto index = chosen[static_cast<std::size_t>(i)];
      const auto pictures = make(data.caption(index), i);
      require(pictures.dim() == 4 && pictures.size(0) == options.each, "captions: expected {} pictures of each",
              options.each);
      if (i < options.shown) sheet.push_back({to_image(data.images()[index]), to_image(pictures[0])});
      made.push_back(pictures);
      progress.update(i + 1, "");
    }
  }
  const auto real = extract_features(*dataset_stream(data, chosen), network, "features of captioned pictures");
  const auto fake = extract_features(*tensor_stream(torch::cat(made), ""), network, "features of what was made");
  const auto found = caption_retrieval(real, fake.view({options.count, options.each, -1}), options.confidence);
  nlohmann::ordered_json figures = {{"captions", options.count},
                                    {"pictures_a_caption", options.each},
                                    {"features", network.label()},
                                    {"top1", to_json(found.top1)},
                                    {"chance_top1", found.chance_top1},
                                    {"probability_of_so_much_by_chance", found.chance_of_top1},
                                    {"mean_rank", to_json(found.mean_rank)},
                                    {"chance_mean_rank", found.chance_mean_rank}};
  report.heading("Captions");
  report.paragraph(
      "For each real picture: is what was made from its own caption nearer to it than what was made from the other "
      "captions?");
  report.figures(figures);
  report.picture(group_sheet(sheet, kGroupsARow), "the caption's real picture, then what was made from the caption");
  auto each = nlohmann::ordered_json::array();
  std::vector<std::vector<std::string>> rows = {{"picture", "caption", "rank", "nearest caption"}};
  for (std::int64_t i = 0; i < options.count; ++i) {
    const auto index = chosen[static_cast<std::size_t>(i)];
    const auto nearest = chosen[static_cast<std::size_t>(found.nearest[i].item<std::int64_t>())];
    const double rank = found.ranks[i].item<double>();
    each.push_back({{"image", data.file_name(index)},
                    {"caption", data.caption(index)},
                    {"rank", rank},
                    {"nearest_caption", data.caption(nearest)}});
    rows.push_back({data.file_name(index), data.caption(index), number_text(rank), data.caption(nearest)});
  }
  report.table(rows);
  figures["images"] = each;
  return figures;
}

}  // namespace tessera
