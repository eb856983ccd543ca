#include "pipeline/variation_plans.h"

namespace tessera {

EditPlan plan_everywhere(Codec codec, const Picture& image, const RegionOptions& options, const torch::Tensor& known) {
  auto whole = options;
  whole.feather = 0;
  return plan_inpaint(codec, image, PixelMask(image->width, image->height).inverted(), whole, known);
}

std::vector<EditPlan> plan_variations(Pipeline& pipeline, const EditPlan& region, const WindowOptions& windows,
                                      const VariationOptions& options) {
  const auto eligible = region.codes == region.codebook_size;
  const auto count = cells_of_strength(options.strength, eligible.sum().item<std::int64_t>());
  torch::Tensor chosen;
  if (options.least_likely) {
    const auto likelihoods =
        token_log_probabilities(pipeline.prior(), pipeline.prior_network().grid, windows, region.original,
                                pipeline.fill_process().get(), options.conditions);
    chosen = least_likely_cells(likelihoods, eligible, count);
  }
  std::vector<EditPlan> plans;
  for (std::int64_t i = 0; i < options.count; ++i) {
    const auto number = options.first_image + static_cast<std::uint64_t>(i);
    plans.push_back(
        with_cells(region, options.least_likely ? chosen : random_cells(eligible, count, options.seed, number)));
  }
  return plans;
}

}  // namespace tessera
