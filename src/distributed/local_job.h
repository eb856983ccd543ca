/// Processes of this program on this machine that share one job.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tessera {

/// Name and value.
using Variable = std::pair<std::string, std::string>;

struct LocalProcess {
  std::vector<std::string> arguments;  // the first one is the program's name
  std::vector<Variable> variables;     // laid over this process's own
};

/// Runs all of them to their end. The first one has this process's standard output and error; of the others the last
/// line is shown where one of them fails and the first one cannot say so. Signals to this process are handed on. Where
/// one fails the others are given `grace` seconds to end by themselves. Out: 0, else the status of the first that
/// failed.
int run_processes(const std::vector<LocalProcess>& processes, double grace);

/// The command line of this process.
std::vector<std::string> own_arguments();

/// Starts this command again as ranks 0 to processes - 1, which meet at a store that this process holds. Out: as
/// run_processes. Throws Error where this LibTorch has no Gloo.
int run_as_ranks(int processes, double rank_timeout);

}  // namespace tessera
