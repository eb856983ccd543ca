/// What a prior in training shows of itself: its samples, and each beside the training grids it resembles most.
#pragma once

#include "codec/codec.h"
#include "training/prior_recipe.h"
#include "training/sample_review.h"

namespace tessera {

/// At each call the recorder gets
///  - previews `samples`, the grids as pictures, and `neighbours`, each sample beside the three nearest training grids,
///    all of them decoded, so that a repeated grid is a repeated picture;
///  - scalars `samples_nearest_distance` and `samples_equal_cells`: mean distance (codec latents, see nearest_grids) to
///    the nearest training grid and mean part of its cells that hold the same code; and the same two of as many
///    held-out grids under `validation_...`, where there are any. Samples much nearer to the training set than held-out
///    pictures are: the prior repeats its training set.
GridPreview make_sample_preview(Codec codec, const TokenData& data);

}  // namespace tessera
