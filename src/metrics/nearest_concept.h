/// Whether a picture shows the concept that it should: the concept whose centroid its features lie nearest to. A
/// concept's centroid is the mean of the features of its pictures in other styles, so that the style gives nothing
/// away. The nearest-class-mean classifier of Mensink et al., "Distance-based image classification", TPAMI 2013, with
/// cosine distance.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "metrics/confidence.h"

namespace tessera {

/// Feature rows and what each of their pictures shows.
struct ConceptRows {
  torch::Tensor features;             // [n, D]
  std::vector<std::string> concepts;  // n; empty: not known
  std::vector<std::string> styles;    // n; empty: none
  std::vector<std::int64_t> rows;  // n: which row of the known pictures it is, -1: none. Its own row counts for nothing
};

struct NearestConcept {
  Interval top1, top5;               // shares of the judged pictures (Wilson's intervals)
  std::int64_t judged = 0;           // pictures whose concept has a centroid
  double chance = 0;                 // mean over them of 1 / concepts with a centroid
  std::vector<std::string> nearest;  // of each query, empty where it was not judged
};

/// In: known, real pictures (rows not used). Throws Error where no query can be judged.
NearestConcept nearest_concept(const ConceptRows& known, const ConceptRows& queries, double confidence = 0.95);

}  // namespace tessera
