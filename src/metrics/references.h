/// Rows that stand beside a model's figures so that these cannot mislead: what noise gets, what pictures get that the
/// model has not seen, and what a model would get that copies its training pictures.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "metrics/prdc.h"
#include "metrics/report.h"

namespace tessera {

/// Feature rows of one set, measured against the real ones.
struct ReferenceSet {
  std::string name;        // "samples", "held-out pictures", "noise" ...
  std::string meaning;     // one line for the report
  torch::Tensor features;  // [n, D]
};

struct ReferenceRow {
  std::string name, meaning;
  std::int64_t images = 0;
  double frechet_distance = 0;
  Prdc balls;
  double nearest = 0;  // mean Euclidean distance of the set's pictures to the nearest real one
};

/// Every set against the same real features, by its first `images` rows: distances of sets of one size can be compared
/// with each other, others not. In: real [N, D]; sets of at least `images` rows; images >= k + 1.
std::vector<ReferenceRow> reference_rows(const torch::Tensor& real, const std::vector<ReferenceSet>& sets,
                                         std::int64_t images, const PrdcOptions& options);

/// What a reader must know before believing the figures of `subject` (a row's name): it is no better than noise, it
/// lies nearer to training pictures than unseen pictures do, or the features tell no noise from pictures.
std::vector<std::string> warnings_of(const std::vector<ReferenceRow>& rows, const std::string& subject);

/// The names that warnings_of() looks for.
inline constexpr const char* kHeldOutRow = "held-out pictures";
inline constexpr const char* kCopiesRow = "nearest-neighbour copies";
inline constexpr const char* kRandomCodesRow = "random codes, decoded";
inline constexpr const char* kPixelNoiseRow = "pixel noise";

nlohmann::ordered_json to_json(const std::vector<ReferenceRow>& rows, const std::string& distance_name,
                               const std::string& features, const std::vector<std::string>& notes);
void add_references(const std::vector<ReferenceRow>& rows, const std::string& distance_name,
                    const std::vector<std::string>& notes, HtmlReport& report);

/// Of the rows of noise: they are the same in every report.
inline constexpr std::uint64_t kNoiseSeed = 0x7e55e2a;

/// Bytes [count, 3, size, size], each uniform and independent.
torch::Tensor pixel_noise(std::int64_t count, std::int64_t size, std::uint64_t seed);
/// Token grids [count, h, w] of the codec's extent, each code uniform and independent.
torch::Tensor random_codes(std::int64_t count, const CodecOptions& options, std::uint64_t seed);

/// Names of the codec's heads whose weights are those of a beginning: zero, or the framework's random ones. Their
/// figures mean nothing.
std::vector<std::string> untrained_heads(CodecImpl& codec);

}  // namespace tessera
