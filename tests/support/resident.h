/// The largest memory that a process has had resident, for tests of what hostile files may take.
#pragma once

#include <fstream>
#include <string>

namespace tessera::testing {

/// A field of /proc/self/status in MiB.
inline long status_mib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name;) {
    long kib = 0;
    if (name == field + ":" && status >> kib) return kib >> 10;
    std::getline(status, name);
  }
  return 0;
}

/// Measures from its construction on.
class PeakMemory {
 public:
  PeakMemory() {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak is now what is resident now
    before_ = status_mib("VmRSS");
  }
  /// MiB beyond what was resident at first.
  long grown() const { return status_mib("VmHWM") - before_; }

 private:
  long before_ = 0;
};

}  // namespace tessera::testing
