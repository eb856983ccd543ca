/// Every verb of the program: a file of its own that adds its subcommand, and one line here and in verbs.cpp.
#pragma once

#include <CLI/CLI.hpp>

namespace tessera::cli {

/// Adds every verb to the program.
void register_verbs(CLI::App& app);

void add_bench(CLI::App& app);
void add_caption(CLI::App& app);
void add_completion(CLI::App& app);  // completion, man
void add_convert(CLI::App& app);
void add_compare(CLI::App& app);
void add_dataset(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_generate(CLI::App& app);
void add_inpaint(CLI::App& app);
void add_outpaint(CLI::App& app);
void add_reconstruct(CLI::App& app);  // reconstruct, encode, decode
void add_run(CLI::App& app);
void add_serve(CLI::App& app);
void add_stitch(CLI::App& app);
void add_train(CLI::App& app);
void add_train_pictures(CLI::App& train);  // tessera train DATA
void add_import(CLI::App& app);
void add_info(CLI::App& app);
void add_variations(CLI::App& app);
void add_verify(CLI::App& app);

}  // namespace tessera::cli
