/// Plans of pictures near a given one, cells chosen at random or by the model's own judgement.
#pragma once

#include <vector>

#include "canvas/variations.h"
#include "pipeline/pipeline.h"

namespace tessera {

struct VariationOptions {
  double strength = 0.5;      // share of the region's cells that are made anew, in (0, 1]
  bool least_likely = false;  // the cells that the model finds least likely, not random ones
  std::int64_t count = 1;     // plans
  Seed seed = 0;
  std::uint64_t first_image = 0;      // number of the first plan's picture within the seed
  std::vector<Condition> conditions;  // under which the cells are judged: one or none
};

/// All of a picture as the region of an edit; the decode is shown as it is, because changes are all over. known: as for
/// plan_inpaint.
EditPlan plan_everywhere(Codec codec, const Picture& image, const RegionOptions& options = {},
                         const torch::Tensor& known = {});

/// In: region, a plan with tokens of its own whose MASK cells may change (plan_inpaint). Throws UsageError where the
/// strength is out of range.
std::vector<EditPlan> plan_variations(Pipeline& pipeline, const EditPlan& region, const WindowOptions& windows,
                                      const VariationOptions& options);

}  // namespace tessera
