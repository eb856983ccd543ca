#include "cli/threads.h"

#include <torch/torch.h>

#include <thread>

#include "runtime/error.h"

namespace tessera::cli {

void set_threads(int threads) {
  if (threads < 0 || threads > 1024) throw UsageError(fmt::format("--threads {}: expected 0 to 1024", threads));
  torch::set_num_threads(threads > 0 ? threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
}

}  // namespace tessera::cli
