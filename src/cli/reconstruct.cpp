/// tessera reconstruct, encode, decode: pictures through the codec.
#include <cmath>
#include <nlohmann/json.hpp>

#include "canvas/tiles.h"
#include "checkpoint/safetensors.h"
#include "cli/data_flags.h"
#include "cli/model_flags.h"
#include "cli/picture_files.h"
#include "cli/region_flags.h"
#include "cli/result_line.h"
#include "cli/server_jobs.h"
#include "cli/verbs.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "runtime/error.h"
#include "runtime/shard.h"

namespace tessera::cli {
namespace {

struct CodecOptionsOfVerb {
  ModelFlags model;
  std::vector<std::string> images;
  std::string data, output, split = "validation", background = "#ffffff", shard = "0/1";
  std::int64_t count = 16, max_pixels = 0;
  std::uint64_t split_seed = 0;
  CatalogueChoice choice;
  double validation_fraction = 0.05;
  EarlierResults earlier;
  ServerFlags server;
  bool json = false;

  std::int64_t most_pixels() const { return max_pixels > 0 ? max_pixels : kMostCodedPixels; }
};

/// The largest part of a picture whose sides are multiples of the codec's factor, about its centre.
torch::Tensor fitted(const Image& image, std::int64_t factor, const std::string& name) {
  const int width = image.width / static_cast<int>(factor) * static_cast<int>(factor);
  const int height = image.height / static_cast<int>(factor) * static_cast<int>(factor);
  require(width > 0 && height > 0, "{}: {}x{} pixels, expected at least {}x{}", name, image.width, image.height, factor,
          factor);
  return to_tensor(crop(image, (image.width - width) / 2, (image.height - height) / 2, width, height)).unsqueeze(0);
}

double psnr(const torch::Tensor& a, const torch::Tensor& b) {
  const auto error = (a.to(torch::kFloat64) - b.to(torch::kFloat64)).square().mean().item<double>() / (255.0 * 255.0);
  return -10 * std::log10(std::max(error, 1e-10));
}

std::vector<torch::Tensor> gather(const CodecOptionsOfVerb& options, Codec codec, std::vector<std::string>& names) {
  std::vector<torch::Tensor> pictures;
  ReadOptions read;
  read.background = parse_colour(options.background);
  read.max_pixels = options.most_pixels();
  for (const auto& path : options.images) {
    pictures.push_back(fitted(read_picture(path, read), codec->options().factor(), path));
    names.push_back(valid_utf8(path));
  }
  if (options.data.empty()) return pictures;
  DatasetOptions data_options;
  data_options.path = options.data;
  data_options.size = codec->options().image_size;
  data_options.background = options.background;
  data_options.split_seed = options.split_seed;
  data_options.choice = options.choice;
  data_options.validation_fraction = options.validation_fraction;
  const auto data = Dataset::open(data_options);
  const auto& members = data.require_split(parse_split(options.split));
  const auto total = std::min(options.count, static_cast<std::int64_t>(members.size()));
  const auto share = shard_from(options.shard);
  require(share.end(total) > share.begin(total), "--shard {}: nothing of {} pictures is in it", share.text(), total);
  for (auto i = share.begin(total); i < share.end(total); ++i) {
    const auto index = members[static_cast<std::size_t>(i)];
    pictures.push_back(data.image(index).unsqueeze(0));
    names.push_back(data.file_name(index));
  }
  return pictures;
}

void check_output(const CodecOptionsOfVerb& options) {
  if (picture_format(options.output).empty())
    throw UsageError(fmt::format("--output {}: expected a file ending in .png, .jpg or .webp, or -", options.output));
  if (is_standard_output(options.output) && options.json)
    throw UsageError("--output -: holds the picture alone, expected no --json");
}

void check_sources(const CodecOptionsOfVerb& options, const char* verb) {
  if (options.images.empty() == options.data.empty())
    throw UsageError(fmt::format("{}: expected either --image or --data", verb));
  if (options.count < 1) throw UsageError(fmt::format("--count {}: expected 1 or more", options.count));
}

/// Through the codec as a whole up to 16 times its own area, in which its attention still sees everything; larger
/// pictures in tiles.
bool goes_whole(const CodecOptions& codec, std::int64_t height, std::int64_t width) {
  constexpr std::int64_t kMostAreas = 16;
  return height * width <= kMostAreas * codec.image_size * codec.image_size;
}

TokenGrid encoded(Codec codec, const torch::Tensor& picture) {
  return goes_whole(codec->options(), picture.size(2), picture.size(3)) ? codec->encode(picture)
                                                                        : encode_tiled(codec, picture);
}

torch::Tensor decoded_of(Codec codec, const TokenGrid& grid) {
  const auto factor = codec->options().factor();
  return goes_whole(codec->options(), grid.extent().h * factor, grid.extent().w * factor) ? codec->decode(grid)
                                                                                          : decode_tiled(codec, grid);
}

void reconstruct(const CodecOptionsOfVerb& options) {
  check_sources(options, "reconstruct");
  check_output(options);
  auto pipeline = load_model(options.model);
  auto codec = pipeline.codec();
  std::vector<std::string> names;
  const auto pictures = gather(options, codec, names);
  std::vector<Image> sheet;
  nlohmann::json rows = nlohmann::json::array();
  double total = 0;
  for (std::size_t i = 1; i < pictures.size(); ++i) {
    require(pictures[i].sizes() == pictures[0].sizes(),
            "reconstruct: {} differs in size from {}; give one size at a time", names[i], names[0]);
  }
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const auto decoded = decoded_of(codec, encoded(codec, pictures[i]));
    const double value = psnr(pictures[i], decoded);
    total += value;
    rows.push_back({{"image", names[i]}, {"psnr_db", value}});
    sheet.push_back(to_image(pictures[i][0]));
    sheet.push_back(to_image(decoded[0]));
  }
  write_picture(options.output, contact_sheet(sheet, {sheet.size() == 2 ? 2 : 8, 2, {}}),
                sheet_text({{"verb", "reconstruct"}, {"model", valid_utf8(options.model.model)}}));
  const double mean = total / static_cast<double>(pictures.size());
  if (options.json) {
    fmt::print("{}\n",
               nlohmann::json{{"images", rows}, {"mean_psnr_db", mean}, {"sheet", valid_utf8(options.output)}}.dump(2));
    return;
  }
  if (!is_standard_output(options.output)) fmt::print("{}\n", options.output);
  fmt::print(is_standard_output(options.output) ? stderr : stdout,
             "{} pictures, mean PSNR {:.2f} dB (original left, reconstruction right)\n", pictures.size(), mean);
}

void encode(const CodecOptionsOfVerb& options) {
  check_sources(options, "encode");
  if (!shard_from(options.shard).is_whole() && options.data.empty())
    throw UsageError("--shard: of a data set, expected --data");
  auto pipeline = load_model(options.model);
  auto codec = pipeline.codec();
  std::vector<std::string> names;
  std::vector<torch::Tensor> grids;
  for (const auto& picture : gather(options, codec, names)) {
    grids.push_back(encoded(codec, picture).codes());
    require(grids.back().sizes() == grids.front().sizes(), "encode: {} differs in size from {}",
            names[grids.size() - 1], names[0]);
  }
  save_safetensors(
      options.output, {{"tokens", torch::cat(grids).to(torch::kInt32)}},
      {{"names", nlohmann::json(names).dump()}, {"codebook_size", std::to_string(codec->options().codebook_size)}});
  print_result(options.json,
               {{"output", options.output},
                {"images", names},
                {"grid", {grids.front().size(1), grids.front().size(2)}},
                {"codebook_size", codec->options().codebook_size}},
               options.output);
}

void decode(const CodecOptionsOfVerb& options, const std::string& tokens_file) {
  auto pipeline = load_model(options.model);
  Metadata metadata;
  const auto tensors = load_safetensors(tokens_file, &metadata);
  const auto found = tensors.find("tokens");
  require(found != tensors.end() && found->second.dim() == 3 && !found->second.is_floating_point(),
          "{}: expected a tensor 'tokens' of whole numbers [N, h, w]", tokens_file);
  const auto codes = pipeline.codec()->options().codebook_size;
  require(found->second.numel() > 0, "{}: 'tokens' is empty", tokens_file);
  const auto stated = metadata.count("codebook_size") ? metadata.at("codebook_size") : std::to_string(codes);
  require(stated == std::to_string(codes), "{}: tokens of {} codes, the model has {}", tokens_file, stated, codes);
  const auto factor = pipeline.codec()->options().factor(), h = found->second.size(1), w = found->second.size(2);
  require(w <= options.most_pixels() / factor / factor / h,
          "{}: {}x{} tokens are {}x{} pixels, expected at most {} in all", tokens_file, h, w, h * factor, w * factor,
          options.max_pixels);
  const auto lowest = found->second.min().item<std::int64_t>(), highest = found->second.max().item<std::int64_t>();
  require(lowest >= 0 && highest < codes, "{}: tokens {} to {}, expected 0 to {}{}", tokens_file, lowest, highest,
          codes - 1, highest == codes ? fmt::format(" ({} is MASK)", codes) : "");
  options.earlier.validate();
  options.earlier.make_folder(options.output);
  const auto text = picture_text(
      {{"verb", "decode"}, {"model", valid_utf8(options.model.model)}, {"tokens", valid_utf8(tokens_file)}});
  constexpr std::size_t kAtOnce = 16;  // pictures that are written side by side
  std::vector<PictureFile> pictures;
  for (std::int64_t i = 0; i < found->second.size(0); ++i) {
    const TokenGrid grid(found->second.slice(0, i, i + 1).to(torch::kInt64), codes);
    const auto images = decoded_of(pipeline.codec(), grid);
    pictures.push_back(
        {std::filesystem::path(options.output) / fmt::format("{:05}.png", i), to_image(images[0]), text});
    if (pictures.size() < kAtOnce && i + 1 < found->second.size(0)) continue;
    write_pictures(pictures);
    pictures.clear();
  }
  print_result(options.json, {{"output", options.output}, {"count", found->second.size(0)}}, options.output);
}

void add_sources(CLI::App& verb, CodecOptionsOfVerb& options) {
  add_model_flags(verb, options.model);
  verb.add_option("-i,--image", options.images, "picture (-: standard input); repeatable");
  verb.add_option("--data", options.data, "data set instead of pictures");
  verb.add_option("--split", options.split, "train, validation or all (with --data)")->capture_default_str();
  verb.add_option("--split-seed", options.split_seed, "as in training")->capture_default_str();
  add_choice_flags(verb, options.choice, "Data");
  verb.add_option("--validation-fraction", options.validation_fraction, "as in training")->capture_default_str();
  verb.add_option("-n,--count", options.count, "pictures of the data set")->capture_default_str();
  verb.add_option("--background", options.background, "colour under transparent pixels")->capture_default_str();
  add_max_pixels_flag(verb, options.max_pixels);
}

}  // namespace

void add_reconstruct(CLI::App& app) {
  auto options = std::make_shared<CodecOptionsOfVerb>();
  auto* verb = app.add_subcommand("reconstruct", "pictures to tokens and back, side by side");
  add_sources(*verb, *options);
  verb->add_option("-o,--output", options->output, "contact sheet to write (.png, .jpg, .webp; -: standard output)")
      ->required();
  verb->add_flag("--json", options->json, kJsonHelp);
  add_server_flag(*verb, options->server);
  verb->callback([verb, options] {
    if (options->server.url.empty()) return reconstruct(*options);
    check_output(*options);
    run_on_server(*verb, options->server, {options->output, options->earlier, options->json});
  });

  auto of_encode = std::make_shared<CodecOptionsOfVerb>();
  auto* to_tokens = app.add_subcommand("encode", "pictures to tokens");
  add_sources(*to_tokens, *of_encode);
  to_tokens->add_option("-o,--output", of_encode->output, ".safetensors to write")->required();
  to_tokens->add_option("--shard", of_encode->shard, Shard::kHelp)->capture_default_str();
  to_tokens->add_flag("--json", of_encode->json, kJsonHelp);
  to_tokens->callback([of_encode] { encode(*of_encode); });

  auto of_decode = std::make_shared<CodecOptionsOfVerb>();
  auto file = std::make_shared<std::string>();
  auto* to_pictures = app.add_subcommand("decode", "tokens to pictures");
  add_model_flags(*to_pictures, of_decode->model);
  to_pictures->add_option("--tokens", *file, ".safetensors with a tensor 'tokens' [N, h, w]")->required();
  to_pictures->add_option("-o,--output", of_decode->output, "folder to write")->required();
  to_pictures->add_option("--earlier", of_decode->earlier.choice, EarlierResults::kHelp)->capture_default_str();
  to_pictures->add_flag("--json", of_decode->json, kJsonHelp);
  add_max_pixels_flag(*to_pictures, of_decode->max_pixels);
  to_pictures->callback([of_decode, file] { decode(*of_decode, *file); });
}

}  // namespace tessera::cli
