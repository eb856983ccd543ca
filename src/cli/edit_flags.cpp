#include <algorithm>

#include "cli/edit_run.h"
#include "cli/share_flags.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

std::string quoted(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("_@%+=:,./-").find(char(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string result = "'";
  for (const char c : word) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

}  // namespace

void add_canvas_flags(CLI::App& verb, EditFlags& flags) {
  verb.add_option("--stride", flags.windows.stride, "cells between windows of a larger canvas; 0: half a window")
      ->capture_default_str();
  verb.add_flag("--random-windows", flags.windows.random,
                "shift the windows by a random part of the stride at each step");
  verb.add_option("--windows-per-call", flags.windows.per_call, "windows in one network call; 0: by the device")
      ->capture_default_str();
  verb.add_option("--frames", flags.frames, "folder for the picture at each step and an animated WebP");
  verb.add_option("--partial", flags.partial, "file that keeps the unfinished canvas, saved each minute and on Ctrl-C");
  verb.add_flag("--resume", flags.resume, "go on from --partial where that file exists");
}

void add_edit_flags(CLI::App& verb, EditFlags& flags) {
  add_model_flags(verb, flags.model);
  add_lora_flag(verb, flags.model.loras);
  add_sampling_flags(verb, flags.sampling);
  add_canvas_flags(verb, flags);
  verb.add_option("-o,--output", flags.output, kOutputHelp)->capture_default_str();
  verb.add_option("--earlier", flags.earlier.choice, EarlierResults::kHelp)->capture_default_str();
  add_server_flag(verb, flags.server);
  verb.add_option("-n,--count", flags.count, "pictures of each edit")->capture_default_str();
  verb.add_option("-b,--batch", flags.batch, "pictures at a time; changes nothing but memory and speed")
      ->capture_default_str();
  verb.add_flag("--show-mask", flags.show_mask,
                "also write which cells are kept and which regenerated, over the picture");
  verb.add_flag("--json", flags.json, "report as JSON on standard output");
}

void add_region_flags(CLI::App& verb, RegionOptions& options) {
  verb.add_option("--feather", options.feather,
                  "pixels over which the edit fades into the picture; 0: the decode as it is; -1: one cell")
      ->capture_default_str();
  verb.add_flag("--sharp", options.sharp, "the edit shows on the mask's own pixels alone, without a feather");
  verb.add_option("--mask-threshold", options.threshold,
                  "share of a cell that the mask must hold, 0 to 1; 0: one pixel is enough")
      ->capture_default_str();
}

void run_on_server(const CLI::App& verb, const EditFlags& flags) {
  run_on_server(verb, flags.server, {flags.output, flags.earlier, flags.json});
}

std::string command_line(const CLI::App& verb) {
  auto line = fmt::format("tessera {}", verb.get_name());
  for (const auto* option : verb.get_options()) {
    if (option->count() == 0 || option->get_group() == kShareGroup) continue;
    const bool is_flag = option->get_expected_max() == 0;
    for (const auto& value : option->results()) {
      line += fmt::format(" {}", option->get_positional() ? quoted(value) : option->get_name());
      if (!is_flag && !option->get_positional()) line += fmt::format(" {}", quoted(value));
    }
  }
  return line;
}

void validate(const EditFlags& flags) {
  if (flags.count < 1 || flags.count > 100000)
    throw UsageError(fmt::format("--count {}: expected 1 to 100000", flags.count));
  if (flags.batch < 1) throw UsageError(fmt::format("--batch {}: expected 1 or more", flags.batch));
  if (flags.resume && flags.partial.empty())
    throw UsageError("--resume: expected --partial FILE, the canvas to go on from");
  flags.earlier.validate();
  if (is_standard_output(flags.output) && (flags.json || flags.show_mask))
    throw UsageError("--output -: holds the picture alone, expected neither --json nor --show-mask");
  (void)picture_format(flags.output);
  flags.region.validate();
}

std::vector<EditPlan> repeated(const std::vector<EditPlan>& plans, std::int64_t count) {
  std::vector<EditPlan> result;
  for (const auto& plan : plans) result.insert(result.end(), static_cast<std::size_t>(count), plan);
  return result;
}

}  // namespace tessera::cli
