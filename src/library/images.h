/// Images between the caller's memory and ours, and what a call has made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "canvas/edit_plan.h"
#include "image/image.h"
#include "tessera/tessera.h"
#include "tokens/token_grid.h"

/// What tessera.h calls by this name.
struct tessera_images {
  struct Grid {
    std::int64_t height = 0, width = 0;
    std::vector<std::int32_t> tokens;
  };
  std::vector<tessera::Image> images;  // or none
  std::vector<Grid> grids;             // or none
  std::string record = "{}";

  std::int64_t count() const;
};

namespace tessera::library {

/// A copy. Throws UsageError naming `what`: no pixels, a size or number of channels that is none.
Image to_image(const tessera_image_view& view, const char* what);
Picture to_picture(const tessera_image_view* view, const char* what);
tessera_image_view view_of(const Image& image);

/// In: -1 where MASK. Out: [h, w] int64, K where MASK. Throws UsageError on a code that is none.
torch::Tensor to_codes(const tessera_grid_view& grid, std::int64_t codebook_size);
/// And back.
tessera_images::Grid to_grid(const torch::Tensor& codes, std::int64_t codebook_size);

}  // namespace tessera::library
