#include "cli/share_flags.h"

#include <cstdlib>
#include <vector>

#include "cli/rank_flags.h"
#include "distributed/local_job.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

constexpr const char* kChildShard = "TESSERA_SHARD";  // of a process that --processes started
constexpr double kShardGrace = 5;                     // seconds for the others where one fails

}  // namespace

void ShareFlags::validate() const {
  if (processes < 1 || processes > 1024) throw UsageError(fmt::format("--processes {}: expected 1 to 1024", processes));
  (void)shard_from(shard);
}

Shard ShareFlags::own() const {
  const char* child = std::getenv(kChildShard);
  return shard_from(child != nullptr ? child : shard);
}

bool ShareFlags::starts_processes() const {
  return processes > 1 && std::getenv(kChildShard) == nullptr;
}

void ShareFlags::run() const {
  std::vector<LocalProcess> children;
  const auto whole = shard_from(shard);
  for (std::int64_t i = 0; i < processes; ++i) {
    children.push_back(
        {own_arguments(),
         {{kChildShard, whole.part(i, processes).text()}, {kProcessesVariable, std::to_string(processes)}}});
  }
  if (const int status = run_processes(children, kShardGrace); status != 0) throw ProcessesEnded{status};
}

void add_share_flags(CLI::App& verb, ShareFlags& flags) {
  verb.add_option("--shard", flags.shard, Shard::kHelp)->capture_default_str()->group(kShareGroup);
  verb.add_option("--processes", flags.processes, "processes on this machine that share the work")
      ->capture_default_str()
      ->group(kShareGroup);
}

}  // namespace tessera::cli
