#include "cli/rank_flags.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "cli/field_options.h"
#include "cli/share_flags.h"
#include "distributed/local_job.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/processor_nodes.h"
#include "runtime/stop_signal.h"
#include "runtime/threads.h"

namespace tessera::cli {

void add_rank_flags(CLI::App& verb, RankFlags& flags) {
  flags.apply = add_field_options(verb, flags.options.fields(), kShareGroup);
}

void run_on_ranks(const RankFlags& flags, int threads, const std::function<void(std::shared_ptr<Ranks>)>& work) {
  flags.apply();
  flags.options.validate();
  const auto launch = launch_from([](const char* name) { return std::getenv(name); }, flags.options);
  if (launch.count == 1 && flags.options.processes > 1) {
    const int status = run_as_ranks(static_cast<int>(flags.options.processes), flags.options.rank_timeout);
    if (status != 0) throw ProcessesEnded{status};
    return;
  }
  const auto ranks = std::make_shared<Ranks>(flags.options, launch);
  if (!ranks->is_first()) log().set_level(spdlog::level::warn);
  if (const int here = ranks->on_this_machine(); here > 1) {
    // As many on each rank: sums depend on it.
    const int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    set_threads(settle_worker(ranks->local_rank(), here, threads > 0 ? threads : std::max(1, processors / here)));
  } else {
    set_threads(threads);
  }
  try {
    work(ranks);
  } catch (const Interrupted&) {
    throw;  // all ranks stop together
  } catch (const std::exception& error) {
    ranks->say_failed(fmt::format("rank {} of {} failed: {}", ranks->rank(), ranks->count(), error.what()));
    throw;
  }
}

}  // namespace tessera::cli
