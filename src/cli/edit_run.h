/// What the verbs that edit share: from plans to filled, decoded, composited and written pictures.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "canvas/edit_plan.h"
#include "cli/model_flags.h"
#include "cli/picture_files.h"
#include "cli/server_jobs.h"

namespace tessera::cli {

struct EditFlags {
  ModelFlags model;
  SamplingFlags sampling;
  WindowOptions windows;
  RegionOptions region;
  std::string output = "edited";  // a folder, or one picture (picture_format)
  std::string frames;             // folder for the picture at each step; empty: none
  std::string partial;            // file for the unfinished state; empty: none
  std::int64_t count = 1;         // pictures of each edit
  std::int64_t batch = 16;        // pictures filled together
  EarlierResults earlier;
  ServerFlags server;
  bool resume = false, show_mask = false, json = false;
};

/// Windows, frames, partial canvas: what every fill of a grid of any size takes.
void add_canvas_flags(CLI::App& verb, EditFlags& flags);
/// All of them: model, sampling, canvas, output, count, batch.
void add_edit_flags(CLI::App& verb, EditFlags& flags);
/// --feather, --sharp and --mask-threshold.
void add_region_flags(CLI::App& verb, RegionOptions& options);

/// The command that was typed, quoted for a shell: "tessera VERB --flag value ...".
std::string command_line(const CLI::App& verb);

/// The verb by the service that --server names.
void run_on_server(const CLI::App& verb, const EditFlags& flags);

/// Throws UsageError naming the flag that is out of range.
void validate(const EditFlags& flags);

/// Each plan `count` times: image p * count + i is variation i of plan p.
std::vector<EditPlan> repeated(const std::vector<EditPlan>& plans, std::int64_t count);

/// Plans of one extent are filled in batches; picture i has number i within the seed. A file is one picture or the
/// contact sheet, any other OUTPUT a folder of numbered pictures and their sheet. Ctrl-C saves what --partial asks for.
/// Out: the pictures.
std::vector<Image> run_edits(const CLI::App& verb, const EditFlags& flags, Pipeline& pipeline,
                             const std::vector<EditPlan>& plans);

}  // namespace tessera::cli
