#include "runtime/processor_nodes.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>

namespace tessera {
namespace {

constexpr int kMostProcessors = CPU_SETSIZE;

bool as_number(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::vector<int> processor_list(std::string_view text) {
  std::vector<int> found;
  while (!text.empty()) {
    auto piece = text.substr(0, text.find_first_of(",\n"));
    text.remove_prefix(std::min(text.size(), piece.size() + 1));
    const auto dash = piece.find('-');
    int first = 0, last = 0;
    if (!as_number(piece.substr(0, dash), first)) continue;
    if (dash == std::string_view::npos)
      last = first;
    else if (!as_number(piece.substr(dash + 1), last))
      continue;
    for (int each = std::max(0, first); each <= std::min(last, kMostProcessors - 1); ++each) found.push_back(each);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::vector<std::vector<int>> processor_nodes(const std::filesystem::path& told) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return {};
  std::map<int, std::vector<int>> by_number;
  std::error_code code;
  for (std::filesystem::directory_iterator entry(told, code), end; !code && entry != end; entry.increment(code)) {
    const auto name = entry->path().filename().string();
    int node = 0;
    if (!name.starts_with("node") || !as_number(std::string_view(name).substr(4), node)) continue;
    std::ifstream file(entry->path() / "cpulist");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    auto processors = processor_list(text);
    std::erase_if(processors, [&](int each) { return CPU_ISSET(static_cast<std::size_t>(each), &allowed) == 0; });
    if (!processors.empty()) by_number[node] = std::move(processors);
  }
  std::vector<std::vector<int>> nodes;
  for (auto& [node, processors] : by_number) nodes.push_back(std::move(processors));
  return nodes;
}

bool stay_on(const std::vector<int>& processors) {
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (const int each : processors) CPU_SET(static_cast<std::size_t>(each), &wanted);
  return !processors.empty() && ::sched_setaffinity(0, sizeof wanted, &wanted) == 0;
}

WorkerPlace place_of_worker(const std::vector<std::vector<int>>& nodes, int number, int count, int processors) {
  if (nodes.size() < 2) return {{}, std::max(1, processors / std::max(1, count))};
  const int all = static_cast<int>(nodes.size()), own = number % all;
  const int sharing = (std::max(count, number + 1) - 1 - own) / all + 1;
  const auto& node = nodes[static_cast<std::size_t>(own)];
  return {node, std::max(1, static_cast<int>(node.size()) / sharing)};
}

int settle_worker(int number, int count, int threads) {
  const auto place =
      place_of_worker(processor_nodes(), number, count, static_cast<int>(std::thread::hardware_concurrency()));
  if (!place.node.empty() && threads <= static_cast<int>(place.node.size())) stay_on(place.node);
  return threads > 0 ? threads : place.processors;
}

}  // namespace tessera
