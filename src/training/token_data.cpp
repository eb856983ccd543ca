#include "training/token_data.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/content_hash.h"
#include "data/token_cache.h"
#include "kernels/ops/device.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/progress.h"
#include "training/codec_trainer.h"
#include "training/pictures_at_once.h"

namespace tessera {
namespace {

constexpr std::int64_t kEncodedAHeldOutOne = 20;  // of so many encoded grids one is held out, the first ones

/// Whole batches, a run of them a rank: the batches are the same whatever the ranks.
TokenGrid encode_all(const Dataset& data, Codec& codec, bool mirrored, const Ranks& ranks) {
  const auto grid = codec->options().grid();
  std::vector<torch::Tensor> parts = {torch::empty({0, grid.h, grid.w}, torch::kInt64)};
  const auto batch = pictures_at_once(codec, data.image_size() * data.image_size());
  const auto batches = leaves_of((data.size() + batch - 1) / batch, ranks.rank(), ranks.count());
  const auto end = std::min(batches.end * batch, data.size());
  Progress progress(mirrored ? "encode mirrored pictures" : "encode pictures", 0, end, "images");
  for (auto start = batches.begin * batch; start < end; start += batch) {
    auto images = data.images(start, std::min(start + batch, end));
    if (mirrored) images = images.flip(3);
    parts.push_back(codec->encode(images).codes());
    progress.update(std::min(start + batch, end), "");
  }
  return {torch::cat(ranks.gather(torch::cat(parts))), codec->options().codebook_size};
}

torch::Tensor tokens(const Dataset& data, Codec& codec, const std::string& hash, bool mirrored,
                     const std::filesystem::path& folder, const Ranks& ranks) {
  const TokenCacheKey key{data.key(), hash, mirrored};
  if (folder.empty()) return encode_all(data, codec, mirrored, ranks).codes();
  const TokenCache cache(folder);
  auto found = ranks.is_first() ? cache.load(key) : std::nullopt;
  if (!ranks.broadcast_text(found ? "found" : "").empty()) {
    const auto grid = codec->options().grid();
    auto codes = found ? found->codes().to(torch::kInt64).contiguous()
                       : torch::empty({data.size(), grid.h, grid.w}, torch::kInt64);
    ranks.broadcast(codes);
    return codes;
  }
  const auto made = encode_all(data, codec, mirrored, ranks);
  if (!ranks.is_first()) return made.codes();
  try {
    cache.save(key, made);
  } catch (const Error& error) {
    log().warn("{}; going on without a token cache", error.what());
  }
  return made.codes();
}

torch::Tensor as_grids(const torch::Tensor& tensor, const std::string& what) {
  require(!tensor.is_floating_point() && (tensor.dim() == 2 || tensor.dim() == 3),
          "{}: expected whole numbers [n, h, w] or [n, L]", what);
  if (tensor.dim() == 3) return tensor;
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(tensor.size(1)))));
  require(side * side == tensor.size(1), "{}: {} tokens a row, expected a square number or [n, h, w]", what,
          tensor.size(1));
  return tensor.view({tensor.size(0), side, side});
}

/// Smallest and largest token of both sets.
std::pair<std::int64_t, std::int64_t> range_of(const TokenData& data) {
  auto least = data.train.min().item<std::int64_t>(), most = data.train.max().item<std::int64_t>();
  if (data.validation.numel() > 0) {
    least = std::min(least, data.validation.min().item<std::int64_t>());
    most = std::max(most, data.validation.max().item<std::int64_t>());
  }
  return {least, most};
}

std::int64_t whole_number(const std::string& text, const std::string& what) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  require(parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && value > 0,
          "{}: '{}', expected a positive whole number", what, text);
  return value;
}

}  // namespace

std::string name_of_codec(const std::string& hash, const std::string& dtype, torch::Device device) {
  const auto rounding = dtype == "float32" ? hash : fmt::format("{} {}", hash, dtype);
  return device.is_cpu() ? rounding : rounding + " cuda";
}

std::string set_encode_precision(Codec& codec, const std::string& hash, const std::string& precision) {
  const auto chosen = training_precision(precision, codec->device());
  codec->set_precision(chosen);
  return name_of_codec(hash, name_of(chosen), codec->device());
}

TokenData tokens_of(const Dataset& data, Codec codec, const std::string& codec_hash, bool flip,
                    const std::filesystem::path& cache_folder, const Ranks& ranks) {
  TokenData result;
  result.codebook_size = codec->options().codebook_size;
  result.key = fmt::format("{} {} {}", data.key(), codec_hash, flip);
  const auto all = tokens(data, codec, codec_hash, false, cache_folder, ranks);
  const auto train = torch::tensor(data.require_split(Split::train)),
             held_out = torch::tensor(data.split(Split::validation), torch::kInt64);
  result.count = data.size();
  result.train = all.index_select(0, train);
  result.validation = all.index_select(0, held_out);
  if (flip) {
    result.train =
        torch::cat({result.train, tokens(data, codec, codec_hash, true, cache_folder, ranks).index_select(0, train)});
  }
  return result;
}

TokenData read_token_file(const std::filesystem::path& file) {
  Metadata metadata;
  const auto tensors = load_safetensors(file, &metadata);
  TokenData result;
  if (tensors.count("tokens") && !tensors.count("train")) {  // of `tessera encode`: all of one set
    const auto all = as_grids(tensors.at("tokens"), file.string() + ": 'tokens'");
    const auto held_out = all.size(0) / kEncodedAHeldOutOne;
    result.train = all.slice(0, held_out);
    result.validation = all.slice(0, 0, held_out);
  } else {
    require(tensors.count("train") && tensors.count("validation"),
            "{}: expected tensors 'train' and 'validation', or 'tokens'", file.string());
    result.train = as_grids(tensors.at("train"), file.string() + ": 'train'");
    result.validation = as_grids(tensors.at("validation"), file.string() + ": 'validation'");
  }
  result.count = result.train.size(0) + result.validation.size(0);
  require(result.train.numel() > 0, "{}: 'train' is empty", file.string());
  require(result.validation.numel() == 0 || result.validation.sizes().slice(1) == result.train.sizes().slice(1),
          "{}: 'train' holds grids of {}x{}, 'validation' of {}x{}", file.string(), result.train.size(1),
          result.train.size(2), result.validation.size(1), result.validation.size(2));
  const auto [least, most] = range_of(result);
  result.codebook_size = metadata.count("codebook_size")
                             ? whole_number(metadata.at("codebook_size"), file.string() + ": codebook_size")
                         : tensors.count("palette") ? tensors.at("palette").size(0)
                                                    : most + 1;
  require(least >= 0 && most < result.codebook_size, "{}: tokens {} to {}, expected 0 to {}", file.string(), least,
          most, result.codebook_size - 1);
  // The content, not the name: a resumed run must see the same tokens.
  ContentHash hash;
  for (const auto& grids : {result.train, result.validation}) {
    const auto stored = grids.to(torch::kInt64).contiguous();
    hash.add(stored.size(0)).add(stored.size(1)).add(stored.size(2)).add(stored.data_ptr(), stored.nbytes());
  }
  result.key = hash.add(result.codebook_size).hex();
  return result;
}

}  // namespace tessera
