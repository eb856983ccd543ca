/// The masked cells in row-major order, a run of them at a time, each given everything known by then. With as many
/// steps as masked cells it is exact: the chain rule. The order of the published program's large canvases ("Unleashing
/// Transformers", section 4.5).
#include "sampling/masked.h"

namespace tessera {
namespace {

void sample_raster(FillState& state) {
  sample_masked_by(state, orders().at("raster"), unmasking_schedules().at("linear"));
}

}  // namespace

SamplerEntry raster_sampler() {
  SamplerEntry entry{"raster", "row by row, each cell given all others known by then", sample_raster};
  entry.cell_by_cell = true;
  entry.options = {reused_context_field()};
  return entry;
}

}  // namespace tessera
