/// Which rank of a job this process is, by the variables that torchrun, Slurm's srun and Open MPI's mpirun set.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/fields.h"

namespace tessera {

/// Flags of every verb that runs on several ranks.
struct RankOptions {
  std::int64_t processes = 1;     // to start on this machine; 1: none but this one
  double rank_timeout = 60;       // seconds: to come in, and of silence after which a rank is lost
  std::string rendezvous;         // file in a shared folder; empty: MASTER_ADDR and MASTER_PORT
  bool shard_optimizer = false;   // moments and averages of a weight lie on one rank (ZeRO-1, arXiv:1910.02054)
  bool overlap_gradients = true;  // exchange gradients while others are still computed

  Fields fields();
  /// Throws UsageError naming the flag.
  void validate() const;
};

struct Launch {
  int rank = 0, count = 1;
  int local_rank = 0;          // among those on this machine
  std::string by = "nothing";  // who said so
  std::string host;            // where rank 0 is to be met
  int port = 0;
  std::string file;          // instead of host and port
  bool store_waits = false;  // the launcher holds the store, rank 0 need not
  std::string prefix;        // of the job's keys there: a restarted job finds none of the first one's
};

/// As std::getenv.
using Environment = std::function<const char*(const char* name)>;

/// One rank where no launcher is recognised. Throws UsageError naming a variable that is missing or no number.
Launch launch_from(const Environment& environment, const RankOptions& options);

/// The first host of Slurm's list: "node[03-05,9],x" -> "node03".
std::string first_slurm_host(const std::string& list);

}  // namespace tessera
