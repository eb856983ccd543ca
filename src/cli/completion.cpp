/// tessera completion SHELL and tessera man: what shells and man(1) are told, from the same lists as the help.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/command_tree.h"
#include "cli/verbs.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

struct ManOptions {
  std::string verb, output;
  bool json = false;
};

void manual(const CLI::App& app, const ManOptions& options) {
  const auto tree = command_tree(app);
  nlohmann::json pages;
  for (const auto* verb : all_verbs(tree)) {
    const auto name = verb->name("-");
    if (options.verb.empty() || name == "tessera-" + options.verb) pages[name + ".1"] = manual_page(*verb, tree);
  }
  if (pages.empty()) throw UsageError(fmt::format("man {}: no such verb", options.verb));
  if (!options.output.empty()) {
    std::filesystem::create_directories(options.output);
    for (const auto& [name, page] : pages.items())
      write_file_atomically(std::filesystem::path(options.output) / name, page.get<std::string>());
  }
  if (options.json) {
    fmt::print("{}\n", pages.dump(2));
  } else if (!options.output.empty()) {
    fmt::print("{}\n", options.output);
  } else {
    const auto name = options.verb.empty() ? std::string("tessera.1") : pages.begin().key();
    fmt::print("{}", pages[name].get<std::string>());
  }
}

}  // namespace

void add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  auto* verb = app.add_subcommand("completion", "the script with which a shell completes this program's words");
  verb->add_option("shell", *shell, "bash, zsh or fish")->required();
  verb->add_flag("--json", *json, "as a member of a JSON object");
  verb->callback([&app, shell, json] {
    const auto script = completion_script(command_tree(app), *shell);
    fmt::print("{}", *json ? nlohmann::json{{"shell", *shell}, {"script", script}}.dump(2) + "\n" : script);
  });

  auto options = std::make_shared<ManOptions>();
  auto* man = app.add_subcommand("man", "manual pages, for man -l or a folder of them");
  man->add_option("verb", options->verb, "of this verb alone, \"train-codec\" for one below another");
  man->add_option("-o,--output", options->output, "folder that gets the pages");
  man->add_flag("--json", options->json, "all pages as one JSON object");
  man->callback([&app, options] { manual(app, *options); });
}

}  // namespace tessera::cli
