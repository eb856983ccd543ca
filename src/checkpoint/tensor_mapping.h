/// The bookkeeping of an importer: which tensors of a file become which native tensor. Used by the importers only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "checkpoint/parameter_shapes.h"

namespace tessera {

/// Where a native tensor comes from in a file.
struct TensorSource {
  std::vector<std::string> names;  // several: joined along the first dimension in this order
  Shape shape;                     // of each in the file; same number of elements as the native tensor altogether
};

/// For one native name and shape: its source.
using SourceOf = std::function<TensorSource(const std::string& native, const Shape& shape)>;

/// Maps the whole file both ways. In: the native tensors to fill, where each comes from, and which of the file's other
/// tensors are known to be unneeded. Out: the native tensors (views of the file's where no joining is needed). Throws
/// one Error that lists all missing, all unexpected and all misshapen tensors under the file's names.
TensorMap map_tensors(const TensorMap& file, const ShapeMap& native, const SourceOf& source_of,
                      const std::function<bool(const std::string&)>& unneeded, const std::string& where);

/// The tensors whose names begin with `prefix`, without it.
TensorMap strip_prefix(const TensorMap& file, const std::string& prefix);

/// True when some name begins with `prefix`.
bool has_prefix(const TensorMap& file, const std::string& prefix);

/// The tensor called `name` if it has `dimensions` dimensions; an Error that names it otherwise.
const torch::Tensor& needed(const TensorMap& file, const std::string& name, std::int64_t dimensions,
                            const std::string& where);

/// The number of consecutive N = 0, 1, ... for which some name begins with "prefixN.".
std::int64_t count_numbered(const TensorMap& file, const std::string& prefix);

}  // namespace tessera
