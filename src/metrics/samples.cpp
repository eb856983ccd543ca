#include "metrics/samples.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "data/content_hash.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

std::filesystem::path part_file(const SampleOptions& options, std::int64_t part) {
  return options.folder / fmt::format("tokens-{:06}.safetensors", part * options.part_size);
}

std::int64_t part_count(const SampleOptions& options, std::int64_t part) {
  return std::min(options.part_size, options.count - part * options.part_size);
}

/// One part's tokens [n, h, w]; undefined where there is no such file.
torch::Tensor read_part(const SampleOptions& options, std::int64_t part, Metadata& metadata) {
  const auto file = part_file(options, part);
  if (!std::filesystem::exists(file)) return {};
  const auto tensors = load_safetensors(file, &metadata);
  require(metadata["key"] == options.key(),
          "{}: samples of another model or other settings; choose another folder or remove it", file.string());
  const auto found = tensors.find("tokens");
  require(found != tensors.end() && found->second.dim() == 3, "{}: expected a tensor 'tokens' [n, h, w]",
          file.string());
  if (found->second.size(0) < part_count(options, part)) return {};  // of a shorter run: drawn again
  return found->second.to(torch::kInt64).slice(0, 0, part_count(options, part));
}

}  // namespace

nlohmann::ordered_json settings_of(const FillOptions& fill) {
  nlohmann::ordered_json settings = fill.used().to_json();
  settings["seed"] = fill.seed;
  settings["images_per_call"] = fill.images_per_call;
  return settings;
}

std::string SampleOptions::key() const {
  ContentHash hash;
  hash.add(prior_hash)
      .add(settings_of(fill).dump())
      .add(fill.total_steps)
      .add(static_cast<std::int64_t>(fill.first_image));
  if (!fill.condition.empty()) hash.add(fill.condition);
  return hash.hex();
}

void SampleOptions::validate() const {
  if (count < 1) throw UsageError(fmt::format("samples {}: expected 1 or more", count));
  if (part_size < 1) throw UsageError(fmt::format("samples in a part {}: expected 1 or more", part_size));
  fill.validate();
}

void draw_samples(Pipeline& pipeline, const SampleOptions& options, std::int64_t shard, std::int64_t shards) {
  const torch::NoGradGuard no_grad;
  options.validate();
  if (shards < 1 || shard < 0 || shard >= shards)
    throw UsageError(fmt::format("shard {}/{}: expected 0 to {}", shard, shards, shards - 1));
  std::filesystem::create_directories(options.folder);
  const auto extent = pipeline.prior_network().grid;
  const auto codes = pipeline.prior().codebook_size();
  Progress progress(fmt::format("sample {} {} steps", options.fill.sampler, options.fill.steps), 0, options.parts(),
                    "parts");
  for (auto part = shard; part < options.parts(); part += shards) {
    Metadata metadata;
    if (!read_part(options, part, metadata).defined()) {
      auto fill_options = options.fill;
      fill_options.first_image += static_cast<std::uint64_t>(part * options.part_size);
      const auto made =
          fill(TokenGrid::all_masked(part_count(options, part), extent, codes), pipeline.prior(), fill_options);
      save_safetensors(part_file(options, part), {{"tokens", made.grid.codes().to(torch::kInt32)}},
                       {{"key", options.key()},
                        {"evaluations", std::to_string(made.report.evaluations)},
                        {"seconds", fmt::format("{:.6f}", made.report.seconds)}});
    }
    progress.update(part + 1, "");
  }
}

SampleSet read_samples(const SampleOptions& options, std::int64_t codebook_size) {
  std::vector<torch::Tensor> parts;
  double evaluations = 0, seconds = 0;
  for (std::int64_t part = 0; part < options.parts(); ++part) {
    Metadata metadata;
    parts.push_back(read_part(options, part, metadata));
    require(parts.back().defined(), "{}: samples are missing", part_file(options, part).string());
    try {
      evaluations += std::stod(metadata["evaluations"]);
      seconds += std::stod(metadata["seconds"]);
    } catch (const std::logic_error&) {
      fail("{}: metadata 'evaluations' and 'seconds' are no numbers", part_file(options, part).string());
    }
  }
  return {TokenGrid(torch::cat(parts), codebook_size), evaluations / static_cast<double>(options.count), seconds};
}

torch::Tensor decode_grids(Codec codec, const TokenGrid& grid, std::int64_t batch) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> images;
  for (std::int64_t start = 0; start < grid.count(); start += batch) {
    const auto codes = grid.codes().slice(0, start, std::min(start + batch, grid.count()));
    images.push_back(codec->decode(TokenGrid(codes, grid.codebook_size())));
  }
  return torch::cat(images);
}

}  // namespace tessera
