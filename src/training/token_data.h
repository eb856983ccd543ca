/// Where a prior's token grids come from: pictures through a codec (kept in the token cache), or a file of tokens.
#pragma once

#include <filesystem>
#include <string>

#include "codec/codec.h"
#include "data/dataset.h"
#include "distributed/ranks.h"
#include "training/prior_data.h"

namespace tessera {

/// Makes the codec compute as a recipe's encode_precision says, on the device that it is on. Out: codec_hash for
/// tokens_of, where `hash` is that of its weights.
std::string set_encode_precision(Codec& codec, const std::string& hash, const std::string& precision);

/// codec_hash for tokens_of: the hash of the weights, with the dtype and the kind of device where these are not float32
/// and the CPU, since another rounding may choose other codes.
std::string name_of_codec(const std::string& hash, const std::string& dtype, torch::Device device);

/// Encodes every picture of the set (or takes the tokens from the cache) and splits as the set does. With `flip` the
/// mirrored training pictures are added. codec_hash: from name_of_codec. Ranks share out what is to be encoded; rank 0
/// alone reads and writes the cache.
TokenData tokens_of(const Dataset& data, Codec codec, const std::string& codec_hash, bool flip,
                    const std::filesystem::path& cache_folder, const Ranks& ranks = Ranks());

/// A .safetensors file with integer tensors `train` and `validation`, [n, h, w] or [n, L] (a square grid); the number
/// of codes is the metadata's `codebook_size`, else that of `palette` [K, 3], else the largest token plus one.
TokenData read_token_file(const std::filesystem::path& file);

}  // namespace tessera
