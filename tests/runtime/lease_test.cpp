#include "runtime/lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "support/scratch.h"

namespace tessera {
namespace lease_test {

class LeaseTest : public ::testing::Test {
 protected:
  const std::filesystem::path folder_ = testing::scratch_folder("lease");

  /// As if the file had last been renewed so many seconds ago.
  static void age(const std::filesystem::path& file, int seconds) {
    timespec times[2];
    ASSERT_EQ(clock_gettime(CLOCK_REALTIME, &times[0]), 0);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  }
};

TEST_F(LeaseTest, OneHoldsAPieceUntilItIsGivenBack) {
  {
    const Lease first(folder_ / "piece", 30), second(folder_ / "piece", 30), other(folder_ / "other", 30);
    EXPECT_TRUE(first.is_held());
    EXPECT_FALSE(second.is_held());
    EXPECT_NE(second.holder().find("process " + std::to_string(getpid())), std::string::npos) << second.holder();
    EXPECT_TRUE(other.is_held());
  }
  EXPECT_TRUE(Lease(folder_ / "piece", 30).is_held());
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(LeaseTest, AKilledHoldersPieceIsTakenOverAfterItsSilenceAndNotBefore) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const auto child = fork();
  if (child == 0) {
    const Lease lease(folder_ / "piece", 0.8);
    if (write(ready[1], lease.is_held() ? "y" : "n", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char held = 0;
  ASSERT_EQ(read(ready[0], &held, 1), 1);
  ASSERT_EQ(held, 'y');
  // A living holder keeps it, however long.
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_FALSE(Lease(folder_ / "piece", 0.8).is_held());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const auto died = std::chrono::steady_clock::now();
  while (!Lease(folder_ / "piece", 0.8).is_held()) {
    ASSERT_LT(std::chrono::steady_clock::now() - died, std::chrono::seconds(60));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  // The last renewal was at most a quarter of the silence before the end.
  EXPECT_GE(std::chrono::steady_clock::now() - died, std::chrono::milliseconds(400));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(LeaseTest, TheSilenceThatTheHolderAnnouncedCounts) {
  const auto file = folder_ / "piece.lease";
  std::ofstream(file) << "process 1 on elsewhere, silent after 100 s, lease 1";
  age(file, 50);
  const Lease early(folder_ / "piece", 1);
  EXPECT_FALSE(early.is_held());
  EXPECT_EQ(early.holder(), "process 1 on elsewhere");
  age(file, 150);
  EXPECT_TRUE(Lease(folder_ / "piece", 1).is_held());
}

TEST_F(LeaseTest, OfManyThatSeeASilentHolderOneTakesOver) {
  for (int round = 0; round < 30; ++round) {
    const auto piece = folder_ / std::to_string(round);
    const auto file = std::filesystem::path(piece) += ".lease";
    std::ofstream(file) << "process 1 on elsewhere, silent after 5 s, lease 1";
    age(file, 10);
    std::atomic<int> held = 0, done = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&] {
        const Lease lease(piece, 5);
        held += lease.is_held();
        ++done;
        while (done < 6) std::this_thread::yield();  // nobody gives it back before all have asked
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_LE(held, 1) << round;
    // Where all met in the same moment nobody may have it: then it is free for whoever asks next.
    EXPECT_TRUE(held == 1 || Lease(piece, 5).is_held()) << round;
  }
}

TEST_F(LeaseTest, AFolderThatCannotBeWrittenIsNamed) {
  std::ofstream(folder_ / "file") << "x";
  try {
    const Lease lease(folder_ / "file" / "piece", 1);
    FAIL() << "expected an error";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find((folder_ / "file").string()), std::string::npos) << error.what();
  }
}

}  // namespace lease_test
}  // namespace tessera
