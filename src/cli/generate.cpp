/// tessera generate: new pictures from a bundle.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/edit_run.h"
#include "cli/model_flags.h"
#include "cli/neighbours.h"
#include "cli/picture_files.h"
#include "cli/share_flags.h"
#include "cli/verbs.h"
#include "data/catalogue.h"
#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/progress.h"
#include "runtime/seconds_since.h"

namespace tessera::cli {
namespace {

struct GenerateOptions {
  ModelFlags model;
  SamplingFlags sampling;
  NeighbourFlags neighbours;
  std::string output = "generated";
  std::int64_t count = 1, batch = 16;
  EarlierResults earlier;
  bool sheet_only = false, json = false;
  ShareFlags share;
  EditFlags canvas;           // windows, frames and partial state
  int width = 0, height = 0;  // pixels; 0: the model's own

  /// Anything that the plain way, pictures of the model's own size, does not know.
  bool wants_canvas() const {
    return width != 0 || height != 0 || !canvas.frames.empty() || !canvas.partial.empty() || canvas.resume;
  }
};

/// Pictures of any size, as the editing verbs make them: every cell is to be filled.
void generate_on_canvas(const CLI::App& verb, const GenerateOptions& options) {
  auto flags = options.canvas;
  flags.model = options.model;
  flags.sampling = options.sampling;
  flags.output = options.output;
  flags.count = options.count;
  flags.batch = options.batch;
  flags.json = options.json;
  flags.earlier = options.earlier;
  validate(flags);
  for (const auto& [name, size] : {std::pair{"--width", options.width}, std::pair{"--height", options.height}}) {
    if (size != 0 && (size < 1 || size > kMaxEditSide))
      throw UsageError(fmt::format("{} {}: expected 1 to {} pixels", name, size, kMaxEditSide));
  }
  auto pipeline = load_model(options.model);
  const auto own = static_cast<int>(pipeline.codec()->options().image_size);
  const auto plan = plan_generate(pipeline.codec(), options.width != 0 ? options.width : own,
                                  options.height != 0 ? options.height : own);
  run_edits(verb, flags, pipeline, repeated({plan}, flags.count));
}

/// What --shard and --processes do not go with.
void check_share(const GenerateOptions& options, bool one_file) {
  options.share.validate();
  if (options.share.own().is_whole() && !options.share.starts_processes()) return;
  const auto refuse = [](bool wanted, const char* flag, const char* why) {
    if (wanted) throw UsageError(fmt::format("{}: {}, expected neither --shard nor --processes", flag, why));
  };
  refuse(one_file, "--output", "one file holds all pictures");
  refuse(options.sheet_only, "--sheet-only", "the sheet holds all pictures");
  refuse(!options.neighbours.data.empty(), "--neighbours", "is of all pictures");
  refuse(options.wants_canvas(), "--width, --height, --frames, --partial", "are not made in shards");
  refuse(options.share.starts_processes() && options.json, "--json", "reports of one process");
}

std::filesystem::path numbered(const std::filesystem::path& folder, std::uint64_t number) {
  return folder / fmt::format("{:05}.png", number);
}

/// The sheet of pictures that other processes made: what one process writes at its end.
void write_sheet_of(const GenerateOptions& options, const std::filesystem::path& folder) {
  std::vector<Image> all;
  for (std::int64_t i = 0; i < options.count; ++i)
    all.push_back(read_image(numbered(folder, static_cast<std::uint64_t>(i))));
  auto record = read_json_object(read_png_text(numbered(folder, 0)).at("tessera"), numbered(folder, 0).string());
  record.erase("image");
  record["count"] = options.count;
  write_picture((folder / "sheet.png").string(), contact_sheet(all), sheet_text(record));
  fmt::print("{}\n", (folder / "sheet.png").string());
}

/// OUTPUT.png is one picture or the contact sheet; any other OUTPUT is a folder of numbered pictures with their sheet.
void generate(const CLI::App& verb, const GenerateOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  if (options.count < 1 || options.count > 100000)
    throw UsageError(fmt::format("--count {}: expected 1 to 100000", options.count));
  if (options.batch < 1) throw UsageError(fmt::format("--batch {}: expected 1 or more", options.batch));
  check(options.neighbours);
  options.earlier.validate();
  const bool one_file = !picture_format(options.output).empty(),
             to_standard_output = is_standard_output(options.output);
  if (to_standard_output && (options.json || !options.neighbours.data.empty()))
    throw UsageError("--output -: holds the picture alone, expected neither --json nor --neighbours");
  check_share(options, one_file);
  const std::filesystem::path output = options.output;
  const auto share = options.share.own();
  if (options.share.starts_processes()) {
    if (share.is_whole()) options.earlier.make_folder(output);
    options.share.run();
    if (share.is_whole()) return write_sheet_of(options, output);
    return;
  }
  auto pipeline = load_model(options.model);
  const auto fill = resolve(options.sampling, pipeline);
  if (!share.is_whole()) {
    std::filesystem::create_directories(output);  // what others put into it stays
  } else if (!one_file) {
    options.earlier.make_folder(output);
  }
  const auto sheet = one_file ? output : output / "sheet.png";
  auto record = to_json(fill);
  record["model"] = valid_utf8(std::filesystem::path(options.model.model).filename().string());
  record.update(pipeline.computed_by());
  record["command"] = command_line(verb);
  if (!options.model.loras.empty()) record["lora"] = names_of_loras(options.model);

  std::vector<Image> all;
  std::vector<torch::Tensor> codes;
  nlohmann::json files = nlohmann::json::array();
  std::int64_t evaluations = 0;
  double first_image_seconds = 0;
  {
    const auto first = share.begin(options.count), end = share.end(options.count);
    const auto batches = (end - first + options.batch - 1) / options.batch;
    Progress progress("generate", 0, batches * fill.steps, "steps");
    for (auto done = first; done < end; done += options.batch) {
      const auto steps_before = (done - first) / options.batch;  // in batches
      auto part = fill;
      part.first_image = fill.first_image + static_cast<std::uint64_t>(done);
      const auto now = std::min(options.batch, end - done);
      const auto made = pipeline.generate(now, part, [&](const FillProgress& at) {
        progress.new_total(batches * at.steps);
        progress.update(steps_before * at.steps + at.step, fmt::format("{} of {} images", done, options.count));
        return true;
      });
      if (done == first) first_image_seconds = seconds_since(begin);
      evaluations += made.report.evaluations;
      codes.push_back(made.grid.codes());
      std::vector<PictureFile> pictures;
      for (std::int64_t i = 0; i < now; ++i) {
        all.push_back(to_image(made.images[i]));
        if (one_file || options.sheet_only) continue;
        const auto number = part.first_image + static_cast<std::uint64_t>(i);
        auto own = record;
        own["image"] = number;
        pictures.push_back({numbered(output, number), all.back(), picture_text(own)});
        files.push_back(valid_utf8(pictures.back().path.string()));
      }
      write_pictures(pictures);
      progress.say(fmt::format("{} of {} images", done + now, options.count));
      if (done + now < end || !share.is_whole()) continue;
      record["count"] = options.count;
      if (all.size() == 1 && one_file) {
        write_picture(sheet.string(), all.front(), picture_text(record));
      } else {
        write_picture(sheet.string(), contact_sheet(all), sheet_text(record));
      }
    }
  }
  const double seconds = seconds_since(begin);
  const auto beside = one_file ? output.parent_path() / fmt::format("{}-neighbours.png", output.stem().string())
                               : output / "neighbours.png";
  if (!options.neighbours.data.empty()) {
    record["neighbours"] =
        write_neighbours(options.neighbours, options.model, pipeline, torch::cat(codes), all, fill.first_image, beside);
    record["neighbours"]["sheet"] = valid_utf8(beside.string());
  }
  if (options.json) {
    record["files"] = files;
    if (share.is_whole()) record["sheet"] = valid_utf8(sheet.string());
    record["evaluations"] = evaluations;
    record["seconds"] = seconds;
    record["seconds_to_first_images"] = first_image_seconds;
    fmt::print("{}\n", record.dump(2));
    return;
  }
  if (!to_standard_output) fmt::print("{}\n", share.is_whole() ? sheet.string() : output.string());
  if (record.contains("neighbours")) fmt::print("{}\n", beside.string());
  log().info("{} images in {:.1f} s ({:.2f} s to the first), {} steps, {:.1f} evaluations an image", all.size(),
             seconds, first_image_seconds, fill.steps,
             static_cast<double>(evaluations) / static_cast<double>(std::max<std::size_t>(1, all.size())));
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<GenerateOptions>();
  auto* verb = app.add_subcommand("generate", "make new pictures");
  add_model_flags(*verb, options->model);
  add_lora_flag(*verb, options->model.loras);
  add_sampling_flags(*verb, options->sampling);
  add_neighbour_flags(*verb, options->neighbours);
  verb->add_option("-o,--output", options->output, kOutputHelp)->capture_default_str();
  verb->add_option("--earlier", options->earlier.choice, EarlierResults::kHelp)->capture_default_str();
  verb->add_option("-n,--count", options->count, "pictures")->capture_default_str();
  verb->add_option("-b,--batch", options->batch, "pictures at a time; changes nothing but memory and speed")
      ->capture_default_str();
  verb->add_flag("--sheet-only", options->sheet_only, "write the contact sheet alone");
  verb->add_flag("--json", options->json, "report as JSON on standard output");
  verb->add_option("-W,--width", options->width,
                   "pixels [the model's own]; larger ones are made through overlapping windows");
  verb->add_option("-H,--height", options->height, "pixels [the model's own]");
  add_share_flags(*verb, options->share);
  add_canvas_flags(*verb, options->canvas);
  add_server_flag(*verb, options->canvas.server);
  verb->callback([verb, options] {
    if (!options->canvas.server.url.empty())
      return run_on_server(*verb, options->canvas.server, {options->output, options->earlier, options->json});
    if (options->wants_canvas()) {
      check_share(*options, false);
      if (!options->neighbours.data.empty())
        throw UsageError("--neighbours: for pictures of the model's own size only");
      generate_on_canvas(*verb, *options);
    } else {
      generate(*verb, *options);
    }
  });
}

}  // namespace tessera::cli
