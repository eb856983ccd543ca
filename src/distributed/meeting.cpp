#include "distributed/meeting.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "distributed/addresses.h"
#include "distributed/tcp_store.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/version.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(1000 * seconds));
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::vector<std::uint8_t> bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string text_of(const std::vector<std::uint8_t>& value) {
  return {value.begin(), value.end()};
}

/// What a rank says of itself.
struct Seen {
  std::string machine, name, address, peer, version;
  int process = 0;
};

std::string to_text(const Seen& seen) {
  return nlohmann::json{{"machine", seen.machine}, {"name", seen.name},       {"address", seen.address},
                        {"peer", seen.peer},       {"version", seen.version}, {"process", seen.process}}
      .dump();
}

Seen seen_from(const std::string& text) {
  const auto object = json_or_discarded(text);
  require(object.is_object(), "rendezvous: '{}': not what a rank says of itself: another program's store?",
          text.substr(0, 80));
  const auto word = [&](const char* name) { return object.value(name, std::string()); };
  return {word("machine"), word("name"), word("address"), word("peer"), word("version"), object.value("process", 0)};
}

/// One rank's way into the meeting.
class Arrival {
 public:
  Arrival(const Launch& launch, const RankOptions& options)
      : launch_(launch), options_(options), until_(Clock::now() + milliseconds(options.rank_timeout)) {}

  Meeting come() {
    Meeting meeting;
    meeting.holds_store = launch_.rank == 0 && !launch_.store_waits && launch_.file.empty();
    own_.machine = machine_identity();
    own_.name = machine_name();
    own_.process = static_cast<int>(::getpid());
    own_.version = version();
    if (launch_.file.empty()) {
      open_socket(meeting);
    } else {
      open_file(meeting);
    }
    sign_in(*meeting.store);
    wait_for_all(*meeting.store);
    read_all(meeting);
    return meeting;
  }

 private:
  std::string where() const {
    return launch_.file.empty() ? fmt::format("{}:{}", launch_.host, launch_.port) : launch_.file;
  }

  c10d::TCPStoreOptions store_options(bool serves) const {
    auto options = tcp_store_options(launch_.port, serves);
    options.timeout = milliseconds(options_.rank_timeout);
    return options;
  }

  void open_socket(Meeting& meeting) {
    c10::intrusive_ptr<c10d::Store> first, second;
    if (meeting.holds_store) {
      require(port_is_free(launch_.port),
              "rank 0: port {} of this machine is in use, where its ranks are to meet: set MASTER_PORT to a free one",
              launch_.port);
      first = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", store_options(true));
      second = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", store_options(false));
      own_.address = "127.0.0.1";
    } else {
      const auto connection = try_to_connect(launch_.host, launch_.port, until_);
      if (!connection.made) throw Error(unreachable(connection));
      own_.address = connection.own;
      own_.peer = connection.peer;
      first = c10::make_intrusive<c10d::TCPStore>(connection.peer, store_options(false));
      second = c10::make_intrusive<c10d::TCPStore>(connection.peer, store_options(false));
    }
    meeting.store = c10::make_intrusive<c10d::PrefixStore>(launch_.prefix + "/tessera", std::move(first));
    meeting.beats = c10::make_intrusive<c10d::PrefixStore>(launch_.prefix + "/tessera", std::move(second));
  }

  std::string unreachable(const Connection& connection) const {
    auto text = fmt::format(
        "rank {} of {}: rank 0 does not answer at {} within {:.0f} s ({}; tried {}; interfaces here: {})", launch_.rank,
        launch_.count, where(), options_.rank_timeout, connection.problem,
        connection.tried.empty() ? "none" : fmt::format("{}", fmt::join(connection.tried, ", ")), interfaces_text());
    bool only_loopback = !connection.tried.empty();
    for (const auto& address : connection.tried) only_loopback = only_loopback && is_loopback(address);
    if (only_loopback && !is_loopback(launch_.host))
      text += fmt::format(
          "; '{}' stands for a loopback address here, which reaches this machine alone: set "
          "MASTER_ADDR to an address of rank 0's",
          launch_.host);
    return text;
  }

  void open_file(Meeting& meeting) {
    const auto folder = std::filesystem::absolute(launch_.file).parent_path();
    require(std::filesystem::is_directory(folder), "--rendezvous {}: no folder {}", launch_.file, folder.string());
    // Its number of users is not told, or the last of them would take the file away, also an earlier job's. It is never
    // given up: that would write into the file, which rank 0 removes at the end.
    static auto& kept = *new std::vector<c10::intrusive_ptr<c10d::FileStore>>();
    const auto file = kept.emplace_back(c10::make_intrusive<c10d::FileStore>(launch_.file, -1));
    file->setTimeout(milliseconds(options_.rank_timeout));
    meeting.store = c10::make_intrusive<c10d::PrefixStore>("tessera", file);
    meeting.beats = meeting.store;
    own_.address = outside_address();
  }

  void sign_in(c10d::Store& store) {
    const auto came = store.add(fmt::format("came/{}", launch_.rank), 1);
    if (!launch_.file.empty())
      require(came == 1,
              "--rendezvous {}: rank {} is in it already: it is left from a run that was killed (remove it or name "
              "another), or two processes are rank {}",
              launch_.file, launch_.rank, launch_.rank);
    require(came == 1, "rank {} came to {} a second time: two processes are rank {}, or another job meets there",
            launch_.rank, where(), launch_.rank);
    store.set(seen_key(launch_.rank), bytes(to_text(own_)));
  }

  static std::string seen_key(int rank) { return fmt::format("seen/{}", rank); }

  void wait_for_all(c10d::Store& store) {
    std::vector<bool> here(static_cast<std::size_t>(launch_.count), false);
    for (auto pause = std::chrono::milliseconds(2);; pause = std::min(2 * pause, std::chrono::milliseconds(200))) {
      std::vector<int> came, missing;
      for (int rank = 0; rank < launch_.count; ++rank) {
        const auto at = static_cast<std::size_t>(rank);
        if (!here[at]) here[at] = store.check({seen_key(rank)});
        (here[at] ? came : missing).push_back(rank);
      }
      if (missing.empty()) return;
      require(Clock::now() < until_,
              "rank {} of {}: {} {} did not come to {} within {:.0f} s, {} {} (this one by {}; interfaces here: {})",
              launch_.rank, launch_.count, missing.size() == 1 ? "rank" : "ranks", fmt::join(missing, ", "), where(),
              options_.rank_timeout, fmt::join(came, ", "), came.size() == 1 ? "is there" : "are there",
              interface_text(own_.address), interfaces_text());
      std::this_thread::sleep_for(pause);
    }
  }

  /// Where the other ranks reach each one: a rank that came over loopback lives beside rank 0, which is reached at the
  /// address at which those of other machines found it. A name that stands for 127.0.1.1 there does no harm so.
  void read_all(Meeting& meeting) {
    std::vector<Seen> all;
    for (int rank = 0; rank < launch_.count; ++rank) {
      all.push_back(seen_from(text_of(meeting.store->get(seen_key(rank)))));
      const auto& seen = all.back();
      require(seen.version == own_.version, "rank {} on {} is tessera {}, rank {} is {}: expected one version", rank,
              seen.name, seen.version, launch_.rank, own_.version);
      meeting.names.push_back(
          fmt::format("rank {} of {} ({}, process {})", rank, launch_.count, seen.name, seen.process));
    }
    meeting.on_this_machine = 0;
    bool one_machine = true;
    std::string outside;
    for (const auto& seen : all) {
      if (seen.machine == own_.machine) ++meeting.on_this_machine;
      one_machine = one_machine && seen.machine == own_.machine;
      if (!seen.peer.empty() && !is_loopback(seen.peer)) outside = seen.peer;
    }
    meeting.address = own_.address;
    if (one_machine) {
      meeting.address = "127.0.0.1";
    } else if (own_.address.empty() || is_loopback(own_.address)) {
      require(own_.machine == all.front().machine && !outside.empty(),
              "rank {} of {}: only a loopback address ({}) leads from here to the other machines; set MASTER_ADDR to "
              "an address of rank 0's, or GLOO_SOCKET_IFNAME to an interface (here: {})",
              launch_.rank, launch_.count, own_.address.empty() ? "none" : own_.address, interfaces_text());
      meeting.address = outside;
    }
  }

  const Launch& launch_;
  const RankOptions& options_;
  Clock::time_point until_;
  Seen own_;
};

}  // namespace

Meeting meet(const Launch& launch, const RankOptions& options) {
  // In a thread that is left to itself where it does not come back: what listens at the port may be no store and never
  // answer.
  auto result = std::make_shared<std::promise<Meeting>>();
  auto future = result->get_future();
  std::thread([result, launch, options] {
    try {
      result->set_value(Arrival(launch, options).come());
    } catch (const Error&) {
      result->set_exception(std::current_exception());
    } catch (const std::exception& error) {
      const auto text = fmt::format("rank {} of {}: meeting the others at {}: {}", launch.rank, launch.count,
                                    launch.file.empty() ? fmt::format("{}:{}", launch.host, launch.port) : launch.file,
                                    first_line(error.what()));
      result->set_exception(std::make_exception_ptr(Error(text)));
    }
  }).detach();
  constexpr double kGrace = 3;  // seconds, for errors that say more
  if (future.wait_for(milliseconds(options.rank_timeout + kGrace)) != std::future_status::ready)
    fail("rank {} of {}: what listens at {}:{} does not answer as a meeting place of ranks: another program?",
         launch.rank, launch.count, launch.host, launch.port);
  return future.get();
}

}  // namespace tessera
