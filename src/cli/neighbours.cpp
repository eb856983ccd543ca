#include "cli/neighbours.h"

#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "cli/data_flags.h"
#include "codec/nearest_grids.h"
#include "data/dataset.h"
#include "data/shard_pattern.h"
#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "runtime/error.h"
#include "training/token_data.h"

namespace tessera::cli {

void add_neighbour_flags(CLI::App& verb, NeighbourFlags& flags) {
  const auto add = [&verb](const char* name, auto& value, const char* help) {
    return verb.add_option(name, value, help)->group("Neighbours");
  };
  add("--neighbours", flags.data,
      "the data it was trained on: also write each sample beside its nearest training pictures");
  add("--neighbour-count", flags.count, "training pictures beside each sample")
      ->capture_default_str()
      ->check(CLI::Range(1, 16));
  add("--background", flags.background, "colour under transparent pixels, as in training")->capture_default_str();
  add("--validation-fraction", flags.validation_fraction, "held out, as in training")->capture_default_str();
  add("--split-seed", flags.split_seed, "as in training (its --seed)")->capture_default_str();
  add_choice_flags(verb, flags.choice, "Neighbours");
}

void check(const NeighbourFlags& flags) {
  if (flags.data.empty()) return;
  for (const auto& path : expand_pattern(flags.data)) {
    std::error_code code;
    require(std::filesystem::exists(path, code), "{}: no such file or folder", path.string());
  }
}

nlohmann::json write_neighbours(const NeighbourFlags& flags, const ModelFlags& model, Pipeline& pipeline,
                                const torch::Tensor& codes, const std::vector<Image>& pictures,
                                std::uint64_t first_image, const std::filesystem::path& sheet) {
  const auto codec = pipeline.codec();
  DatasetOptions options;
  options.path = flags.data;
  options.size = codec->options().image_size;
  options.background = flags.background;
  options.validation_fraction = flags.validation_fraction;
  options.split_seed = flags.split_seed;
  options.choice = flags.choice;
  const auto data = Dataset::open(options);
  const auto& train = data.require_split(Split::train);
  // Rounded products may choose other codes: those are kept apart from the ones that training made in float32.
  const auto hash = part_hash(load_bundle(model.model), "vqvae");
  const auto tokens =
      tokens_of(data, codec, name_of_codec(hash, pipeline.dtype(), codec->device()), false, default_cache_folder());
  const auto nearest = nearest_grids(codes, tokens.train, codec->quantizer->codebook(), flags.count);

  nlohmann::json samples = nlohmann::json::array();
  std::vector<std::vector<Image>> groups;
  for (std::int64_t i = 0; i < codes.size(0); ++i) {
    groups.push_back({pictures.at(static_cast<std::size_t>(i))});
    nlohmann::json found = nlohmann::json::array();
    for (std::int64_t j = 0; j < nearest.rows.size(1); ++j) {
      const auto row = nearest.rows[i][j].item<std::int64_t>();
      const auto index = train.at(static_cast<std::size_t>(row));
      groups.back().push_back(to_image(data.image(index)));
      found.push_back({{"file", data.file_name(index)},
                       {"distance", nearest.distances[i][j].item<float>()},
                       {"equal_cells", equal_cells(codes[i], tokens.train[row]).item<float>()}});
    }
    samples.push_back({{"image", first_image + static_cast<std::uint64_t>(i)}, {"nearest", std::move(found)}});
  }
  nlohmann::json report = {{"distance", kGridDistance}, {"samples", std::move(samples)}};
  write_png(sheet, group_sheet(groups, groups.size() > 4 ? 2 : 1), {{"tessera-neighbours", report.dump()}});
  return report;
}

}  // namespace tessera::cli
