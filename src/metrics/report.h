/// The report of an evaluation: one HTML file with everything in it (plots as SVG, pictures as data), and the same
/// numbers as JSON.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "image/image.h"

namespace tessera {

class HtmlReport {
 public:
  explicit HtmlReport(std::string title) : title_(std::move(title)) {}

  void heading(const std::string& text);
  void paragraph(const std::string& text);
  /// First row: the column names. Rows may differ in length.
  void table(const std::vector<std::vector<std::string>>& rows);
  /// Names and values of a JSON object; nested objects as "outer inner". Arrays are left to the JSON file.
  void figures(const nlohmann::ordered_json& object);
  void plot(const std::string& svg);
  /// A picture, shown at `scale` times its size.
  void picture(const Image& image, const std::string& caption, int scale = 1);
  void code(const std::string& text);

  std::string html() const;
  /// Atomically.
  void write(const std::filesystem::path& path) const;

 private:
  std::string title_, body_;
};

/// RFC 4648, with padding.
std::string base64(std::string_view bytes);

/// A number for people: up to four significant digits after the leading ones, integers whole.
std::string number_text(double value);

}  // namespace tessera
