#include "cli/help_formatter.h"

#include <sstream>

namespace tessera::cli {
namespace {

/// `name` in the left column, the text beside it, or below where the name is too long.
std::string entry(const std::string& name, const std::string& text) {
  std::string result;
  const auto left = wrapped(name, HelpFormatter::kWidth - 2);
  for (std::size_t i = 0; i + 1 < left.size(); ++i) result += "  " + left[i] + "\n";
  std::string line = "  " + (left.empty() ? "" : left.back());
  const auto lines = wrapped(text, HelpFormatter::kWidth - HelpFormatter::kTextAt);
  if (!lines.empty() && line.size() + 1 > HelpFormatter::kTextAt) {
    result += line + "\n";
    line.clear();
  }
  for (const auto& each : lines) {
    result += line + std::string(HelpFormatter::kTextAt - line.size(), ' ') + each + "\n";
    line.clear();
  }
  return line.empty() ? result : result + line + "\n";
}

}  // namespace

std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
  std::vector<std::string> lines;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.empty() && lines.back().size() + 1 + word.size() <= width) {
      lines.back() += " " + word;
    } else {
      lines.push_back(word);
    }
  }
  return lines;
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return entry(make_option_name(option, is_positional) + make_option_opts(option), make_option_desc(option));
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  std::istringstream lines(app->get_footer());
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    const auto begin = line.find_first_not_of(' ');
    const auto gap = begin == std::string::npos ? begin : line.find("  ", begin);  // between a name and what it means
    if (line.size() <= kWidth) {
      result += line + "\n";
    } else if (begin == 2 && gap != std::string::npos) {
      result += entry(line.substr(begin, gap - begin), line.substr(gap));
    } else {
      for (const auto& part : wrapped(line, kWidth)) result += part + "\n";
    }
  }
  return result;
}

std::string HelpFormatter::make_subcommand(const CLI::App* verb) const {
  return entry(verb->get_display_name(), verb->get_description());
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  std::string result;
  for (const auto& line : wrapped(app->get_description(), kWidth)) result += line + "\n";
  return result;
}

}  // namespace tessera::cli
