#include "metrics/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "metrics/plots.h"
#include "runtime/atomic_file.h"

namespace tessera {
namespace {

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#111;background:#fff}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #d1d5db;padding:.25em .7em;text-align:left}"
    "th{background:#f3f4f6}td{font-variant-numeric:tabular-nums}img{image-rendering:pixelated;max-width:100%}"
    "figure{margin:1em "
    "0}figcaption{color:#4b5563}pre{background:#f3f4f6;padding:.7em;overflow:auto;white-space:pre-wrap}"
    "svg{max-width:100%;height:auto;margin:.5em 0}";

void collect(const nlohmann::ordered_json& object, const std::string& before,
             std::vector<std::vector<std::string>>& rows) {
  for (const auto& [name, value] : object.items()) {
    auto label = before.empty() ? name : fmt::format("{} {}", before, name);
    std::replace(label.begin(), label.end(), '_', ' ');
    if (value.is_object()) {
      collect(value, label, rows);
    } else if (value.is_number()) {
      rows.push_back({label, number_text(value.get<double>())});
    } else if (value.is_string()) {
      rows.push_back({label, value.get<std::string>()});
    } else if (value.is_boolean()) {
      rows.push_back({label, value.get<bool>() ? "yes" : "no"});
    }
  }
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr const char* kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) text += i + j <= bytes.size() ? kAlphabet[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::string number_text(double value) {
  if (std::isnan(value)) return "not a number";
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return std::abs(value) >= 1e-3 && std::abs(value) < 1e6 ? fmt::format("{:.4f}", value) : fmt::format("{:.4g}", value);
}

void HtmlReport::heading(const std::string& text) {
  body_ += fmt::format("<h2>{}</h2>\n", html_escape(text));
}
void HtmlReport::paragraph(const std::string& text) {
  body_ += fmt::format("<p>{}</p>\n", html_escape(text));
}
void HtmlReport::plot(const std::string& svg) {
  body_ += fmt::format("<figure>{}</figure>\n", svg);
}
void HtmlReport::code(const std::string& text) {
  body_ += fmt::format("<pre>{}</pre>\n", html_escape(text));
}

void HtmlReport::table(const std::vector<std::vector<std::string>>& rows) {
  body_ += "<table>";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const char* cell = i == 0 ? "th" : "td";
    body_ += "<tr>";
    for (const auto& text : rows[i]) body_ += fmt::format("<{0}>{1}</{0}>", cell, html_escape(text));
    body_ += "</tr>\n";
  }
  body_ += "</table>\n";
}

void HtmlReport::figures(const nlohmann::ordered_json& object) {
  std::vector<std::vector<std::string>> rows = {{"figure", "value"}};
  collect(object, "", rows);
  table(rows);
}

void HtmlReport::picture(const Image& image, const std::string& caption, int scale) {
  body_ += fmt::format(
      "<figure><img alt=\"{0}\" width=\"{1}\" "
      "src=\"data:image/png;base64,{2}\"><figcaption>{0}</figcaption></figure>\n",
      html_escape(caption), image.width * scale, base64(encode_png(image)));
}

std::string HtmlReport::html() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">"
      "<title>{0}</title><style>{1}</style></head><body>\n<h1>{0}</h1>\n{2}</body></html>\n",
      html_escape(title_), kStyle, body_);
}

void HtmlReport::write(const std::filesystem::path& path) const {
  write_file_atomically(path, html());
}

}  // namespace tessera
