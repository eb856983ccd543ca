/// Manual pages in the form of man(7), made from the verbs and their options.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command_tree.h"
#include "runtime/version.h"

namespace tessera::cli {
namespace {

/// Text between requests of roff.
std::string plain(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c == '\n' ? ' ' : c;
    }
  }
  return result.starts_with('.') || result.starts_with('\'') ? "\\&" + result : result;
}

std::string upper(std::string text) {
  for (auto& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string option_text(const OptionEntry& option) {
  std::vector<std::string> names;
  for (const auto& name : option.names) names.push_back(fmt::format("\\fB{}\\fR", plain(name)));
  auto text = fmt::format(".TP\n{}", fmt::join(names, ", "));
  if (option.takes_value() && !option.positional) text += fmt::format(" \\fI{}\\fR", plain(option.type));
  text += "\n" + plain(option.help.empty() ? "no further words" : option.help);
  if (!option.fallback.empty() && option.takes_value()) text += plain(fmt::format(" (default: {})", option.fallback));
  if (option.required) text += "; required";
  return text + ".\n";
}

std::string synopsis(const VerbEntry& verb) {
  std::string text = fmt::format(".B {}\n", plain(verb.name(" ")));
  for (const auto& option : verb.options) {
    if (!option.required) continue;
    text += option.positional ? fmt::format(".I {}\n", plain(option.names.front()))
                              : fmt::format("\\fB{}\\fR \\fI{}\\fR\n", plain(option.names.back()), plain(option.type));
  }
  text += "[\\fIoptions\\fR]\n";
  for (const auto& option : verb.options) {
    if (option.positional && !option.required) text += fmt::format("[\\fI{}\\fR]\n", plain(option.names.front()));
  }
  if (!verb.verbs.empty()) text += "[\\fIverb\\fR ...]\n";
  return text;
}

}  // namespace

std::string manual_page(const VerbEntry& verb, const VerbEntry& tree) {
  const auto title = verb.name("-");
  auto page = fmt::format(".TH {} 1 \"\" \"Tessera {}\" \"Tessera\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n{}",
                          plain(upper(title)), version(), plain(title), plain(verb.description), synopsis(verb));
  if (!verb.verbs.empty()) {
    page += ".SH VERBS\n";
    for (const auto& below : verb.verbs) {
      page += fmt::format(".TP\n\\fB{}\\fR\n{}.\nSee \\fB{}\\fR(1).\n", plain(below.path.back()),
                          plain(below.description), plain(below.name("-")));
    }
  }
  std::vector<std::string> groups;
  for (const auto& option : verb.options) {
    const auto group = option.positional ? std::string("Arguments") : option.group;
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  for (const auto& group : groups) {
    page += fmt::format(".SH {}\n", plain(upper(group)));
    for (const auto& option : verb.options) {
      if ((option.positional ? std::string("Arguments") : option.group) == group) page += option_text(option);
    }
  }
  page +=
      ".SH ENVIRONMENT\n.TP\n\\fBTESSERA_MODEL\\fR\nThe model where no \\fB\\-\\-model\\fR is given.\n"
      ".TP\n\\fBTESSERA_CONFIG\\fR\nThe file of defaults, in place of \\fI~/.config/tessera/config.toml\\fR.\n"
      ".TP\n\\fBTESSERA_API_KEY\\fR\nThe key shown to the service that \\fB\\-\\-server\\fR names.\n"
      ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 3 a training that was interrupted and goes on with "
      "\\fB\\-\\-resume\\fR.\n";
  if (!verb.path.empty()) page += fmt::format(".SH SEE ALSO\n\\fB{}\\fR(1)\n", plain(tree.name("-")));
  return page;
}

}  // namespace tessera::cli
