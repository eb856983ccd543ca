/// A source's files to pixels of one size, on worker threads.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "data/dataset.h"

namespace tessera {

/// Decodes every image of the source: turned upright, composited, shorter side resized to `size`, centre cut out.
/// Out: the images that could be used, in the catalogue's order, and what was skipped; the key is left empty.
/// The result does not depend on the number of threads. Throws Error where no image is left.
/// Of a shard (options.shard) its images alone; the first one alone has the account of what is no image.
DatasetContent decode_source(const ImageSource& source, const DatasetOptions& options);

/// Room for images, [count, 3, S, S] uint8: in memory, or, beyond options.memory_limit, mapped from a scratch file.
torch::Tensor room_for_images(std::int64_t count, const DatasetOptions& options);

/// The names of the classes that these are, in natural order.
std::vector<std::string> ordered_class_names(std::vector<std::string> names);

}  // namespace tessera
