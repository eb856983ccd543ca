#include "runtime/processor_nodes.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>

namespace tessera {
namespace processor_nodes_test {

namespace fs = std::filesystem;

TEST(ProcessorNodes, ListsAreReadAsLinuxWritesThem) {
  EXPECT_EQ(processor_list("0-3,8,10-11\n"), (std::vector<int>{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(processor_list("5"), std::vector<int>{5});
  EXPECT_EQ(processor_list("\n"), std::vector<int>());
  EXPECT_EQ(processor_list("x,2-,3-1,-4,2,2"), std::vector<int>{2});
  EXPECT_LT(processor_list("0-2000000000").size(), 100000U);
}

TEST(ProcessorNodes, WhatThisProcessMayUseIsTold) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  int own = 0;
  while (CPU_ISSET(static_cast<std::size_t>(own), &allowed) == 0) ++own;
  const auto folder = fs::temp_directory_path() / ("tessera-nodes-" + std::to_string(::getpid()));
  for (const auto& [node, list] : std::vector<std::pair<std::string, std::string>>{{"node0", std::to_string(own)},
                                                                                   {"node1", "1023"},
                                                                                   {"node10", "0-1022"},
                                                                                   {"possible", "0"},
                                                                                   {"nodes", "0"}}) {
    fs::create_directories(folder / node);
    std::ofstream(folder / node / "cpulist") << list << "\n";
  }
  const auto nodes = processor_nodes(folder);
  fs::remove_all(folder);
  ASSERT_EQ(nodes.size(), 2U) << "none of node1 may be used";
  EXPECT_EQ(nodes[0], std::vector<int>{own});
  EXPECT_EQ(nodes[1].size(), static_cast<std::size_t>(CPU_COUNT(&allowed)));
  EXPECT_TRUE(processor_nodes(folder).empty());
  // It stays where it is told to, and that of others is refused.
  EXPECT_TRUE(stay_on({own}));
  cpu_set_t now;
  ASSERT_EQ(::sched_getaffinity(0, sizeof now, &now), 0);
  EXPECT_EQ(CPU_COUNT(&now), 1);
  EXPECT_NE(CPU_ISSET(static_cast<std::size_t>(own), &now), 0);
  ASSERT_EQ(::sched_setaffinity(0, sizeof allowed, &allowed), 0);
  EXPECT_FALSE(stay_on({}));
}

TEST(ProcessorNodes, WorkersGoRoundThem) {
  const std::vector<std::vector<int>> two = {{0, 1}, {2, 3}};
  const auto place = [&](int number, int count) { return place_of_worker(two, number, count, 4); };
  EXPECT_EQ(place(0, 2).node, two[0]);
  EXPECT_EQ(place(0, 2).processors, 2);
  EXPECT_EQ(place(1, 2).node, two[1]);
  // Of three the first and the last share a node.
  EXPECT_EQ(place(2, 3).node, two[0]);
  EXPECT_EQ(place(2, 3).processors, 1);
  EXPECT_EQ(place(0, 3).processors, 1);
  EXPECT_EQ(place(1, 3).processors, 2);
  EXPECT_EQ(place(9, 10).processors, 1) << "never none";
  for (const auto& nodes : {std::vector<std::vector<int>>{{0, 1, 2, 3}}, {}}) {
    EXPECT_TRUE(place_of_worker(nodes, 1, 2, 4).node.empty());
    EXPECT_EQ(place_of_worker(nodes, 1, 2, 4).processors, 2);
  }
}

}  // namespace processor_nodes_test
}  // namespace tessera
