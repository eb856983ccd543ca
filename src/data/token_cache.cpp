#include "data/token_cache.h"

#include <charconv>

#include "checkpoint/safetensors.h"
#include "data/content_hash.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {
namespace {

constexpr const char* kFormat = "tessera-tokens";
constexpr const char* kVersion = "1";
constexpr std::int64_t kMaxInt16Codes = 32768;

Metadata describe(const TokenCacheKey& key) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"dataset_key", key.dataset_key},
          {"codec_hash", key.codec_hash},
          {"flip", key.flip ? "yes" : "no"}};
}

TokenGrid read_tokens(const std::filesystem::path& path, const TokenCacheKey& key) {
  Metadata metadata;
  const auto tensors = load_safetensors(path, &metadata);
  for (const auto& [name, expected] : describe(key)) {
    const auto found = metadata.find(name);
    require(found != metadata.end() && found->second == expected, "{}: {} '{}', expected '{}'", path.string(), name,
            found == metadata.end() ? "" : found->second, expected);
  }
  const auto codes = tensors.find("codes");
  require(codes != tensors.end() && codes->second.dim() == 3, "{}: no codes [n, h, w]", path.string());
  const auto type = codes->second.scalar_type();
  require(type == torch::kInt16 || type == torch::kInt32, "{}: codes of type {}, expected I16 or I32", path.string(),
          c10::toString(type));
  const auto& size = metadata["codebook_size"];
  std::int64_t codebook_size = 0;
  const auto parsed = std::from_chars(size.data(), size.data() + size.size(), codebook_size);
  require(parsed.ec == std::errc() && codebook_size > 0, "{}: codebook size '{}'", path.string(), size);
  TokenGrid grid(codes->second.to(torch::kInt64), codebook_size);
  require(grid.masked_cells() == 0, "{}: masked cells among the codes", path.string());
  return grid;
}

}  // namespace

std::filesystem::path TokenCache::file(const TokenCacheKey& key) const {
  ContentHash hash;
  for (const auto& [name, value] : describe(key)) hash.add(name).add(value);
  return folder_ / ("tokens-" + hash.hex().substr(0, 32) + ".safetensors");
}

std::optional<TokenGrid> TokenCache::load(const TokenCacheKey& key) const {
  const auto path = file(key);
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return std::nullopt;
  try {
    return read_tokens(path, key);
  } catch (const Error& error) {
    log().warn("{}; encoding the images again", error.what());
    return std::nullopt;
  }
}

void TokenCache::save(const TokenCacheKey& key, const TokenGrid& grid) const {
  require(grid.masked_cells() == 0, "token cache: {} masked cells, expected none", grid.masked_cells());
  std::error_code code;
  std::filesystem::create_directories(folder_, code);
  auto metadata = describe(key);
  metadata["codebook_size"] = std::to_string(grid.codebook_size());
  const auto type = grid.codebook_size() <= kMaxInt16Codes ? torch::kInt16 : torch::kInt32;
  save_safetensors(file(key), {{"codes", grid.codes().to(type)}}, metadata);
}

}  // namespace tessera
