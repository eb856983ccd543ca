#include "distributed/launch.h"

#include <gtest/gtest.h>

#include <map>

#include "runtime/error.h"

namespace tessera {
namespace launch_test {

using Variables = std::map<std::string, std::string>;

Launch launch(const Variables& variables, const RankOptions& options = {}) {
  return launch_from(
      [&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      options);
}

std::string refusal(const Variables& variables, const RankOptions& options = {}) {
  try {
    (void)launch(variables, options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "none";
}

TEST(Launch, IsOneRankWithoutALauncher) {
  EXPECT_EQ(launch({}).count, 1);
  EXPECT_EQ(launch({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).count, 1);
  EXPECT_EQ(launch({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).count, 1) << "the batch script itself is no task";
}

TEST(Launch, FollowsTorchrun) {
  const auto found = launch({{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"MASTER_ADDR", "node1"},
                             {"MASTER_PORT", "1234"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"}});
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.count, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.host, "node1");
  EXPECT_EQ(found.port, 1234);
  EXPECT_TRUE(found.store_waits);
  EXPECT_EQ(found.prefix, "/worker/attempt_2");
}

TEST(Launch, FollowsSlurmAndOpenMpi) {
  const Variables slurm = {{"SLURM_PROCID", "3"},
                           {"SLURM_NTASKS", "4"},
                           {"SLURM_LOCALID", "1"},
                           {"SLURM_JOB_ID", "123456"},
                           {"SLURM_STEP_NODELIST", "node[07-09,12],other"}};
  EXPECT_EQ(launch(slurm).host, "node07");
  EXPECT_EQ(launch(slurm).port, 23456);
  EXPECT_EQ(launch(slurm).rank, 3);
  EXPECT_EQ(first_slurm_host("a,b"), "a");
  EXPECT_EQ(first_slurm_host("gpu[3]"), "gpu3");
  const auto mpi = launch({{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  EXPECT_EQ(mpi.rank, 1);
  EXPECT_EQ(mpi.host, "127.0.0.1") << "all of them on one machine";
}

TEST(Launch, SaysWhatIsMissing) {
  EXPECT_EQ(refusal({{"RANK", "0"}}), "WORLD_SIZE is not set, expected 1 to 65536");
  EXPECT_EQ(refusal({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), "RANK is 'x', expected 0 to 1");
  EXPECT_EQ(refusal({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), "RANK is '2', expected 0 to 1");
  EXPECT_NE(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}}).find("MASTER_ADDR is not set"), std::string::npos);
  RankOptions options;
  options.processes = 2;
  EXPECT_NE(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, options).find("--processes 2"),
            std::string::npos);
  options.processes = 0;
  EXPECT_THROW(options.validate(), UsageError);
}

}  // namespace launch_test
}  // namespace tessera
