/// Token grids of a whole data set, kept on the disk: the prior trains on them without running the codec again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "tokens/token_grid.h"

namespace tessera {

/// What a set of tokens was produced from. Other images, another codec or another mirroring give another file.
struct TokenCacheKey {
  std::string dataset_key;  // Dataset::key()
  std::string codec_hash;   // of the codec's weights and configuration
  bool flip = false;        // tokens of the mirrored images
};

class TokenCache {
 public:
  /// In: the cache's folder, made when first written to; see default_cache_folder.
  explicit TokenCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// The file of a key: <folder>/tokens-<hash of the key>.safetensors.
  std::filesystem::path file(const TokenCacheKey& key) const;
  /// Nothing where the key was never saved, or (with a warning) where its file is broken or belongs to another key.
  std::optional<TokenGrid> load(const TokenCacheKey& key) const;
  /// In: grid [n, h, w] without MASK, row i of it being image i of the data set. Codes are stored as int16 where K
  /// allows, as int32 otherwise. Written atomically. Throws Error where the folder cannot be written.
  void save(const TokenCacheKey& key, const TokenGrid& grid) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace tessera
