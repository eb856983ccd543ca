/// The program's verbs and options as data: what completions and manual pages are made from.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace tessera::cli {

struct OptionEntry {
  std::vector<std::string> names;  // "-m", "--model"; of a positional its name
  std::string group, help, type;   // type: "TEXT", "INT" ..; empty: a flag
  std::string fallback;            // as shown; empty: none
  std::vector<std::string> choices;
  bool positional = false, required = false, repeatable = false;

  bool takes_value() const { return !type.empty(); }
};

struct VerbEntry {
  std::vector<std::string> path;  // {"train", "codec"}; empty: the program itself
  std::string description;
  std::vector<OptionEntry> options;
  std::vector<VerbEntry> verbs;

  std::string name(const std::string& between) const;  // "tessera train codec" with " "
};

VerbEntry command_tree(const CLI::App& app);
/// The tree's entries, each verb before its own.
std::vector<const VerbEntry*> all_verbs(const VerbEntry& tree);

/// Words that an option's value is one of, for completions; what they may be is checked elsewhere.
void set_choices(const CLI::Option* option, std::vector<std::string> choices);
/// Empty: any.
std::vector<std::string> choices_of(const CLI::Option* option);

/// The scripts that complete the program's words. shell: "bash", "zsh" or "fish"; throws UsageError for another.
std::string completion_script(const VerbEntry& tree, const std::string& shell);

/// The manual page of a verb, in the form of man(7).
std::string manual_page(const VerbEntry& verb, const VerbEntry& tree);

}  // namespace tessera::cli
