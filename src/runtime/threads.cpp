#include "runtime/threads.h"

#include <dlfcn.h>
#include <pthread.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <semaphore>
#include <thread>
#include <utility>

#include "runtime/error.h"

namespace tessera {
namespace {

/// OpenBLAS keeps threads of its own, which torch::set_num_threads does not reach: without this, -t 1 still computes
/// float32 products on every processor.
void set_blas_threads(int threads) {
  using Setter = void (*)(int);
  if (const auto set = reinterpret_cast<Setter>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(threads);
}

#ifdef _OPENMP
/// Seconds that this process's threads were ready to run and had no processor, all together; 0 where the kernel does
/// not say.
double waited_for_a_processor() {
  double nanoseconds = 0;
  std::error_code error;
  if (const char* stand_in =
          std::getenv("TESSERA_TEST_WAITED")) {  // a file of nanoseconds: tests cannot load a machine
    std::ifstream(stand_in) >> nanoseconds;
    return nanoseconds * 1e-9;
  }
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream file(task.path() / "schedstat");  // time on a processor, time waiting for one, slices
    double ran = 0, waited = 0;
    if (file >> ran >> waited) nanoseconds += waited;
  }
  return nanoseconds * 1e-9;
}

/// Waiting threads of GCC's OpenMP spin 300,000 times before they sleep. Alone that is fastest; where another program
/// wants the same processors each holds the other up, up to fiftyfold
/// (docs/decisions/waiting-threads-sleep.md). The count can be set only in the environment, before the library is
/// loaded, but with more OpenMP threads than processors it falls to 100 (libgomp's manual, GOMP_SPINCOUNT). So: as soon
/// as threads of ours wait for a processor, a team that sleeps for ever makes it so.
void sleep_while_waiting_where_others_compute(int threads, int processors) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  static bool started = false;
  if (std::exchange(started, true)) return;
  std::thread([team = std::max(2, processors - threads + 2)] {
    pthread_setname_np(pthread_self(), "processor-watch");
    constexpr auto kLook = std::chrono::milliseconds(200);
    constexpr double kShared = 0.04;  // seconds of waiting in that time; alone it is about 0.004
    int shared = 0;                   // looks in a row that found so much
    for (auto before = waited_for_a_processor(); shared < 2;) {
      std::this_thread::sleep_for(kLook);
      const auto now = waited_for_a_processor();
      shared = now - std::exchange(before, now) > kShared ? shared + 1 : 0;
    }
    static auto& never = *new std::binary_semaphore(0);  // outlives everything that is destroyed at exit
#pragma omp parallel num_threads(team)
    {
      pthread_setname_np(pthread_self(), "omp-parked");
      never.acquire();
    }
  }).detach();
}
#endif

}  // namespace

void set_threads(int threads) {
  if (threads < 0 || threads > 1024) throw UsageError(fmt::format("--threads {}: expected 0 to 1024", threads));
  const int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const char* shared = std::getenv(kProcessesVariable);
  const int wanted = threads > 0 ? threads : std::max(1, processors / std::max(1, shared ? std::atoi(shared) : 1));
  torch::set_num_threads(wanted);
  set_blas_threads(wanted);
#ifdef _OPENMP
  if (wanted > 1) sleep_while_waiting_where_others_compute(wanted, processors);
#endif
}

}  // namespace tessera
