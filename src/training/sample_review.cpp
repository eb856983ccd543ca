#include "training/sample_review.h"

#include <algorithm>

namespace tessera {
namespace {

constexpr std::int64_t kPreviewed = 16;  // grids

}  // namespace

std::int64_t SampleReview::count() const {
  return std::max(preview ? kPreviewed : 0, judge.judge ? judge.grids : 0);
}

std::optional<Judgement> SampleReview::operator()(std::int64_t step, const TokenGrid& samples,
                                                  Recorder& recorder) const {
  if (preview) preview(step, TokenGrid(samples.codes().slice(0, 0, kPreviewed), samples.codebook_size()), recorder);
  if (!judge.judge) return std::nullopt;
  return judge.judge(step, samples, recorder);
}

}  // namespace tessera
