/// Waiting threads of the program sleep where other programs compute, unless its user said how they are to wait.
#include <thread>

#include "cli/program.h"

namespace tessera {
namespace waiting_test {

/// How many parked OpenMP threads the program has when three of it have computed side by side, each on every processor.
std::string parked_with(const std::string& settings) {
  const auto program =
      fmt::format("env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT {} '{}' bench --quick -t {} >/dev/null 2>&1", settings,
                  TESSERA_PROGRAM, std::max(2U, std::thread::hardware_concurrency()));
  // Looked for until it is there: a busy machine may start them late. Threads may end between their listing and
  // reading.
  return testing::run_command(fmt::format("{0} & first=$!; {0} & second=$!; {0} & third=$!; "
                                          "for i in 1 2 3 4 5 6 7 8; do sleep 1; "
                                          "found=$(cat /proc/$first/task/*/comm 2>/dev/null | grep -c omp-parked); [ "
                                          "$found -gt 0 ] && break; done; "
                                          "kill -9 $first $second $third; echo $found",
                                          program))
      .output;
}

TEST(Waiting, ATeamIsParkedWhereOtherProgramsCompute) {
#ifndef _OPENMP
  GTEST_SKIP() << "built without OpenMP";
#endif
  if (!std::filesystem::exists("/proc/self/schedstat")) GTEST_SKIP() << "this kernel does not count waiting";
  EXPECT_EQ(parked_with(""), "2\n");
}

TEST(Waiting, WhatTheUserSetStays) {
  EXPECT_EQ(parked_with("OMP_WAIT_POLICY=passive"), "0\n");
  EXPECT_EQ(parked_with("GOMP_SPINCOUNT=7"), "0\n");
}

}  // namespace waiting_test
}  // namespace tessera
