/// generate --neighbours: each sample beside the training pictures it resembles most.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/model_flags.h"
#include "data/catalogue_choice.h"
#include "image/image.h"

namespace tessera::cli {

struct NeighbourFlags {
  std::string data;  // the set the model was trained on; empty: off
  std::string background = "#ffffff";
  std::int64_t count = 3;  // training pictures beside each sample
  double validation_fraction = 0.05;
  std::uint64_t split_seed = 0;
  CatalogueChoice choice;  // of captions, parts and pictures
};
void add_neighbour_flags(CLI::App& verb, NeighbourFlags& flags);

/// Throws Error where the data are not there: before any picture is made.
void check(const NeighbourFlags& flags);

/// Writes `sheet`, a PNG of strips: sample, gap, nearest training pictures (as they are in the data set, cut to the
/// codec's size). Distances are of codec latents (see nearest_grids). Training pictures are encoded once and kept in
/// the token cache, where training has left them already. In: codes [N, h, w] and their pictures. Out:
/// {"distance": what it is, "samples": [{"image", "nearest": [{"file", "distance", "equal_cells"}]}]}, also stored in
/// the PNG's text under `tessera-neighbours`.
nlohmann::json write_neighbours(const NeighbourFlags& flags, const ModelFlags& model, Pipeline& pipeline,
                                const torch::Tensor& codes, const std::vector<Image>& pictures,
                                std::uint64_t first_image, const std::filesystem::path& sheet);

}  // namespace tessera::cli
