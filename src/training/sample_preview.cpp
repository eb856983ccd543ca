#include "training/sample_preview.h"

#include <algorithm>

#include "codec/nearest_grids.h"
#include "image/contact_sheet.h"
#include "training/pictures_at_once.h"

namespace tessera {
namespace {

constexpr std::int64_t kNeighbours = 3;
constexpr int kStripsARow = 2;
constexpr std::int64_t kDecodedAtOnce = 8;

class SamplePreview {
 public:
  SamplePreview(Codec codec, TokenData data) : codec_(std::move(codec)), data_(std::move(data)) {}

  void operator()(std::int64_t step, const TokenGrid& samples, Recorder& recorder) {
    const auto pictures = pictures_of(samples.codes());
    recorder.image(step, "samples", contact_sheet(pictures));

    const auto nearest = nearest_grids(samples.codes(), data_.train, codec_->quantizer->codebook(), kNeighbours);
    auto metrics = summary(samples.codes(), nearest, "samples");
    metrics.merge(held_out(samples.count()));
    recorder.scalars(step, metrics);
    const auto k = nearest.rows.size(1);
    const auto neighbours = pictures_of(data_.train.index_select(0, nearest.rows.flatten()));
    std::vector<std::vector<Image>> groups;
    for (std::int64_t i = 0; i < samples.count(); ++i) {
      groups.push_back({pictures[static_cast<std::size_t>(i)]});
      groups.back().insert(groups.back().end(), neighbours.begin() + i * k, neighbours.begin() + (i + 1) * k);
    }
    recorder.image(step, "neighbours", group_sheet(groups, kStripsARow));
  }

 private:
  std::vector<Image> pictures_of(const torch::Tensor& tokens) {
    std::vector<Image> pictures;
    for (const auto& part : tokens.to(torch::kInt64).split(std::min(kDecodedAtOnce, pictures_at_once(codec_)))) {
      for (auto& picture : to_images(codec_->decode({part, data_.codebook_size})))
        pictures.push_back(std::move(picture));
    }
    return pictures;
  }

  Metrics summary(const torch::Tensor& tokens, const NearestGrids& nearest, const std::string& whose) const {
    const auto best = data_.train.index_select(0, nearest.rows.select(1, 0));
    return {{whose + "_nearest_distance", nearest.distances.select(1, 0).mean().item<double>()},
            {whose + "_equal_cells", equal_cells(tokens, best).mean().item<double>()}};
  }

  /// The same of held-out grids: they do not change, so that they are looked up once.
  Metrics held_out(std::int64_t count) {
    const auto some = data_.validation.slice(0, 0, std::min(count, data_.validation.size(0)));
    if (held_out_.empty() && some.size(0) > 0) {
      held_out_ = summary(some, nearest_grids(some, data_.train, codec_->quantizer->codebook(), 1), "validation");
    }
    return held_out_;
  }

  Codec codec_;
  TokenData data_;
  Metrics held_out_;
};

}  // namespace

GridPreview make_sample_preview(Codec codec, const TokenData& data) {
  return SamplePreview(std::move(codec), data);
}

}  // namespace tessera
