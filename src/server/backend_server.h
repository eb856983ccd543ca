/// Answers for a Backend over a socket: what a process that runs models does all its life. The other side is
/// process_backend.h.
///
/// A call ({"call": name, ..}) is answered by what it returns or by what was thrown. In between this side may ask
/// ({"ask": "step" or "wanted", ..}); before the other side answers that, it may call again, as the worker does between
/// two steps of a fill. So there is always one side that speaks, and whoever waits for an answer serves calls
/// meanwhile.
#pragma once

#include <chrono>
#include <map>
#include <memory>

#include "server/message_values.h"
#include "server/metrics.h"

namespace tessera::server {

class BackendServer {
 public:
  /// How long work goes on between two questions whether somebody still waits for it.
  static constexpr std::chrono::milliseconds kLook{10};

  /// metrics: what the backend's models count there is told with each answer; none: nothing is.
  BackendServer(MessageSocket& socket, Backend& backend, const ServiceLimits& limits, const Metrics* metrics = nullptr,
                std::chrono::milliseconds look = kLook)
      : socket_(socket), backend_(backend), limits_(limits), metrics_(metrics), look_(look) {}

  /// Serves until the other side has gone. Throws Malformed where it makes no sense.
  void run();

 private:
  class Watch;

  /// Serves one call to its end.
  void serve(const Message& call);
  Message answer_to(const Message& call, Watch& watch);
  /// Sends a question and serves calls until it is answered. Out: the answer's head.
  nlohmann::json ask(const Message& question);
  /// false: nobody waits for the present work any more. `asked`: when this was asked last.
  bool wanted(Watch& watch, std::chrono::steady_clock::time_point& asked);

  PreparedJob& job_of(const nlohmann::json& place);
  Message prepare(const Message& call);
  Message fill(const Message& call, Watch& watch);
  Message picture(const Message& call);
  Message guess(const Message& call);
  Message encode(const Message& call);
  Message captions(const Message& call);
  Message decode(const Message& call);
  Message candidates(const Message& call);
  Message score(const Message& call);
  void add_state(Message& answer);

  MessageSocket& socket_;
  Backend& backend_;
  const ServiceLimits limits_;
  const Metrics* metrics_;
  const std::chrono::milliseconds look_;
  std::map<std::uint64_t, std::unique_ptr<PreparedJob>> jobs_;  // by the number that the other side gave them
};

}  // namespace tessera::server
