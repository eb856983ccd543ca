/// A pack made in parts by machines that need not know of each other.
#pragma once

#include <filesystem>
#include <vector>

#include "data/dataset.h"

namespace tessera {

/// The name of a part: "set.tessera-pack" -> "set-00002-of-00008.tessera-pack", as the hub numbers parts.
std::filesystem::path shard_file(const std::filesystem::path& whole, const Shard& shard);

/// The content of the whole pack, the same as if it had been made at once. In: all parts of one source, in any order.
/// options: its memory_limit and cache_folder alone. Throws Error naming the part that is missing, there twice, of
/// another division or of another size.
DatasetContent join_packs(const std::vector<std::filesystem::path>& parts, const DatasetOptions& options);

}  // namespace tessera
