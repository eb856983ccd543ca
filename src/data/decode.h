/// A source's files to pixels of one size, on worker threads.
#pragma once

#include <cstdint>

#include "data/dataset.h"

namespace tessera {

/// Decodes every image of the source: turned upright, composited, shorter side resized to `size`, centre cut out.
/// Out: the images that could be used, in the catalogue's order, and what was skipped; the key is left empty.
/// The result does not depend on the number of threads. Throws Error where no image is left.
DatasetContent decode_source(const ImageSource& source, const DatasetOptions& options);

}  // namespace tessera
