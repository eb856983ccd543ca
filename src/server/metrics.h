/// Counts and sizes of the service in Prometheus' text format (exposition format 0.0.4).
#pragma once

#include <map>
#include <mutex>
#include <string>

namespace tessera::server {

class Metrics {
 public:
  /// Adds to a counter. In: a name of the list in metrics.cpp, labels as they are printed (`state="done"`; empty:
  /// none).
  void add(const std::string& name, const std::string& labels = {}, double by = 1);
  /// Sets a gauge.
  void set(const std::string& name, double value, const std::string& labels = {});
  /// 0 where nothing was counted yet.
  double value(const std::string& name, const std::string& labels = {}) const;
  /// Every family with its help and type, and the series that have a value.
  std::string text() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, double>> series_;  // by name, then labels
};

}  // namespace tessera::server
