/// The rows of noise, unseen pictures and copies that stand beside an evaluation's figures (metrics/references.h).
#pragma once

#include "cli/evaluation_flags.h"

namespace tessera::cli {

/// Beside samples against real pictures. In: real [N, D], features of the pictures of --real; samples [n, D], undefined
/// where there are no single ones (a sweep).
nlohmann::ordered_json sample_references(const EvaluationFlags& flags, NamedModel& model, const Dataset& data,
                                         FeatureNetwork& network, const torch::Tensor& real,
                                         const torch::Tensor& samples, HtmlReport& report);

/// Beside two sets of pictures. In: a [N, D] in the part of the real ones, b [M, D].
nlohmann::ordered_json picture_references(const EvaluationFlags& flags, FeatureNetwork& network, const torch::Tensor& a,
                                          const torch::Tensor& b, HtmlReport& report);

/// Beside reconstructions: what the codec makes of training pictures and of noise, and how far the nearest training
/// picture is. In: the pictures reconstructed, their mean PSNR in dB.
nlohmann::ordered_json reconstruction_references(const EvaluationFlags& flags, NamedModel& model, const Dataset& data,
                                                 FeatureNetwork& network, const std::vector<std::int64_t>& indices,
                                                 double psnr_db, HtmlReport& report);

/// Bits per token of some grids; the pictures that they are of, for their conditions.
using BitsOfGrids = std::function<double(const torch::Tensor& tokens, const std::vector<std::int64_t>& indices)>;

/// Beside likelihoods: training pictures, random codes, the uniform distribution.
nlohmann::ordered_json likelihood_references(const EvaluationFlags& flags, NamedModel& model, const Dataset& data,
                                             const std::vector<std::int64_t>& indices, double bits_per_token,
                                             const BitsOfGrids& measure, HtmlReport& report);

}  // namespace tessera::cli
