/// The program's help in lines of 80 columns.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace tessera::cli {

/// The words of a text in lines of at most `width` columns; a word longer than that has a line of its own.
std::vector<std::string> wrapped(const std::string& text, std::size_t width);

/// CLI11's layout with wrapped lines: names and types from column 2, what they mean from column 26.
class HelpFormatter : public CLI::Formatter {
 public:
  static constexpr std::size_t kWidth = 80, kTextAt = 26;

  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* verb) const override;
  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;
};

}  // namespace tessera::cli
