#include "metrics/references.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "metrics/feature_rows.h"
#include "metrics/frechet.h"
#include "metrics/neighbours.h"
#include "runtime/error.h"

namespace tessera {
namespace {

const ReferenceRow* find_row(const std::vector<ReferenceRow>& rows, const std::string& name) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

/// Whether weights are uniform in +-1/sqrt(fan in), as LibTorch's convolutions begin: all inside, the outermost near
/// the bound, and of the deviation that the uniform distribution has. What has learned leaves the bound or changes its
/// deviation.
bool looks_initial(const torch::Tensor& weight) {
  const auto values = weight.detach().to(torch::kCPU, torch::kFloat64);
  if (values.numel() < 256) return false;  // too few to tell
  const double bound = 1 / std::sqrt(static_cast<double>(values[0].numel()));
  const double largest = values.abs().max().item<double>(), deviation = values.std().item<double>();
  const double uniform = bound / std::sqrt(3.0);
  const double error = uniform * 2 / std::sqrt(static_cast<double>(values.numel()));  // of a sample's, about 4 sigma
  return largest <= bound * (1 + 1e-6) && largest > 0.95 * bound && std::abs(deviation - uniform) < error;
}

at::Generator generator_of(std::uint64_t seed) {
  return at::detail::createCPUGenerator(seed);
}

}  // namespace

std::vector<ReferenceRow> reference_rows(const torch::Tensor& real, const std::vector<ReferenceSet>& sets,
                                         std::int64_t images, const PrdcOptions& options) {
  std::vector<ReferenceRow> rows;
  const auto radii = neighbour_radii(real, options);
  for (const auto& set : sets) {
    require(set.features.size(0) >= images, "references: {} {}, expected {}", set.features.size(0), set.name, images);
    const auto features = set.features.slice(0, 0, images).contiguous();
    require_features(real, features, options.k + 1);
    ReferenceRow row{set.name, set.meaning, images, frechet_distance(real, features), {}, 0};
    row.balls = prdc(real, features, options, radii);
    row.nearest = nearest_features(features, real, 1).distance.mean().item<double>();
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<std::string> warnings_of(const std::vector<ReferenceRow>& rows, const std::string& subject) {
  std::vector<std::string> notes;
  const auto* own = find_row(rows, subject);
  const auto* held_out = find_row(rows, kHeldOutRow);
  for (const char* name : {kRandomCodesRow, kPixelNoiseRow}) {
    const auto* noise = find_row(rows, name);
    if (!noise) continue;
    if (noise->balls.precision > 0.05) {
      notes.push_back(
          fmt::format("Precision takes {:.2f} of {} for real: only what lies well above that means something.",
                      noise->balls.precision, name));
    }
    if (own && own->frechet_distance > 0.5 * noise->frechet_distance) {
      notes.push_back(fmt::format("The {} are hardly nearer to real pictures than {}: {:.4g} beside {:.4g}.", subject,
                                  name, own->frechet_distance, noise->frechet_distance));
    }
  }
  if (own && held_out && held_out->nearest > 0 && own->nearest < 0.5 * held_out->nearest) {
    notes.push_back(fmt::format(
        "The {} lie at {:.2f} of the distance that unseen pictures have to the nearest real one: they may be copies.",
        subject, own->nearest / held_out->nearest));
  }
  return notes;
}

nlohmann::ordered_json to_json(const std::vector<ReferenceRow>& rows, const std::string& distance_name,
                               const std::string& features, const std::vector<std::string>& notes) {
  auto all = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    all.push_back({{"set", row.name},
                   {"meaning", row.meaning},
                   {"images", row.images},
                   {"frechet_distance", row.frechet_distance},
                   {"precision", row.balls.precision},
                   {"recall", row.balls.recall},
                   {"density", row.balls.density},
                   {"coverage", row.balls.coverage},
                   {"distance_to_nearest_real", row.nearest}});
  }
  return {{"distance_name", distance_name}, {"features", features}, {"notes", notes}, {"rows", all}};
}

void add_references(const std::vector<ReferenceRow>& rows, const std::string& distance_name,
                    const std::vector<std::string>& notes, HtmlReport& report) {
  report.heading("Beside references");
  report.paragraph(
      "Every row is measured in the same way against the same real pictures, by as many images as the column says. A "
      "model is good where it comes near the held-out pictures without coming nearer to single real pictures than they "
      "do; copies show what memorising alone would get, noise what knowing nothing gets.");
  std::vector<std::vector<std::string>> table = {{"set", "images", distance_name, "precision", "recall", "density",
                                                  "coverage", "distance to the nearest real picture", "what it is"}};
  for (const auto& row : rows) {
    table.push_back({row.name, std::to_string(row.images), number_text(row.frechet_distance),
                     number_text(row.balls.precision), number_text(row.balls.recall), number_text(row.balls.density),
                     number_text(row.balls.coverage), number_text(row.nearest), row.meaning});
  }
  report.table(table);
  for (const auto& note : notes) report.paragraph(note);
}

torch::Tensor pixel_noise(std::int64_t count, std::int64_t size, std::uint64_t seed) {
  return torch::randint(0, 256, {count, 3, size, size}, generator_of(seed)).to(torch::kUInt8);
}

torch::Tensor random_codes(std::int64_t count, const CodecOptions& options, std::uint64_t seed) {
  const auto extent = options.grid();
  return torch::randint(0, options.codebook_size, {count, extent.h, extent.w}, generator_of(seed)).to(torch::kInt64);
}

std::vector<std::string> untrained_heads(CodecImpl& codec) {
  if (!codec.options().logsigma_head) return {};
  bool initial = false;
  for (const auto& [name, tensor] : codec.weights()) {
    // The last convolution begins at zero in `train pixels`, the one before it at random.
    if (name == "decoder.logsigma.0.weight") initial = initial || looks_initial(tensor);
    if (name == "decoder.logsigma.2.weight") initial = initial || (tensor == 0).all().item<bool>();
  }
  return initial ? std::vector<std::string>{"decoder.logsigma"} : std::vector<std::string>{};
}

}  // namespace tessera
