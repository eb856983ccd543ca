/// Plots as inline SVG for the reports: no script, no font, no file beside them.
#pragma once

#include <string>
#include <vector>

namespace tessera {

/// One line of a plot.
struct Series {
  std::string name;
  std::vector<double> x, y;  // of one length; points that are not finite are left out
};

struct PlotOptions {
  std::string title, x_label, y_label;
  bool logarithmic_x = false;     // x > 0 then
  int width = 560, height = 320;  // pixels
};

/// Lines with their points and a legend. Throws Error where no point is finite.
std::string line_plot(const std::vector<Series>& series, const PlotOptions& options);

/// Bars 0, 1, 2 ... from 0 up; more than the plot has room for are summed in groups.
std::string bar_plot(const std::vector<double>& values, const PlotOptions& options);

/// Text with the characters that HTML reserves replaced.
std::string html_escape(const std::string& text);

}  // namespace tessera
