// Unleashing Transformers' priors. Key names: github.com/samb-t/unleashing-transformers, models/transformer.py and
// models/absorbing_diffusion.py.
#include <cmath>

#include "checkpoint/tensor_mapping.h"
#include "denoiser/transformer.h"
#include "import/importers.h"
#include "import/mingpt.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::int64_t kPaperHeadWidth = 64;
constexpr std::int64_t kMaxSteps = 1 << 20;

struct Geometry {
  std::int64_t codes = 0;  // K
  std::int64_t width = 0;  // C
  std::int64_t cells = 0;  // L
  std::int64_t layers = 0;
};

Geometry geometry_of(const TensorMap& net, const std::string& where) {
  Geometry geometry;
  const auto& head = needed(net, "head.weight", 2, where);
  geometry.codes = head.size(0);
  geometry.width = head.size(1);
  geometry.cells = needed(net, "pos_emb", 3, where).size(1);
  geometry.layers = count_numbered(net, "blocks.");
  require(geometry.layers > 0, "{}: holds no transformer blocks", where);
  return geometry;
}

std::int64_t heads_of(const Geometry& geometry, const ImportOptions& options, std::vector<std::string>& assumptions,
                      const std::string& where) {
  if (options.heads) {
    require(*options.heads > 0 && geometry.width % *options.heads == 0, "{}: {} heads do not divide the width {}",
            where, *options.heads, geometry.width);
    return *options.heads;
  }
  require(geometry.width % kPaperHeadWidth == 0,
          "{}: the width {} is no multiple of the paper's head width {}: give the number of heads (--heads)", where,
          geometry.width, kPaperHeadWidth);
  assumptions.push_back(fmt::format("{} attention heads of {}, as in the paper (--heads says otherwise)",
                                    geometry.width / kPaperHeadWidth, kPaperHeadWidth));
  return geometry.width / kPaperHeadWidth;
}

std::pair<std::int64_t, std::int64_t> grid_of(const Geometry& geometry, const ImportOptions& options,
                                              std::vector<std::string>& assumptions, const std::string& where) {
  if (options.grid) {
    const auto [h, w] = *options.grid;
    const bool possible = h > 0 && w > 0 && h <= geometry.cells && w <= geometry.cells;
    require(possible && h * w == geometry.cells, "{}: a grid of {}x{} was given, the file's model has {} cells", where,
            h, w, geometry.cells);
    return *options.grid;
  }
  const auto side = std::llround(std::sqrt(static_cast<double>(geometry.cells)));
  require(side * side == geometry.cells, "{}: {} cells are no square: give the grid (--grid HxW)", where,
          geometry.cells);
  assumptions.push_back(fmt::format("a square grid of {}x{} cells (--grid HxW says otherwise)", side, side));
  return {side, side};
}

ImportedDenoiser import_prior(const TensorMap& file, const std::string& prefix, bool causal,
                              const ImportOptions& options, const std::string& where) {
  ImportedDenoiser denoiser;
  const auto net = strip_prefix(file, prefix);
  const auto geometry = geometry_of(net, where);
  const auto heads = heads_of(geometry, options, denoiser.assumptions, where);
  const auto [h, w] = grid_of(geometry, options, denoiser.assumptions, where);
  TransformerOptions sizes;
  sizes.kind = causal ? TransformerKind::autoregressive : TransformerKind::bidirectional;
  sizes.codebook_size = geometry.codes;
  sizes.grid = {h, w};
  sizes.layers = geometry.layers;
  sizes.heads = heads;
  sizes.width = geometry.width;
  denoiser.config = sizes.to_config();
  for (const char* name : {"Lt_history", "Lt_count", "loss_history"}) {
    if (const auto found = file.find(name); !causal && found != file.end())
      denoiser.training.emplace(name, found->second);
  }
  const auto unneeded = [&](const std::string& name) {
    if (denoiser.training.contains(name)) return true;
    if (!causal && name == prefix + "start_tok")
      return true;  // the original keeps it in both, the bidirectional model never uses it
    return name.starts_with(prefix + "blocks.") && name.ends_with(".attn.mask");
  };
  denoiser.tensors = map_tensors(
      file, transformer_shapes(sizes),
      [&](const auto& native, const auto& shape) { return mingpt_source(prefix, native, shape); }, unneeded, where);

  auto steps = options.total_steps.value_or(geometry.cells);
  if (const auto history = denoiser.training.find("Lt_history"); history != denoiser.training.end() && !causal) {
    const auto stored = history->second.numel() - 1;
    require(!options.total_steps || *options.total_steps == stored,
            "{}: {} total steps were given, the file's model has {}", where, steps, stored);
    steps = stored;
  } else if (!causal && !options.total_steps) {
    denoiser.assumptions.push_back(fmt::format("{} total steps, one a cell (--total-steps says otherwise)", steps));
  }
  require(steps >= 1 && steps <= kMaxSteps, "{}: {} total steps, expected 1 to {}", where, steps, kMaxSteps);
  denoiser.scheduler = {{"_class_name", "TesseraProcess"},
                        {"tessera",
                         {{"format", 1},
                          {"process", causal ? "autoregressive" : "absorbing"},
                          {"total_steps", causal ? geometry.cells : steps},
                          {"mask_schedule", "random"}}}};
  return denoiser;
}

}  // namespace

ImportedDenoiser import_unleashing_absorbing(const TensorMap& file, const ImportOptions& options,
                                             const std::string& where) {
  return import_prior(file, "_denoise_fn.", false, options, where);
}

ImportedDenoiser import_unleashing_autoregressive(const TensorMap& file, const ImportOptions& options,
                                                  const std::string& where) {
  return import_prior(file, "net.", true, options, where);
}

ImporterEntry unleashing_absorbing_importer() {
  return {"unleashing-absorbing", "Unleashing Transformers' absorbing prior",
          [](ImportSource& source) { return match_by(source, "_denoise_fn."); },
          [](ImportSource& source) {
            ImportedCheckpoint imported;
            imported.denoiser =
                import_unleashing_absorbing(source.tensors_at("_denoise_fn."), source.options(), source.where());
            return imported;
          }};
}

ImporterEntry unleashing_autoregressive_importer() {
  return {"unleashing-autoregressive", "Unleashing Transformers' autoregressive prior",
          [](ImportSource& source) { return match_by(source, "net.blocks."); },
          [](ImportSource& source) {
            ImportedCheckpoint imported;
            imported.denoiser =
                import_unleashing_autoregressive(source.tensors_at("net.blocks."), source.options(), source.where());
            return imported;
          }};
}

}  // namespace tessera
