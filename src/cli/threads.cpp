#include "cli/threads.h"

#include <dlfcn.h>
#include <torch/torch.h>

#include <thread>

#include "runtime/error.h"

namespace tessera::cli {
namespace {

/// OpenBLAS keeps threads of its own, which torch::set_num_threads does not reach: without this, -t 1 still computes
/// float32 products on every processor.
void set_blas_threads(int threads) {
  using Setter = void (*)(int);
  if (const auto set = reinterpret_cast<Setter>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(threads);
}

}  // namespace

void set_threads(int threads) {
  if (threads < 0 || threads > 1024) throw UsageError(fmt::format("--threads {}: expected 0 to 1024", threads));
  const int wanted = threads > 0 ? threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  torch::set_num_threads(wanted);
  set_blas_threads(wanted);
}

}  // namespace tessera::cli
