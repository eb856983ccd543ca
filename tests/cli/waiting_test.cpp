/// Waiting threads of the program sleep where other programs compute, unless its user said how they are to wait.
/// How long threads waited for a processor is told by a file, so that nothing depends on what else the machine does.
#include <thread>

#include "cli/program.h"

namespace tessera {
namespace waiting_test {

class Waiting : public testing::ProgramTest {
 protected:
  /// How many parked OpenMP threads the program has while `told` says what its threads waited: a shell command that
  /// writes to $waited, run every tenth of a second. Looked for until there are `enough`, or that was said 60 times: a
  /// team's threads do not come all at once.
  std::string parked_with(const std::string& settings, const std::string& told, unsigned enough = 1) const {
    return testing::run_command(
               fmt::format("waited={}; echo 0 >$waited; i=0; found=0; "
                           "env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT TESSERA_TEST_WAITED=$waited {} '{}' bench "
                           "--repeats 100000 -t 2 >/dev/null 2>&1 & program=$!; "
                           // The watch has begun when its thread is there.
                           "for j in $(seq 600); do grep -q processor-watch /proc/$program/task/*/comm "
                           "2>/dev/null && break; [ -n '{}' ] && [ $j -gt 100 ] && break; sleep 0.1; done; "
                           "for i in $(seq 60); do {} >$waited.new; mv $waited.new $waited; sleep 0.1; "
                           "found=$(cat /proc/$program/task/*/comm 2>/dev/null | grep -c omp-parked); "
                           "[ $found -ge {} ] && break; done; "
                           "kill -9 $program; echo $found",
                           at("waited"), settings, TESSERA_PROGRAM, settings, told, enough))
        .output;
  }
};

constexpr const char* kMuch = "echo $((i * 1000000000))";  // a second in a tenth of one
constexpr const char* kLittle = "echo $((i * 100000))";

TEST_F(Waiting, ATeamIsParkedWhereOtherProgramsCompute) {
#ifndef _OPENMP
  GTEST_SKIP() << "built without OpenMP";
#endif
  // As many more threads than processors as make waiting ones sleep.
  const auto team = std::max(2U, std::thread::hardware_concurrency());
  EXPECT_EQ(parked_with("", kMuch, team), fmt::format("{}\n", team));
}

TEST_F(Waiting, NoTeamIsParkedOnAQuietMachine) {
  EXPECT_EQ(parked_with("", kLittle), "0\n");
}

TEST_F(Waiting, WhatTheUserSetStays) {
  EXPECT_EQ(parked_with("OMP_WAIT_POLICY=passive", kMuch), "0\n");
  EXPECT_EQ(parked_with("GOMP_SPINCOUNT=7", kMuch), "0\n");
}

}  // namespace waiting_test
}  // namespace tessera
