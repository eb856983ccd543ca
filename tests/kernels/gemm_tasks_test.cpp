#include "kernels/parallel/gemm_tasks.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace tessera {
namespace product_tasks_test {

TEST(ProductTasks, MakeUpTheProductEachElementOnce) {
  const auto before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    for (const std::int64_t rows : {1, 31, 32, 33, 64, 100, 256, 257, 600, 1000}) {
      for (const std::int64_t channels : {1, 32, 33, 96, 500}) {
        SCOPED_TRACE(::testing::Message() << threads << " threads, " << rows << " rows, " << channels << " channels");
        std::vector<std::atomic<int>> met(static_cast<std::size_t>(rows * channels));
        std::atomic<bool> fits{true};
        for_each_gemm_task(rows, channels, 32, [&](std::int64_t most_rows) {
          return [&, most_rows](const GemmTask& task) {
            const bool inside = task.rows > 0 && task.rows <= most_rows && task.row + task.rows <= rows &&
                                task.channels > 0 && task.channel % 32 == 0 &&
                                task.channel + task.channels <= channels &&
                                (task.channel_after == -1 || task.channel_after < channels);
            if (!inside) {
              fits = false;
              return;
            }
            for (auto r = task.row; r < task.row + task.rows; ++r) {
              for (auto c = task.channel; c < task.channel + task.channels; ++c) {
                ++met[static_cast<std::size_t>(r * channels + c)];
              }
            }
          };
        });
        EXPECT_TRUE(fits);
        for (const auto& times : met) ASSERT_EQ(times, 1);
      }
    }
  }
  at::set_num_threads(before);
}

}  // namespace product_tasks_test
}  // namespace tessera
