/// Flags of verbs that several processes share, on one machine or many.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "distributed/ranks.h"

namespace tessera::cli {

/// Processes that this one started ended with a status, and have said why.
struct ProcessesEnded {
  int status = 1;
};

struct RankFlags {
  RankOptions options;
  std::function<void()> apply;  // the flags as typed
};

void add_rank_flags(CLI::App& verb, RankFlags& flags);

/// `work` on all ranks of the job that this process belongs to, or that --processes starts; it is given this rank's.
/// threads: 0 shares the machine's processors among its ranks. Ranks other than the first say warnings and errors
/// alone. Throws ProcessesEnded where those that were started failed.
void run_on_ranks(const RankFlags& flags, int threads, const std::function<void(std::shared_ptr<Ranks>)>& work);

}  // namespace tessera::cli
