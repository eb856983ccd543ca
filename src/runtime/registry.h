/// Named things of one kind, each entered once: whoever lists, checks or documents them asks here.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/error.h"

namespace tessera {

/// Entry has a member `name`. Entries are added before threads look at them, and stay where they are.
template <typename Entry>
class Registry {
 public:
  /// kind: what messages call an entry ("sampler").
  Registry(std::string kind, std::vector<Entry> entries) : kind_(std::move(kind)) {
    for (auto& entry : entries) add(std::move(entry));
  }

  /// Throws Error where the name is taken.
  void add(Entry entry) {
    require(find(entry.name) == nullptr, "{} '{}': registered twice", kind_, entry.name);
    entries_.push_back(std::move(entry));
  }
  void remove(std::string_view name) {
    entries_.erase(
        std::remove_if(entries_.begin(), entries_.end(), [&](const Entry& each) { return each.name == name; }),
        entries_.end());
  }

  const Entry* find(std::string_view name) const {
    const auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](const Entry& each) { return each.name == name; });
    return found == entries_.end() ? nullptr : &*found;
  }
  /// Throws UsageError listing the names.
  const Entry& at(std::string_view name) const {
    if (const auto* found = find(name)) return *found;
    throw UsageError(fmt::format("{} '{}': expected one of {}", kind_, name, fmt::join(names(), ", ")));
  }

  const std::deque<Entry>& entries() const { return entries_; }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : entries_) result.push_back(entry.name);
    return result;
  }

 private:
  std::string kind_;
  std::deque<Entry> entries_;
};

}  // namespace tessera
