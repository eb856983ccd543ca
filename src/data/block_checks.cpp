#include "data/block_checks.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/sha256.h"
#include "runtime/error.h"

namespace tessera {
namespace {

std::size_t blocks_of(std::string_view bytes) {
  return static_cast<std::size_t>((bytes.size() + BlockChecks::kBlockBytes - 1) / BlockChecks::kBlockBytes);
}

std::int64_t block_checksum(std::string_view bytes, std::size_t block) {
  Sha256 hash;
  hash.update(bytes.substr(block * BlockChecks::kBlockBytes, BlockChecks::kBlockBytes));
  return static_cast<std::int64_t>(std::stoull(hash.finish().substr(0, 16), nullptr, 16));
}

}  // namespace

torch::Tensor BlockChecks::checksums_of(std::string_view bytes) {
  const auto count = blocks_of(bytes);
  auto checksums = torch::empty({static_cast<std::int64_t>(count)}, torch::kInt64);
  for (std::size_t block = 0; block < count; ++block)
    checksums.data_ptr<std::int64_t>()[block] = block_checksum(bytes, block);
  return checksums;
}

BlockChecks::BlockChecks(std::string_view bytes, const torch::Tensor& checksums, std::string where)
    : bytes_(bytes),
      checksums_(checksums.data_ptr<std::int64_t>(), checksums.data_ptr<std::int64_t>() + checksums.numel()),
      where_(std::move(where)),
      good_(blocks_of(bytes)) {
  require(checksums_.size() == good_.size(), "{}: {} checksums of blocks, expected {}", where_, checksums_.size(),
          good_.size());
}

void BlockChecks::require_whole(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end) return;
  const auto last = static_cast<std::size_t>((std::min<std::uint64_t>(end, bytes_.size()) - 1) / kBlockBytes);
  for (auto block = static_cast<std::size_t>(begin / kBlockBytes); block <= last; ++block) {
    if (good_[block].load(std::memory_order_acquire)) continue;
    require(block_checksum(bytes_, block) == checksums_[block],
            "{}: block {} of its pixels does not have the checksum that it was written with: the file is damaged",
            where_, block);
    good_[block].store(true, std::memory_order_release);
  }
}

}  // namespace tessera
