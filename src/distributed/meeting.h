/// Where the ranks of a job meet: a store that all of them reach, and who came. Errors name ranks that came and that
/// did not, the addresses that were tried and the interface.
#pragma once

#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "distributed/launch.h"

namespace tessera {

struct Meeting {
  c10::intrusive_ptr<c10d::Store> store;  // under the job's own prefix
  c10::intrusive_ptr<c10d::Store> beats;  // another connection to it: a wait on one does not hold up the other
  std::string address;                    // at which the others reach this rank
  std::vector<std::string> names;         // of all ranks, for errors: "rank 1 of 4 (node2, process 77)"
  int on_this_machine = 1;                // ranks
  bool holds_store = false;               // its end is the store's
};

/// Returns when all ranks are there. Throws Error within options.rank_timeout and a little.
Meeting meet(const Launch& launch, const RankOptions& options);

}  // namespace tessera
