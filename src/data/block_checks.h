/// Checksums of a pack's pixels, one a block of the file, compared when a block is first used: a pack need not be read
/// through when it is opened, and a bit that flipped is found all the same.
#pragma once

#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

class BlockChecks {
 public:
  static constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20;

  /// Out: [blocks] int64, the first eight bytes of each block's SHA-256; the last block may be shorter.
  static torch::Tensor checksums_of(std::string_view bytes);

  /// In: bytes as they lie in the file, which must outlive this; [blocks] checksums. Throws Error where there are not
  /// as many as there are blocks. where: for messages.
  BlockChecks(std::string_view bytes, const torch::Tensor& checksums, std::string where);

  /// Throws Error naming file and block where a block that [begin, end) touches is not what was written. Blocks are
  /// looked at once. From any thread.
  void require_whole(std::uint64_t begin, std::uint64_t end) const;

 private:
  const std::string_view bytes_;
  std::vector<std::int64_t> checksums_;
  const std::string where_;
  mutable std::vector<std::atomic<bool>> good_;  // by block
};

}  // namespace tessera
