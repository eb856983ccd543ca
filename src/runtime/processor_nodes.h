/// The machine's processors by what memory is near to them: sockets, as Linux tells of them.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace tessera {

/// A list of processors as Linux writes it ("0-3,8,10-11"), ascending. What is not one is left out.
std::vector<int> processor_list(std::string_view text);

/// By memory node, the processors of it that this process may use; nodes without any are left out. Empty: the system
/// tells of no nodes. In: where it tells of them.
std::vector<std::vector<int>> processor_nodes(const std::filesystem::path& told = "/sys/devices/system/node");

/// Keeps this process, and threads that it starts from now on, on these processors; its new memory lies near to them.
/// Out: whether the system did so.
bool stay_on(const std::vector<int>& processors);

/// What a worker has of a machine that several share.
struct WorkerPlace {
  std::vector<int> node;  // the processors that it stays on; empty: all, where there are not several nodes
  int processors = 1;     // its share of them
};

/// Worker `number` of `count`: they go round the nodes, and those of one node share it. In: processors of a machine
/// without several nodes.
WorkerPlace place_of_worker(const std::vector<std::vector<int>>& nodes, int number, int count, int processors);

/// The same for this machine: this process stays there from now on, unless it is to compute with more threads than the
/// node has processors. threads 0: its share. Out: threads to compute with.
int settle_worker(int number, int count, int threads);

}  // namespace tessera
