#include "cli/command_tree.h"

#include <fmt/format.h>

#include <map>

namespace tessera::cli {
namespace {

std::map<const CLI::Option*, std::vector<std::string>>& known_choices() {
  static std::map<const CLI::Option*, std::vector<std::string>> choices;
  return choices;
}

OptionEntry entry_of(const CLI::Option& option) {
  OptionEntry entry;
  entry.positional = option.get_positional();
  if (entry.positional) entry.names = {option.get_name(true)};
  for (const auto& name : option.get_snames()) entry.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) entry.names.push_back("--" + name);
  entry.group = option.get_group();
  entry.help = option.get_description();
  if (option.get_expected_max() != 0 && option.get_type_size() != 0)
    entry.type = option.get_type_name().empty() ? "TEXT" : option.get_type_name();
  entry.fallback = option.get_default_str();
  entry.choices = choices_of(&option);
  entry.required = option.get_required();
  entry.repeatable = option.get_expected_max() == CLI::detail::expected_max_vector_size;
  return entry;
}

VerbEntry tree_of(const CLI::App& app, const std::vector<std::string>& path) {
  VerbEntry verb;
  verb.path = path;
  verb.description = app.get_description();
  for (const auto* option : app.get_options()) verb.options.push_back(entry_of(*option));
  for (const auto* below : app.get_subcommands({})) {
    auto deeper = path;
    deeper.push_back(below->get_name());
    verb.verbs.push_back(tree_of(*below, deeper));
  }
  return verb;
}

void gather(const VerbEntry& verb, std::vector<const VerbEntry*>& all) {
  all.push_back(&verb);
  for (const auto& below : verb.verbs) gather(below, all);
}

}  // namespace

std::string VerbEntry::name(const std::string& between) const {
  std::string text = "tessera";
  for (const auto& word : path) text += between + word;
  return text;
}

VerbEntry command_tree(const CLI::App& app) {
  return tree_of(app, {});
}

std::vector<const VerbEntry*> all_verbs(const VerbEntry& tree) {
  std::vector<const VerbEntry*> all;
  gather(tree, all);
  return all;
}

void set_choices(const CLI::Option* option, std::vector<std::string> choices) {
  known_choices()[option] = std::move(choices);
}

std::vector<std::string> choices_of(const CLI::Option* option) {
  const auto found = known_choices().find(option);
  return found == known_choices().end() ? std::vector<std::string>() : found->second;
}

}  // namespace tessera::cli
