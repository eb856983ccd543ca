/// Patterns that name several archives at once, as tar shards are published: `shard-{000..127}.tar`.
#pragma once

#include <filesystem>
#include <vector>

namespace tessera {

/// `{first..last}` counts in whole numbers, up or down, with as many digits as the longer end where one has a leading
/// zero; `{a,b,c}` takes each text; several groups combine, the last one running fastest. A text without such a group,
/// and the name of a file or folder that exists as it is written, stand for themselves.
/// Throws Error naming the pattern on more than 100,000 names.
std::vector<std::filesystem::path> expand_pattern(const std::filesystem::path& pattern);

}  // namespace tessera
