#include "runtime/shard.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/error.h"

namespace tessera {
namespace shard_test {

TEST(Shard, EveryNumberOfThemCoversAllItemsOnce) {
  for (std::int64_t total : {0, 1, 7, 100}) {
    for (std::int64_t count : {1, 2, 3, 8, 200}) {
      std::int64_t at = 0;
      for (std::int64_t index = 0; index < count; ++index) {
        const Shard shard{index, count};
        EXPECT_EQ(shard.begin(total), at);
        at = shard.end(total);
        EXPECT_EQ(shard.part(0, 3).begin(total), shard.begin(total));
        EXPECT_EQ(shard.part(2, 3).end(total), shard.end(total));
      }
      EXPECT_EQ(at, total);
    }
  }
}

TEST(Shard, ReadsWhatIsTypedAndSlurmsArray) {
  EXPECT_EQ(shard_from("2/8").index, 2);
  EXPECT_EQ(shard_from("2/8").count, 8);
  for (const char* wrong : {"", "1", "8/8", "-1/2", "1/0", "a/b", "1/2x", "0/1000001"})
    EXPECT_THROW((void)shard_from(wrong), UsageError) << wrong;
  EXPECT_THROW((void)shard_from("array"), UsageError) << "no task of an array";
  ::setenv("SLURM_ARRAY_TASK_ID", "7", 1);
  ::setenv("SLURM_ARRAY_TASK_MIN", "5", 1);
  ::setenv("SLURM_ARRAY_TASK_COUNT", "4", 1);
  EXPECT_EQ(shard_from("array").index, 2);
  EXPECT_EQ(shard_from("array").count, 4);
  ::setenv("SLURM_ARRAY_TASK_ID", "9", 1);
  EXPECT_THROW((void)shard_from("array"), UsageError) << "an array with gaps";
  for (const char* name : {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"}) ::unsetenv(name);
}

}  // namespace shard_test
}  // namespace tessera
