#include "metrics/plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr int kLeft = 64, kRight = 16, kTop = 34, kBottom = 48;  // margins, pixels
constexpr std::array<const char*, 8> kColours = {"#2563eb", "#dc2626", "#059669", "#d97706",
                                                 "#7c3aed", "#0891b2", "#be185d", "#4d7c0f"};

/// A number range as shown.
struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void widen() {
    if (high - low < 1e-12 * std::max(std::abs(high), 1e-300)) {
      const double room = std::max(std::abs(low) * 0.1, 1e-6);
      low -= room;
      high += room;
      return;
    }
    const double room = (high - low) * 0.05;
    low -= room;
    high += room;
  }
  double share(double value) const { return (value - low) / (high - low); }
};

/// 1, 2 or 5 times a power of ten: a step that gives about `count` ticks.
double tick_step(double span, int count) {
  const double rough = span / count, power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10 * power;
}

std::string tick_text(double value) {
  return fmt::format("{:.4g}", std::abs(value) < 1e-12 ? 0.0 : value);
}

class Canvas {
 public:
  explicit Canvas(const PlotOptions& options) : options_(options) {
    svg_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" "
        "font-family=\"sans-serif\" font-size=\"11\"><rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>",
        options.width, options.height);
    text(options.width / 2.0, 18, "middle", options.title, " font-size=\"13\" font-weight=\"bold\"");
    text((kLeft + options.width - kRight) / 2.0, options.height - 8.0, "middle", options.x_label);
    svg_ += fmt::format("<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                        (kTop + options.height - kBottom) / 2.0, html_escape(options.y_label));
  }
  double x(double share) const { return kLeft + share * (options_.width - kLeft - kRight); }
  double y(double share) const { return options_.height - kBottom - share * (options_.height - kTop - kBottom); }
  void text(double at_x, double at_y, const char* anchor, const std::string& content, const std::string& more = "") {
    svg_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>", at_x, at_y, anchor, more,
                        html_escape(content));
  }
  void add(const std::string& element) { svg_ += element; }
  void y_axis(const Range& range) {
    const double step = tick_step(range.high - range.low, 5);
    for (double value = std::ceil(range.low / step) * step; value <= range.high; value += step) {
      const double at = y(range.share(value));
      add(fmt::format("<line x1=\"{}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#e5e7eb\"/>", kLeft, at, x(1),
                      at));
      text(kLeft - 6, at + 4, "end", tick_text(value));
    }
  }
  void x_tick(double share, const std::string& label) {
    add(fmt::format("<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#9ca3af\"/>", x(share),
                    y(0), y(0) + 4));
    text(x(share), y(0) + 17, "middle", label);
  }
  std::string finish() {
    add(fmt::format("<path d=\"M{0} {1:.1f}V{2:.1f}H{3:.1f}\" fill=\"none\" stroke=\"#374151\"/></svg>", kLeft, y(1),
                    y(0), x(1)));
    return std::move(svg_);
  }

 private:
  PlotOptions options_;
  std::string svg_;
};

}  // namespace

std::string html_escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string line_plot(const std::vector<Series>& series, const PlotOptions& options) {
  const auto along = [&](double value) { return options.logarithmic_x ? std::log10(value) : value; };
  const auto usable = [&](double x, double y) { return std::isfinite(along(x)) && std::isfinite(y); };
  Range across, up;
  std::vector<double> places;
  for (const auto& one : series) {
    require(one.x.size() == one.y.size(), "plot '{}': {} and {} coordinates", one.name, one.x.size(), one.y.size());
    for (std::size_t i = 0; i < one.x.size(); ++i) {
      if (!usable(one.x[i], one.y[i])) continue;
      across.take(along(one.x[i]));
      up.take(one.y[i]);
      places.push_back(one.x[i]);
    }
  }
  require(!places.empty(), "plot '{}': no finite point", options.title);
  across.widen();
  up.widen();
  Canvas canvas(options);
  canvas.y_axis(up);
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  if (places.size() <= 8) {
    for (const double place : places) canvas.x_tick(across.share(along(place)), tick_text(place));
  } else {
    const double step = tick_step(across.high - across.low, 6);
    for (double at = std::ceil(across.low / step) * step; at <= across.high; at += step) {
      canvas.x_tick(across.share(at), tick_text(options.logarithmic_x ? std::pow(10.0, at) : at));
    }
  }
  for (std::size_t s = 0; s < series.size(); ++s) {
    const auto& one = series[s];
    const auto* colour = kColours[s % kColours.size()];
    std::string points, dots;
    for (std::size_t i = 0; i < one.x.size(); ++i) {
      if (!usable(one.x[i], one.y[i])) continue;
      const double x = canvas.x(across.share(along(one.x[i]))), y = canvas.y(up.share(one.y[i]));
      points += fmt::format("{:.1f},{:.1f} ", x, y);
      if (one.x.size() <= 64)
        dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>", x, y, colour);
    }
    canvas.add(fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\"/>{}", points,
                           colour, dots));
    if (one.name.empty()) continue;
    const double line = kTop + 14.0 * static_cast<double>(s);
    canvas.add(fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"10\" height=\"3\" fill=\"{}\"/>", canvas.x(1) - 12,
                           line - 5, colour));
    canvas.text(canvas.x(1) - 16, line, "end", one.name);
  }
  return canvas.finish();
}

std::string bar_plot(const std::vector<double>& values, const PlotOptions& options) {
  require(!values.empty(), "plot '{}': no values", options.title);
  const auto room = static_cast<std::size_t>(options.width - kLeft - kRight) / 2;
  const auto group = (values.size() + room - 1) / room;
  std::vector<double> bars;
  for (std::size_t i = 0; i < values.size(); i += group) {
    double total = 0;
    for (std::size_t j = i; j < std::min(i + group, values.size()); ++j) total += values[j];
    bars.push_back(total);
  }
  Range up{0, std::max(*std::max_element(bars.begin(), bars.end()), 1e-300) * 1.05};
  Canvas canvas(options);
  canvas.y_axis(up);
  const auto count = static_cast<double>(bars.size());
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double left = canvas.x(static_cast<double>(i) / count), right = canvas.x(static_cast<double>(i + 1) / count);
    const double top = canvas.y(up.share(std::max(bars[i], 0.0)));
    canvas.add(fmt::format("<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"{}\"/>", left,
                           top, std::max(right - left - 0.5, 0.5), canvas.y(0) - top, kColours[0]));
  }
  const double step = std::max(tick_step(static_cast<double>(values.size()), 6), 1.0);
  for (double at = 0; at < static_cast<double>(values.size()); at += step) {
    canvas.x_tick((at + 0.5 * static_cast<double>(group)) / (count * static_cast<double>(group)), tick_text(at));
  }
  return canvas.finish();
}

}  // namespace tessera
