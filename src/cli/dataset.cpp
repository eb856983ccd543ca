/// `tessera dataset`: pack a set of images into one file, or say what is in one.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "cli/data_flags.h"
#include "cli/share_flags.h"
#include "cli/verbs.h"
#include "data/dataset.h"
#include "data/pack_file.h"
#include "data/pack_shards.h"
#include "image/decoding_process.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera::cli {
namespace {

struct Arguments {
  DatasetOptions options;
  std::string out;
  std::string cache;
  std::string shard = "0/1";
  bool no_cache = false;
  bool apart = false;
  bool json = false;
};

void add_common(CLI::App& verb, Arguments& arguments) {
  auto& options = arguments.options;
  verb.add_option("--data", options.path,
                  "A folder, .zip, .tar, shard-{000..127}.tar, folder of archives, or .tessera-pack")
      ->required();
  verb.add_option("--background", options.background, "Colour under transparent pixels, #rrggbb")
      ->capture_default_str();
  verb.add_flag("--strict", options.strict, "A file that is neither picture nor companion, or broken, is an error");
  add_choice_flags(verb, options.choice);
  verb.add_flag("--upscale", options.upscale, "Accept images smaller than --size");
  verb.add_option("--validation-fraction", options.validation_fraction, "Part of the images kept for validation")
      ->capture_default_str();
  verb.add_option("--split-seed", options.split_seed, "Which images these are")->capture_default_str();
  verb.add_option("-t,--threads", options.threads, "Threads that decode; 0: one a processor")->capture_default_str();
  verb.add_option("--cache", arguments.cache, "Folder of the automatic cache (default: $XDG_CACHE_HOME/tessera)");
  verb.add_flag("--no-cache", arguments.no_cache, "Neither read nor write the automatic cache");
  verb.add_flag("--decode-apart", arguments.apart,
                "Decode pictures in processes that can open no file and no connection: for those of strangers");
  verb.add_flag("--json", arguments.json, "Print one JSON object");
}

/// The options as checked by validate(); what is wrong with them is wrong usage.
Dataset open_dataset(Arguments& arguments) {
  arguments.options.cache_folder = arguments.cache;
  arguments.options.use_cache = !arguments.no_cache;
  arguments.options.say_account = false;  // it is in the report
  try {
    arguments.options.validate();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  if (arguments.apart) {
    const auto processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    decode_apart("/proc/self/exe", arguments.options.threads > 0 ? arguments.options.threads : processors);
  }
  std::optional<Progress> progress;  // made at the first call: only then is the number of images known
  arguments.options.progress = [&progress](std::int64_t done, std::int64_t total) {
    if (!progress) progress.emplace("decoding", 0, total, "images");
    progress->update(done, "");
  };
  return Dataset::open(arguments.options);
}

void print(const Dataset& dataset, const Arguments& arguments) {
  nlohmann::ordered_json report;
  report["data"] = arguments.options.path.string();
  report["images"] = dataset.size();
  report["size"] = dataset.image_size();
  report["train"] = dataset.split(Split::train).size();
  report["validation"] = dataset.split(Split::validation).size();
  if (!dataset.split(Split::test).empty()) report["test"] = dataset.split(Split::test).size();
  report["skipped"] = dataset.skipped_count();
  report["captions"] = dataset.captioned();
  report["classes"] = dataset.class_names();
  const auto& content = dataset.content();
  if (content.files > 0) {
    report["files"] = content.files;
    report["companions"] = content.companions;
    report["left_out"] = content.reasons;
  }
  report["notes"] = content.notes;
  report["key"] = dataset.key();
  if (!arguments.out.empty()) report["out"] = arguments.out;
  if (arguments.json) {
    std::printf("%s\n", report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  for (const auto& [name, value] : report.items()) {
    const auto text = value.is_string() ? value.get<std::string>() : value.dump();
    std::printf("%-11s %s\n", name.c_str(), text.c_str());
  }
}

}  // namespace

void add_dataset(CLI::App& app) {
  auto* dataset = app.add_subcommand("dataset", "Pack images into one file, or say what a data set holds");
  dataset->require_subcommand(1);

  auto pack = std::make_shared<Arguments>();
  auto* pack_verb = dataset->add_subcommand("pack", "Decode a data set once, into a .tessera-pack file");
  add_common(*pack_verb, *pack);
  pack_verb->add_option("--size", pack->options.size, "Width and height of the packed images, pixels")->required();
  pack_verb->add_option("-o,--out,--output", pack->out, "The .tessera-pack file to write")->required();
  pack_verb
      ->add_option(
          "--shard", pack->shard,
          "I/N: decode part I (from 0) of N alone, into NAME-0000I-of-0000N.tessera-pack, for N machines that "
          "need not know of each other; array: as the task of a Slurm array. `dataset join` puts them together")
      ->group(kShareGroup);
  pack_verb->callback([pack] {
    if (!is_pack(pack->out)) throw UsageError("--out: expected a name that ends in .tessera-pack");
    auto& shard = pack->options.shard;
    shard = shard_from(pack->shard);
    if (!shard.is_whole()) {
      if (is_pack(pack->options.path)) throw UsageError("--shard: --data is packed already, expected the pictures");
      pack->out = shard_file(pack->out, shard).string();
    }
    const auto opened = open_dataset(*pack);
    opened.save_pack(pack->out);
    print(opened, *pack);
  });

  struct Joined {
    std::vector<std::string> parts;
    Arguments report;
  };
  auto join = std::make_shared<Joined>();
  auto* join_verb = dataset->add_subcommand("join", "Put the parts of `dataset pack --shard` together");
  join_verb->add_option("PARTS", join->parts, "All of them, in any order")->required();
  join_verb->add_option("-o,--out,--output", join->report.out, "The .tessera-pack file to write")->required();
  join_verb->add_flag("--json", join->report.json, "Print one JSON object");
  join_verb->callback([join] {
    if (!is_pack(join->report.out)) throw UsageError("--out: expected a name that ends in .tessera-pack");
    auto& options = join->report.options;
    options.path = fmt::format("{} parts", join->parts.size());
    const Dataset whole(join_packs({join->parts.begin(), join->parts.end()}, options), options.validation_fraction,
                        options.split_seed);
    whole.save_pack(join->report.out);
    print(whole, join->report);
  });

  auto info = std::make_shared<Arguments>();
  auto* info_verb = dataset->add_subcommand("info", "Count and check the images of a data set");
  info->options.size = 0;
  add_common(*info_verb, *info);
  info_verb->add_option("--size", info->options.size,
                        "Width and height to decode to, pixels (default 32; packs have their own)");
  info_verb->callback([info] {
    if (info->options.size == 0 && !is_pack(info->options.path)) {
      info->options.size = 32;
      info->options.upscale = true;
    }
    print(open_dataset(*info), *info);
  });
}

}  // namespace tessera::cli
