#include <nlohmann/json.hpp>
#include <set>

#include "data/item_fields.h"
#include "metrics/caption_naming.h"
#include "metrics/evaluation.h"
#include "metrics/neighbours.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

/// A picture's phrases: its keywords where the metadata have them, else those of its caption.
std::vector<std::string> own_phrases(const Dataset& data, std::int64_t index) {
  const auto keywords = keywords_of(data.item(index));
  return keywords.empty() ? phrases_of(data.caption(index)) : keywords;
}

/// Captions of some pictures against what they show.
class Naming {
 public:
  Naming(const Dataset& data, const std::vector<std::int64_t>& chosen, const std::vector<std::string>& attributes)
      : data_(data), chosen_(chosen) {
    std::vector<std::vector<std::string>> phrases;
    const auto& every = data.split(Split::all);
    for (const auto index : every) phrases.push_back(own_phrases(data, index));
    for (const auto& attribute : attributes) {
      std::vector<std::string> values;
      for (const auto index : every) values.push_back(text_field(data.item(index), attribute));
      meanings_.emplace_back(attribute, PhraseMeanings(phrases, values));
    }
  }

  nlohmann::ordered_json figures(const std::string& set, const std::vector<std::string>& captions,
                                 std::vector<std::vector<std::string>>& table) const {
    NamingScore phrases;
    std::int64_t exact = 0;
    std::vector<NamingScore> of(meanings_.size());
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      const auto said = phrases_of(captions[i]), own = own_phrases(data_, chosen_[i]);
      NamingScore one;
      count_phrases(said, own, one);
      exact += one.right == one.named && one.right == one.there;
      phrases += one;
      for (std::size_t a = 0; a < meanings_.size(); ++a)
        count_values(meanings_[a].second.named_by(said), text_field(data_.item(chosen_[i]), meanings_[a].first), of[a]);
    }
    nlohmann::ordered_json part = {
        {"set", set},
        {"all_phrases_right", static_cast<double>(exact) / static_cast<double>(chosen_.size())},
        {"phrases", row("phrases", set, phrases, table)}};
    auto attributes = nlohmann::ordered_json::array();
    for (std::size_t a = 0; a < meanings_.size(); ++a) {
      auto figures = row(meanings_[a].first, set, of[a], table);
      figures["attribute"] = meanings_[a].first;
      attributes.push_back(std::move(figures));
    }
    part["attributes"] = std::move(attributes);
    return part;
  }

 private:
  static nlohmann::ordered_json row(const std::string& what, const std::string& set, const NamingScore& score,
                                    std::vector<std::vector<std::string>>& table) {
    table.push_back({what, set, number_text(score.precision()), number_text(score.recall()), number_text(score.f1())});
    return {{"precision", score.precision()}, {"recall", score.recall()}, {"f1", score.f1()},
            {"right", score.right},           {"named", score.named},     {"there", score.there}};
  }

  const Dataset& data_;
  const std::vector<std::int64_t>& chosen_;
  std::vector<std::pair<std::string, PhraseMeanings>> meanings_;
};

/// Captions of the training pictures nearest to the chosen ones.
std::vector<std::string> copied_captions(const Dataset& data, const std::vector<std::int64_t>& chosen,
                                         FeatureNetwork& network, const std::filesystem::path& cache_folder) {
  std::vector<std::int64_t> others;
  const std::set<std::int64_t> own(chosen.begin(), chosen.end());
  for (const auto index : data.split(Split::train)) {
    if (!own.count(index) && !data.caption(index).empty()) others.push_back(index);
  }
  if (others.empty()) return {};
  const auto asked = extract_features(*dataset_stream(data, chosen), network, "features of captioned pictures");
  const auto base =
      extract_features(*dataset_stream(data, others), network, "features of training pictures", cache_folder);
  const auto nearest = nearest_features(asked, base, 1).index.select(1, 0);
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < nearest.size(0); ++i)
    captions.push_back(data.caption(others[static_cast<std::size_t>(nearest[i].item<std::int64_t>())]));
  return captions;
}

}  // namespace

nlohmann::ordered_json captioning_figures(const Dataset& data, const std::vector<std::int64_t>& indices,
                                          const CaptionOptions& options, FeatureNetwork& network,
                                          const SayCaptions& say, HtmlReport& report) {
  const torch::NoGradGuard no_grad;
  require(data.has_captions(), "captioning: {}", data.no_captions_text());
  std::vector<std::int64_t> chosen;
  for (const auto index : indices) {
    if (!data.caption(index).empty()) chosen.push_back(index);
  }
  require(!chosen.empty(), "captioning: no picture of this part has a caption");
  std::vector<std::string> said;
  {
    constexpr std::size_t kTogether = 16;
    Progress progress("captioning", 0, static_cast<std::int64_t>(chosen.size()), "pictures");
    for (std::size_t start = 0; start < chosen.size(); start += kTogether) {
      const auto last = std::min(start + kTogether, chosen.size());
      const std::vector<std::int64_t> part(chosen.begin() + static_cast<std::ptrdiff_t>(start),
                                           chosen.begin() + static_cast<std::ptrdiff_t>(last));
      for (auto& caption : say(data.images(torch::tensor(part)), static_cast<std::int64_t>(start)))
        said.push_back(std::move(caption));
      progress.update(static_cast<std::int64_t>(last), "");
    }
  }
  require(said.size() == chosen.size(), "captioning: {} captions of {} pictures", said.size(), chosen.size());
  const Naming naming(data, chosen, options.attributes);
  std::vector<std::vector<std::string>> table = {{"what is named", "by", "precision", "recall", "F1"}};
  nlohmann::ordered_json figures = {{"pictures", chosen.size()}, {"rows", nlohmann::ordered_json::array()}};
  figures["rows"].push_back(naming.figures("the model", said, table));
  if (const auto copies = copied_captions(data, chosen, network, options.cache_folder); !copies.empty())
    figures["rows"].push_back(naming.figures("the nearest training picture's caption", copies, table));
  auto each = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < chosen.size(); ++i)
    each.push_back({{"image", data.file_name(chosen[i])}, {"caption", data.caption(chosen[i])}, {"said", said[i]}});
  figures["images"] = std::move(each);
  report.heading("Captioning");
  report.paragraph(
      "Captions of pictures: their phrases beside those of the pictures' own captions, and the attributes that they "
      "stand for.");
  report.table(table);
  return figures;
}

}  // namespace tessera
