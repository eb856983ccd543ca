/// tessera caption: what pictures show, by a model of both directions.
#include "cli/model_flags.h"
#include "cli/region_flags.h"
#include "cli/result_line.h"
#include "cli/verbs.h"
#include "data/file_names.h"
#include "image/image_io.h"
#include "pipeline/captions.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

struct CaptionOfVerb {
  ModelFlags model;
  std::vector<std::string> images;
  PictureFlags reading;
  CaptionChoice choice;
  std::int64_t count = 1;
  bool json = false;
};

void caption(const CaptionOfVerb& options) {
  options.choice.validate();
  if (options.count < 1 || options.count > 1000)
    throw UsageError(fmt::format("--count {}: expected 1 to 1000", options.count));
  if (options.count > 1 && options.choice.temperature == 0)
    throw UsageError("--count: captions of --temperature 0 are all the same, expected a temperature above 0");
  auto pipeline = load_model(options.model);
  auto reading = options.reading;
  if (reading.size == 0) reading.size = static_cast<int>(pipeline.codec()->options().image_size);
  auto pictures = nlohmann::json::array();
  std::string lines;
  for (std::size_t i = 0; i < options.images.size(); ++i) {
    auto choice = options.choice;
    choice.first_picture = i * static_cast<std::size_t>(options.count);
    const auto captions = captions_of(pipeline, to_tensor(*reading.read(options.images[i])), options.count, choice);
    const auto name = valid_utf8(options.images[i]);
    pictures.push_back({{"image", name}, {"captions", captions}});
    for (const auto& text : captions) {
      if (!lines.empty()) lines += '\n';
      lines += options.images.size() > 1 ? fmt::format("{}: {}", name, text) : text;
    }
  }
  print_result(options.json, {{"pictures", pictures}}, lines);
}

}  // namespace

void add_caption(CLI::App& app) {
  auto options = std::make_shared<CaptionOfVerb>();
  auto* verb =
      app.add_subcommand("caption", "what pictures show, by a model of both directions (train prior --prior joint)");
  add_model_flags(*verb, options->model);
  add_lora_flag(*verb, options->model.loras);
  verb->add_option("-i,--image", options->images, "pictures; scaled to the model's size")->required();
  add_reading_flags(*verb, options->reading);
  verb->add_option("--begins", options->choice.begins, "the caption's known beginning, which is completed");
  verb->add_option("-n,--count", options->count, "captions of each picture")->capture_default_str();
  verb->add_option("--temperature", options->choice.temperature, "of the words; 0: the likeliest each time")
      ->capture_default_str();
  verb->add_option("--cfg-scale", options->choice.guidance_scale,
                   "guidance by the picture; 1: none, above: away from captions of no picture")
      ->capture_default_str();
  verb->add_option("--steps", options->choice.steps, "of the fill; 0: a step a word")->capture_default_str();
  verb->add_option("--seed", options->choice.seed, "of the words")->capture_default_str();
  verb->add_flag("--json", options->json, kJsonHelp);
  verb->callback([options] { caption(*options); });
}

}  // namespace tessera::cli
