/// Flags of bulk work that is cut into shards: for machines that need not know of each other, and for several processes
/// on one. What is made does not depend on them, so no record holds them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "runtime/shard.h"

namespace tessera::cli {

/// Heading of flags that decide who makes something, not what is made.
inline constexpr const char* kShareGroup = "Several processes";

struct ShareFlags {
  std::string shard = "0/1";
  std::int64_t processes = 1;

  /// Throws UsageError naming the flag.
  void validate() const;
  /// What this process makes itself.
  Shard own() const;
  /// Whether it starts others, which make it.
  bool starts_processes() const;
  /// Runs this command in each of them. Throws ProcessesEnded where one fails.
  void run() const;
};

void add_share_flags(CLI::App& verb, ShareFlags& flags);

}  // namespace tessera::cli
