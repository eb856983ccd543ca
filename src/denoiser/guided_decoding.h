/// Classifier-free guidance of networks that decode cell by cell: a row is decoded with and without its condition.
/// Ho and Salimans, arXiv:2207.12598; on log probabilities as guided_denoiser.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "denoiser/denoiser.h"

namespace tessera {

/// Which rows are decoded for some images: each under its condition, then the guided ones again without it.
struct DecodedRows {
  std::vector<std::int64_t> conditions;  // of each row decoded
  std::size_t told = 0;                  // so many of them first are told their condition, the others are not
  std::vector<std::int64_t> guided;      // the rows that are decoded twice, ascending
  std::vector<double> scales;            // of each of these

  /// The class of each row decoded, [rows] int64; -1: none.
  torch::Tensor classes(const std::vector<Condition>& known) const;
};

/// In: the conditions of a run; the condition of each of `count` rows, as Look::conditions.
DecodedRows rows_to_decode(const std::vector<Condition>& known, std::int64_t count,
                           const std::vector<std::int64_t>& conditions);

/// In: the decoding of all these rows. Out: that of the images; logits of guided ones are logarithms of the guided
/// probabilities.
std::unique_ptr<Decoding> with_guidance(std::unique_ptr<Decoding> inner, DecodedRows rows);

}  // namespace tessera
