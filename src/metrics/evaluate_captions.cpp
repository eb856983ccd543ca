#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "data/catalogue_choice.h"
#include "data/item_fields.h"
#include "image/contact_sheet.h"
#include "metrics/attribute_probe.h"
#include "metrics/caption_retrieval.h"
#include "metrics/evaluation.h"
#include "metrics/nearest_concept.h"
#include "metrics/neighbours.h"
#include "metrics/references.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

constexpr int kGroupsARow = 8;

/// Whether a picture is one of those whose captions are asked for.
bool is_asked(const Dataset& data, std::int64_t index, const CaptionOptions& options) {
  return options.where.empty() || holds({options.where}, json_or_discarded(data.item(index).fields));
}

/// The first pictures with different captions.
std::vector<std::int64_t> captioned(const Dataset& data, const std::vector<std::int64_t>& indices,
                                    const CaptionOptions& options) {
  require(data.has_captions(), "captions: {}", data.no_captions_text());
  const auto count = options.count;
  std::vector<std::int64_t> chosen;
  std::set<std::string> seen;
  for (const auto index : indices) {
    const auto& caption = data.caption(index);
    if (caption.empty() || !is_asked(data, index, options) || !seen.insert(caption).second) continue;
    if (static_cast<std::int64_t>(chosen.size()) < count) chosen.push_back(index);
  }
  require(static_cast<std::int64_t>(chosen.size()) == count,
          "captions: {} different ones in this part of the pictures{}, expected {}", seen.size(),
          options.where.empty() ? "" : " where " + options.where, count);
  return chosen;
}

/// A field of every picture's metadata, empty where it has none.
std::vector<std::string> field_of(const Dataset& data, const std::vector<std::int64_t>& indices,
                                  const std::string& field) {
  std::vector<std::string> values;
  for (const auto index : indices) values.push_back(text_field(data.item(index), field));
  return values;
}

/// Features of the training picture nearest to each of the chosen ones; undefined where there are none.
torch::Tensor copied(const Dataset& data, const std::vector<std::int64_t>& chosen, const torch::Tensor& real,
                     FeatureNetwork& network, const CaptionOptions& options) {
  std::vector<std::int64_t> others;
  const std::set<std::int64_t> own(chosen.begin(), chosen.end());
  for (const auto index : data.split(Split::train)) {
    if (!own.count(index)) others.push_back(index);
  }
  if (others.empty()) return {};
  const auto base =
      extract_features(*dataset_stream(data, others), network, "features of training pictures", options.cache_folder);
  return base.index_select(0, nearest_features(real, base, 1).index.select(1, 0));
}

/// What each of the pictures made is nearest to, and the same of the real pictures, of noise and of copies.
nlohmann::ordered_json concept_figures(const Dataset& data, const std::vector<std::int64_t>& chosen,
                                       const CaptionOptions& options, FeatureNetwork& network,
                                       const torch::Tensor& real, const torch::Tensor& made, HtmlReport& report) {
  const auto& every = data.split(Split::all);
  ConceptRows known{{}, field_of(data, every, options.concept_field), field_of(data, every, options.style_field), {}};
  ConceptRows asked{real, field_of(data, chosen, options.concept_field), field_of(data, chosen, options.style_field),
                    chosen};
  if (std::all_of(asked.concepts.begin(), asked.concepts.end(), [](const auto& name) { return name.empty(); }))
    return {};
  known.features =
      extract_features(*dataset_stream(data, every), network, "features of every picture", options.cache_folder);
  nlohmann::ordered_json figures = {{"concept_field", options.concept_field}, {"style_field", options.style_field}};
  std::vector<std::vector<std::string>> table = {{"set", "pictures", "top-1", "top-5", "by chance"}};
  auto rows = nlohmann::ordered_json::array();
  const auto add = [&](const char* name, const ConceptRows& queries) {
    const auto found = nearest_concept(known, queries, options.confidence);
    rows.push_back({{"set", name},
                    {"images", found.judged},
                    {"top1", to_json(found.top1)},
                    {"top5", to_json(found.top5)},
                    {"chance", found.chance}});
    table.push_back({name, std::to_string(found.judged), number_text(found.top1.mean), number_text(found.top5.mean),
                     number_text(found.chance)});
  };
  // Each picture made stands under its caption's concept and style.
  auto repeated = asked;
  repeated.features = made;
  repeated.concepts.clear();
  repeated.styles.clear();
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    for (std::int64_t copy = 0; copy < options.each; ++copy) {
      repeated.concepts.push_back(asked.concepts[i]);
      repeated.styles.push_back(asked.styles[i]);
    }
  }
  repeated.rows.assign(repeated.concepts.size(), -1);
  add("what was made", repeated);
  add("the captions' real pictures", asked);
  auto noise = asked;
  noise.rows.assign(chosen.size(), -1);
  noise.features = extract_features(
      *tensor_stream(pixel_noise(static_cast<std::int64_t>(chosen.size()), data.image_size(), kNoiseSeed), ""), network,
      "features of noise");
  add(kPixelNoiseRow, noise);
  figures["rows"] = rows;
  report.heading("Nearest concept");
  report.paragraph(fmt::format(
      "Which concept's mean of pictures in other styles is each picture nearest to ('{}' and '{}' of the metadata, "
      "cosine distance of {})?",
      options.concept_field, options.style_field, network.label()));
  report.table(table);
  return figures;
}

/// How often each attribute is read back from what was made from captions, and from their real pictures.
nlohmann::ordered_json attribute_figures(const Dataset& data, const std::vector<std::int64_t>& chosen,
                                         const CaptionOptions& options, FeatureNetwork& network,
                                         const torch::Tensor& real, const torch::Tensor& made, HtmlReport& report) {
  const std::set<std::int64_t> own(chosen.begin(), chosen.end());
  std::vector<std::int64_t> others, teachers;
  for (const auto index : data.split(Split::train)) {
    if (!own.count(index) && (options.where.empty() || !is_asked(data, index, options))) others.push_back(index);
  }
  const auto count = std::min(options.probe_pictures, static_cast<std::int64_t>(others.size()));
  for (std::int64_t i = 0; i < count; ++i)
    teachers.push_back(others[static_cast<std::size_t>(i * static_cast<std::int64_t>(others.size()) / count)]);
  require(!teachers.empty(), "attributes: no training picture is left to learn from");
  const auto features = extract_features(*dataset_stream(data, teachers), network,
                                         "features that the probes learn from", options.cache_folder);
  nlohmann::ordered_json figures = {{"pictures_learned_from", count}, {"rows", nlohmann::ordered_json::array()}};
  std::vector<std::vector<std::string>> table = {
      {"attribute", "values", "read from what was made", "from the real pictures", "ratio", "the most frequent value"}};
  for (const auto& attribute : options.attributes) {
    const LinearProbe probe({features, field_of(data, teachers, attribute)}, attribute);
    const auto values = field_of(data, chosen, attribute);
    std::vector<std::string> repeated;
    for (const auto& value : values) repeated.insert(repeated.end(), static_cast<std::size_t>(options.each), value);
    const auto of_real = read_right(probe, {real, values}, options.confidence),
               of_made = read_right(probe, {made, repeated}, options.confidence);
    const double ratio = of_real.mean > 0 ? of_made.mean / of_real.mean : 0;
    figures["rows"].push_back({{"attribute", attribute},
                               {"values", probe.values().size()},
                               {"made", to_json(of_made)},
                               {"real", to_json(of_real)},
                               {"ratio", ratio},
                               {"most_frequent", probe.most_frequent()}});
    table.push_back({attribute, std::to_string(probe.values().size()), number_text(of_made.mean),
                     number_text(of_real.mean), number_text(ratio), number_text(probe.most_frequent())});
  }
  report.heading("Attributes");
  report.paragraph(
      fmt::format("How often a linear probe on {} reads what the caption's metadata say; it learned from {} other "
                  "training pictures.",
                  network.label(), count));
  report.table(table);
  return figures;
}

}  // namespace

nlohmann::ordered_json caption_figures(const Dataset& data, const std::vector<std::int64_t>& indices,
                                       const CaptionOptions& options, FeatureNetwork& network, const MakePictures& make,
                                       HtmlReport& report) {
  const torch::NoGradGuard no_grad;
  if (options.count < 2) throw UsageError(fmt::format("captions {}: expected 2 or more", options.count));
  if (options.each < 1) throw UsageError(fmt::format("pictures of a caption {}: expected 1 or more", options.each));
  const auto chosen = captioned(data, indices, options);
  std::vector<torch::Tensor> made;
  std::vector<std::vector<Image>> sheet;
  {
    Progress progress("captions", 0, options.count, "captions");
    for (std::int64_t i = 0; i < options.count; ++i) {
      const auto index = chosen[static_cast<std::size_t>(i)];
      const auto pictures = make(data.caption(index), i);
      require(pictures.dim() == 4 && pictures.size(0) == options.each, "captions: expected {} pictures of each",
              options.each);
      if (i < options.shown) sheet.push_back({to_image(data.image(index)), to_image(pictures[0])});
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
  // A model that copies: the nearest other picture in place of what a caption makes.
  if (auto copies = copied(data, chosen, real, network, options); copies.defined()) {
    const auto retrieval = caption_retrieval(real, copies.unsqueeze(1), options.confidence);
    figures["references"] = nlohmann::ordered_json::array(
        {{{"set", kCopiesRow}, {"top1", to_json(retrieval.top1)}, {"mean_rank", to_json(retrieval.mean_rank)}},
         {{"set", "chance (noise)"}, {"top1", found.chance_top1}, {"mean_rank", found.chance_mean_rank}}});
    report.table({{"reference", "top-1", "mean rank"},
                  {kCopiesRow, number_text(retrieval.top1.mean), number_text(retrieval.mean_rank.mean)},
                  {"chance (noise)", number_text(found.chance_top1), number_text(found.chance_mean_rank)}});
  }
  if (auto concepts = concept_figures(data, chosen, options, network, real, fake, report); !concepts.is_null())
    figures["nearest_concept"] = std::move(concepts);
  if (!options.attributes.empty())
    figures["attributes"] = attribute_figures(data, chosen, options, network, real, fake, report);
  figures["images"] = each;
  return figures;
}

}  // namespace tessera
