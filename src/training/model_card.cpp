#include "training/model_card.h"

#include <fmt/format.h>

namespace tessera {
namespace {

/// The bundle as it is, or an empty one.
Bundle existing(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "model_index.json") ? load_bundle(folder) : Bundle{};
}

/// One section a part, between markers, so that training the prior keeps what was said of the codec and by hand.
std::string with_section(std::string text, const ModelCard& card) {
  if (text.empty()) text = "# A Tessera model\n";
  const auto begin = fmt::format("<!-- {}: written by tessera train -->", card.part),
             end = fmt::format("<!-- end of {} -->", card.part);
  auto section =
      fmt::format("{}\n## The {}\n\n{}.\n\n| figure | value |\n| --- | --- |\n", begin, card.part, card.description);
  for (const auto& [name, value] : card.figures) section += fmt::format("| {} | {:.6g} |\n", name, value);
  section += fmt::format("\nRecipe:\n\n```json\n{}\n```\n{}", card.recipe.dump(2), end);
  const auto from = text.find(begin), to = text.find(end);
  if (from == std::string::npos || to == std::string::npos || from > to) return text + "\n" + section + "\n";
  return text.replace(from, to + end.size() - from, section);
}

}  // namespace

void write_codec_bundle(const std::filesystem::path& folder, const nlohmann::json& config, const TensorMap& weights,
                        const ModelCard& card) {
  auto bundle = existing(folder);
  bundle.codec = BundlePart{config, weights};
  bundle.readme = with_section(bundle.readme, card);
  save_bundle(folder, bundle);
}

void write_prior_bundle(const std::filesystem::path& folder, const ModelCard& card,
                        const std::function<void(Bundle&)>& put) {
  auto bundle = existing(folder);
  put(bundle);
  bundle.readme = with_section(bundle.readme, card);
  save_bundle(folder, bundle);
}

}  // namespace tessera
