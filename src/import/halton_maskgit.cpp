// Halton-MaskGIT's transformer (Besnier et al., arXiv:2503.17076). Key names: github.com/valeoai/Halton-MaskGIT,
// Network/transformer.py.
#include <algorithm>
#include <cmath>

#include "checkpoint/tensor_mapping.h"
#include "denoiser/maskgit_transformer.h"
#include "import/importers.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr const char* kMaskGitSign = "cls_emb.";

/// The released sizes: nothing in a file says how many heads there are.
struct ReleasedMaskGit {
  const char* name;
  std::int64_t width, layers, heads;
};
constexpr ReleasedMaskGit kReleasedMaskGits[] = {
    {"tiny", 384, 6, 6}, {"small", 512, 12, 6}, {"base", 768, 12, 12}, {"large", 1024, 24, 16}};

void read_maskgit_heads(MaskGitOptions& sizes, std::int64_t inner, const ImportOptions& options,
                        std::vector<std::string>& assumptions, const std::string& where) {
  if (options.heads) {
    sizes.heads = *options.heads;
    require(sizes.heads > 0 && sizes.width / sizes.heads > 0 && sizes.heads * (sizes.width / sizes.heads) == inner,
            "{}: {} heads of a width of {} need queries of {}, found {}", where, sizes.heads, sizes.width,
            sizes.heads > 0 ? sizes.heads * (sizes.width / sizes.heads) : 0, inner);
  } else {
    const auto* found = std::find_if(std::begin(kReleasedMaskGits), std::end(kReleasedMaskGits), [&](const auto& each) {
      return each.width == sizes.width && each.layers == sizes.layers &&
             each.heads * (each.width / each.heads) == inner;
    });
    require(found != std::end(kReleasedMaskGits),
            "{}: {} layers of a width of {} are none of the released sizes: give the number of heads (--heads)", where,
            sizes.layers, sizes.width);
    sizes.heads = found->heads;
    assumptions.push_back(
        fmt::format("{} heads, as in the released {} (--heads says otherwise)", found->heads, found->name));
  }
  sizes.head_width = sizes.width / sizes.heads;
}

Extent read_maskgit_grid(std::int64_t cells, const ImportOptions& options, std::vector<std::string>& assumptions,
                         const std::string& where) {
  if (options.grid) {
    const auto [h, w] = *options.grid;
    require(h > 0 && w > 0 && h <= cells && w <= cells && h * w == cells,
            "{}: a grid of {}x{} was given, the file's model has {} cells", where, h, w, cells);
    return {h, w};
  }
  const auto side = std::llround(std::sqrt(static_cast<double>(cells)));
  require(side * side == cells, "{}: {} cells are no square: give the grid (--grid HxW)", where, cells);
  assumptions.push_back(fmt::format("a square grid of {}x{} cells (--grid HxW says otherwise)", side, side));
  return {side, side};
}

/// tok_emb.weight and head.weight are one; a file may have both or either (safetensors keeps one of such).
TensorMap with_one_embedding(const TensorMap& given, const std::string& where) {
  auto file = given;
  const auto head = file.find("head.weight");
  if (head == file.end()) return file;
  const auto [own, alone] = file.try_emplace("tok_emb.weight", head->second);
  require(alone || (head->second.sizes() == own->second.sizes() &&
                    head->second.scalar_type() == own->second.scalar_type() && head->second.equal(own->second)),
          "{}: head.weight is not tok_emb.weight, expected one and the same", where);
  file.erase("head.weight");
  return file;
}

ImportedDenoiser import_halton_maskgit(const TensorMap& given, const ImportOptions& options, const std::string& where) {
  ImportedDenoiser denoiser;
  const auto file = with_one_embedding(given, where);
  require(!file.contains("in_proj.weight"), "{}: its cells are joined by in_proj.weight, expected one token a cell",
          where);
  MaskGitOptions sizes;
  const auto& tokens = needed(file, "tok_emb.weight", 2, where);
  sizes.codebook_size = tokens.size(0) - 1;
  sizes.width = tokens.size(1);
  sizes.classes = needed(file, "cls_emb.weight", 2, where).size(0) - 1;
  sizes.layers = count_numbered(file, "transformer.layers.");
  require(sizes.layers > 0, "{}: holds no transformer layers", where);
  sizes.hidden = needed(file, "transformer.layers.0.ff.w1.weight", 2, where).size(0);
  sizes.registers = file.contains("reg_tokens.weight") ? needed(file, "reg_tokens.weight", 2, where).size(0) : 0;
  sizes.grid =
      read_maskgit_grid(needed(file, "pos_emb.weight", 2, where).size(0), options, denoiser.assumptions, where);
  read_maskgit_heads(sizes, needed(file, "transformer.layers.0.attn.wq.weight", 2, where).size(0), options,
                     denoiser.assumptions, where);
  sizes.validate();
  ShapeMap shapes;
  {
    const ShapesOnly shapes_only;
    shapes = shapes_of(*MaskGitTransformer(sizes));
  }
  denoiser.config = sizes.to_config();
  denoiser.tensors = map_tensors(
      file, shapes,
      [](const std::string& native, const Shape& shape) {
        return TensorSource{{native}, shape};
      },
      [](const std::string&) { return false; }, where);
  const auto steps = options.total_steps.value_or(sizes.grid.cells());
  require(steps >= 1 && steps <= 1 << 20, "{}: {} total steps, expected 1 to {}", where, steps, 1 << 20);
  // The process follows from the network; sampled as the original's demonstration does, w = 2.
  denoiser.scheduler = {
      {"_class_name", "TesseraProcess"},
      {"tessera",
       {{"format", 1},
        {"total_steps", steps},
        {"sampling", {{"sampler", "halton"}, {"steps", 32}, {"guidance_scale", 3.0}, {"halton_start", "shifted"}}}}}};
  return denoiser;
}

}  // namespace

ImporterEntry halton_maskgit_importer() {
  return {"halton-maskgit", "Halton-MaskGIT's transformer, told a class",
          [](ImportSource& source) { return match_by(source, kMaskGitSign); },
          [](ImportSource& source) {
            ImportedCheckpoint imported;
            imported.denoiser =
                import_halton_maskgit(source.tensors_at(kMaskGitSign), source.options(), source.where());
            return imported;
          }};
}

}  // namespace tessera
