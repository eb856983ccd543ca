#include "training/survey.h"

#include <algorithm>
#include <unordered_set>

#include "data/content_hash.h"
#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::size_t kHeaders = 2000;   // pictures whose header is read
constexpr std::int64_t kPictures = 300;  // pictures whose colours are looked at
constexpr int kEqual = 3;                // values by which neighbours of one colour may differ (JPEG)
constexpr double kMostlyFlat = 0.45;     // at and above: drawings
constexpr std::size_t kProblems = 1000;  // lines kept

class HeaderReader : public ImageSink {
 public:
  HeaderReader(FileSurvey& survey, const Catalogue& catalogue)
      : survey_(survey), catalogue_(catalogue), every_(std::max<std::size_t>(1, catalogue.items.size() / kHeaders)) {}

  void receive(std::size_t item, std::vector<std::uint8_t> bytes) override {
    if (item % every_ != 0) return;
    try {
      const auto [width, height] = read_image_size(bytes, catalogue_.items[item].name);
      survey_.sides.push_back(std::min(width, height));
      survey_.largest = std::max({survey_.largest, width, height});
    } catch (const Error& error) {
      unreadable(item, error.what());
    }
  }

  void unreadable(std::size_t, std::string message) override {
    ++survey_.unreadable;
    if (survey_.problems.size() < kProblems) survey_.problems.push_back(std::move(message));
  }

 private:
  FileSurvey& survey_;
  const Catalogue& catalogue_;
  std::size_t every_;
};

/// Share of horizontal neighbours of one colour in images [n, 3, S, S] uint8.
double flat_share(const torch::Tensor& images) {
  const auto values = images.to(torch::kInt16);
  const auto step = (values.slice(3, 1) - values.slice(3, 0, -1)).abs().amax(1);
  return (step <= kEqual).to(torch::kFloat64).mean().item<double>();
}

}  // namespace

double FileSurvey::share_of(int side) const {
  if (sides.empty()) return 0;
  const auto first = std::lower_bound(sides.begin(), sides.end(), side);
  return static_cast<double>(sides.end() - first) / static_cast<double>(sides.size());
}

FileSurvey survey_files(const std::filesystem::path& data) {
  FileSurvey survey;
  const auto source = open_image_source(data);
  survey.pictures = static_cast<std::int64_t>(source->catalogue().items.size());
  survey.problems = source->catalogue().problems;
  HeaderReader reader(survey, source->catalogue());
  source->read_all(reader);
  std::sort(survey.sides.begin(), survey.sides.end());
  return survey;
}

PictureSurvey survey_pictures(const Dataset& data) {
  PictureSurvey survey;
  survey.pictures = data.size();
  survey.train = static_cast<std::int64_t>(data.split(Split::train).size());
  survey.held_out = static_cast<std::int64_t>(data.split(Split::validation).size());
  survey.skipped = data.skipped_count();
  survey.classes = static_cast<std::int64_t>(data.class_names().size());
  std::unordered_set<std::string> seen;
  for (std::int64_t i = 0; i < data.size(); ++i) {
    if (!data.caption(i).empty()) ++survey.captioned;
    if (data.label(i) >= 0) ++survey.labelled;
    const auto pixels = data.image(i);
    ContentHash hash;
    hash.add(pixels.data_ptr(), pixels.nbytes());
    if (!seen.insert(hash.hex()).second) ++survey.duplicates;
  }
  const auto looked_at = std::min(kPictures, data.size());
  const auto rows = (torch::arange(looked_at) * data.size()).div(std::max<std::int64_t>(looked_at, 1), "floor");
  survey.flat_share = flat_share(data.images(rows));
  survey.photographs = survey.flat_share < kMostlyFlat;
  return survey;
}

}  // namespace tessera
