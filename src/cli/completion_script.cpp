/// Completions for bash, zsh and fish, made from the verbs and their options.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command_tree.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

/// In single quotes for a shell.
std::string quoted_once(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::vector<std::string> names_below(const VerbEntry& verb) {
  std::vector<std::string> names;
  for (const auto& below : verb.verbs) names.push_back(below.path.back());
  return names;
}

std::string flags_of(const VerbEntry& verb) {
  std::vector<std::string> flags;
  for (const auto& option : verb.options) {
    if (option.positional) continue;
    for (const auto& name : option.names) flags.push_back(name);
  }
  return fmt::format("{}", fmt::join(flags, " "));
}

/// The verb's words with a slash: what the scripts below keep of the words typed.
std::string key_of(const VerbEntry& verb) {
  return verb.name("/");
}

std::string bash_script(const VerbEntry& tree) {
  std::string step, words, values;
  for (const auto* verb : all_verbs(tree)) {
    const auto key = key_of(*verb);
    for (const auto& name : names_below(*verb)) step += fmt::format("      {}:{}) at={}/{} ;;\n", key, name, key, name);
    words += fmt::format("    {}) words={} ;;\n", key,
                         quoted_once(fmt::format("{} {}", fmt::join(names_below(*verb), " "), flags_of(*verb))));
    for (const auto& option : verb->options) {
      if (option.positional || !option.takes_value()) continue;
      for (const auto& name : option.names) {
        values += fmt::format("    {}:{}) {} ;;\n", key, name,
                              option.choices.empty()
                                  ? std::string("return 0")
                                  : fmt::format("COMPREPLY=($(compgen -W {} -- \"$cur\")); return 0",
                                                quoted_once(fmt::format("{}", fmt::join(option.choices, " ")))));
      }
    }
  }
  return fmt::format(R"(# bash completion of tessera: source <(tessera completion bash)
_tessera() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} at=tessera word words= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${{COMP_WORDS[i]}}
    case "$at:$word" in
{}    esac
  done
  case "$at:$prev" in
{}  esac
  case "$at" in
{}  esac
  [[ $cur == -* || $COMP_CWORD -eq 1 || $at == tessera/train || $at == tessera/dataset ]] &&
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  return 0
}}
complete -o filenames -o bashdefault -o default -F _tessera tessera
)",
                     step, values, words);
}

/// A description within zsh's and fish's lists: the text before any detail.
std::string short_help(const std::string& help) {
  constexpr std::size_t kMost = 90;
  return help.size() <= kMost ? help : help.substr(0, help.rfind(' ', kMost)) + " ..";
}

std::string zsh_description(const std::string& help) {
  std::string result;
  for (const char c : short_help(help)) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

void add_zsh_function(const VerbEntry& verb, std::string& script) {
  script += fmt::format("_{}() {{\n", verb.name("_"));
  std::string arguments;
  for (const auto& option : verb.options) {
    if (option.positional) continue;
    const auto value = !option.takes_value()    ? std::string()
                       : option.choices.empty() ? fmt::format(":{}:_files", option.type)
                                                : fmt::format(":{}:({})", option.type, fmt::join(option.choices, " "));
    for (const auto& name : option.names) {
      arguments += fmt::format(" \\\n    {}", quoted_once(fmt::format("{}{}[{}]{}", option.repeatable ? "*" : "", name,
                                                                      zsh_description(option.help), value)));
    }
  }
  if (verb.verbs.empty()) {
    script += fmt::format("  _arguments{} \\\n    '*:file:_files'\n}}\n", arguments);
    return;
  }
  script += fmt::format("  local state\n  _arguments -C{} \\\n    '1:verb:->verb' \\\n    '*::argument:->argument'\n",
                        arguments);
  script += "  case $state in\n    verb)\n      local -a verbs=(\n";
  for (const auto& below : verb.verbs)
    script += fmt::format("        {}\n",
                          quoted_once(fmt::format("{}:{}", below.path.back(), short_help(below.description))));
  script += fmt::format("      )\n      _describe verb verbs\n      {};;\n    argument)\n      case $words[1] in\n",
                        verb.path.empty() ? "" : "_files\n      ");
  for (const auto& below : verb.verbs)
    script += fmt::format("        {}) _{} ;;\n", below.path.back(), below.name("_"));
  script += fmt::format("        *) {} ;;\n      esac\n      ;;\n  esac\n}}\n", verb.path.empty() ? "true" : "_files");
}

std::string zsh_script(const VerbEntry& tree) {
  std::string script =
      "#compdef tessera\n# zsh completion of tessera: source <(tessera completion zsh), after compinit\n";
  for (const auto* verb : all_verbs(tree)) add_zsh_function(*verb, script);
  return script + "if [[ $funcstack[1] == _tessera ]]; then\n  _tessera \"$@\"\nelse\n  compdef _tessera tessera\nfi\n";
}

std::string fish_script(const VerbEntry& tree) {
  std::string script =
      "# fish completion of tessera: tessera completion fish | source\n"
      "function __tessera_at\n"
      "  set -l words (commandline -opc)\n  set -l at tessera\n  for word in $words[2..-1]\n"
      "    switch \"$at:$word\"\n";
  for (const auto* verb : all_verbs(tree)) {
    for (const auto& below : verb->verbs)
      script += fmt::format("      case {}\n        set at {}\n", quoted_once(key_of(*verb) + ":" + below.path.back()),
                            key_of(below));
  }
  script += "    end\n  end\n  test \"$at\" = \"$argv[1]\"\nend\n";
  for (const auto* verb : all_verbs(tree)) {
    const auto where = fmt::format("complete -c tessera -n '__tessera_at {}'", key_of(*verb));
    for (const auto& below : verb->verbs)
      script += fmt::format("{} -a {} -d {}\n", where, below.path.back(), quoted_once(short_help(below.description)));
    for (const auto& option : verb->options) {
      if (option.positional) continue;
      script += where;
      for (const auto& name : option.names)
        script +=
            name.starts_with("--") ? fmt::format(" -l {}", name.substr(2)) : fmt::format(" -s {}", name.substr(1));
      if (option.takes_value()) script += " -r";
      if (!option.choices.empty())
        script += fmt::format(" -f -a {}", quoted_once(fmt::format("{}", fmt::join(option.choices, " "))));
      script += fmt::format(" -d {}\n", quoted_once(short_help(option.help)));
    }
  }
  return script;
}

}  // namespace

std::string completion_script(const VerbEntry& tree, const std::string& shell) {
  if (shell == "bash") return bash_script(tree);
  if (shell == "zsh") return zsh_script(tree);
  if (shell == "fish") return fish_script(tree);
  throw UsageError(fmt::format("completion {}: expected bash, zsh or fish", shell));
}

}  // namespace tessera::cli
