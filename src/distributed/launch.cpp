#include "distributed/launch.h"

#include <charconv>
#include <optional>

#include "runtime/error.h"
#include "runtime/threads.h"

namespace tessera {
namespace {

constexpr int kUsualPort = 29500;  // torchrun's
constexpr int kFirstSlurmPort = 20000, kSlurmPorts = 10000;

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}

  std::string text(const char* name) const {
    const char* value = environment_(name);
    return value == nullptr ? std::string() : std::string(value);
  }
  bool has(const char* name) const { return !text(name).empty(); }
  int number(const char* name, int least, int most) const {
    const auto value = text(name);
    if (value.empty()) throw UsageError(fmt::format("{} is not set, expected {} to {}", name, least, most));
    int number = 0;
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || number < least || number > most)
      throw UsageError(fmt::format("{} is '{}', expected {} to {}", name, value, least, most));
    return number;
  }
  int number_or(const char* name, int least, int most, int otherwise) const {
    return has(name) ? number(name, least, most) : otherwise;
  }

 private:
  const Environment& environment_;
};

constexpr int kMostRanks = 65536, kMostPort = 65535;

void read_place(const Variables& from, const char* rank, const char* count, const char* local, Launch& launch) {
  launch.count = from.number(count, 1, kMostRanks);
  launch.rank = from.number(rank, 0, launch.count - 1);
  launch.local_rank = from.number_or(local, 0, kMostRanks, 0);
}

/// A port that the ranks of one Slurm job agree on and that two jobs on a machine seldom share.
int slurm_port(const Variables& from) {
  return kFirstSlurmPort + from.number_or("SLURM_JOB_ID", 0, 2147483647, 0) % kSlurmPorts;
}

}  // namespace

Fields RankOptions::fields() {
  return {{"processes", "processes that share the training, started on this machine; under torchrun, srun or mpirun 1",
           &processes},
          {"rank_timeout",
           "seconds in which all ranks of a job must come, and of silence after which one of them is lost and all end",
           &rank_timeout},
          {"rendezvous",
           "file of the job's own in a folder that all machines share, where its ranks find each other; empty: "
           "MASTER_ADDR and MASTER_PORT",
           &rendezvous},
          {"shard_optimizer",
           "each rank keeps Adam's moments and the averaged weights of its part of the weights alone (ZeRO-1): less "
           "memory, the same bits",
           &shard_optimizer},
          {"overlap_gradients", "exchange gradients while those of earlier layers are still computed: the same bits",
           &overlap_gradients}};
}

void RankOptions::validate() const {
  if (processes < 1 || processes > 1024) throw UsageError(fmt::format("--processes {}: expected 1 to 1024", processes));
  if (!(rank_timeout >= 2 && rank_timeout <= 86400))
    throw UsageError(fmt::format("--rank-timeout {}: expected 2 to 86400 seconds", rank_timeout));
}

std::string first_slurm_host(const std::string& list) {
  const auto end = list.find_first_of(",[");
  auto host = list.substr(0, end);
  if (end == std::string::npos || list[end] == ',') return host;
  const auto stop = list.find_first_of("-,]", end + 1);
  return host + list.substr(end + 1, stop == std::string::npos ? stop : stop - end - 1);
}

Launch launch_from(const Environment& environment, const RankOptions& options) {
  const Variables from(environment);
  Launch launch;
  int usual_port = kUsualPort;
  bool on_one_machine = false;
  if (from.has("RANK") || from.has("WORLD_SIZE")) {
    launch.by = "RANK and WORLD_SIZE";
    read_place(from, "RANK", "WORLD_SIZE", "LOCAL_RANK", launch);
    on_one_machine = from.number_or("LOCAL_WORLD_SIZE", 1, kMostRanks, 0) == launch.count;
    launch.store_waits = from.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
    if (launch.store_waits)
      launch.prefix = fmt::format("/worker/attempt_{}", from.number_or("TORCHELASTIC_RESTART_COUNT", 0, 1 << 30, 0));
  } else if (from.has("SLURM_PROCID") && from.has("SLURM_NTASKS") &&
             (from.has("SLURM_STEP_NODELIST") || from.has("MASTER_ADDR"))) {
    // A batch script itself has the first two as well, and no step's nodes: there one process is meant.
    launch.by = "srun";
    read_place(from, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", launch);
    launch.host = first_slurm_host(from.text("SLURM_STEP_NODELIST"));
    usual_port = slurm_port(from);
  } else if (from.has("OMPI_COMM_WORLD_SIZE")) {
    launch.by = "mpirun";
    read_place(from, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", launch);
    on_one_machine = from.number_or("OMPI_COMM_WORLD_LOCAL_SIZE", 1, kMostRanks, 0) == launch.count;
  }
  if (launch.count == 1) return Launch{};
  // What --processes itself started has the flag as well.
  if (options.processes > 1 && from.number_or(kProcessesVariable, 1, kMostRanks, 0) != options.processes)
    throw UsageError(fmt::format("--processes {}: {} started {} ranks already, expected 1", options.processes,
                                 launch.by, launch.count));
  if (!options.rendezvous.empty()) {
    launch.file = options.rendezvous;
    launch.store_waits = false;
    launch.prefix.clear();
    return launch;
  }
  if (from.has("MASTER_ADDR")) launch.host = from.text("MASTER_ADDR");
  if (launch.host.empty() && on_one_machine) launch.host = "127.0.0.1";
  if (launch.host.empty())
    throw UsageError(fmt::format(
        "MASTER_ADDR is not set, expected the machine of rank 0 ({} started {} ranks), or --rendezvous FILE", launch.by,
        launch.count));
  launch.port = from.number_or("MASTER_PORT", 1, kMostPort, usual_port);
  return launch;
}

}  // namespace tessera
