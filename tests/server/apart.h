/// The arithmetic backend behind the border of a process: a thread answers for it over a socket, with the messages that
/// a process of models gets.
#pragma once

#include <sys/socket.h>

#include <cstdlib>

#include "server/backend_server.h"
#include "server/fake_backend.h"
#include "server/process_backend.h"

namespace tessera::testing {

class ThreadPeer : public Peer {
 public:
  ThreadPeer(Backend& backend, const ServiceLimits& limits) {
    int pair[2] = {-1, -1};
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no socket");
    const auto most = most_message_bytes(limits);
    near_ = std::make_unique<MessageSocket>(pair[0], most);
    far_ = std::make_unique<MessageSocket>(pair[1], most);
    thread_ = std::thread([this, &backend, limits] {
      try {
        BackendServer(*far_, backend, limits, nullptr, std::chrono::milliseconds(0)).run();
      } catch (const Malformed&) {
        malformed_ = true;
      }
      far_->shut();
      ended_ = true;
    });
  }
  ~ThreadPeer() override { end(); }
  ThreadPeer(const ThreadPeer&) = delete;
  ThreadPeer& operator=(const ThreadPeer&) = delete;

  MessageSocket& socket() override { return *near_; }
  std::string name() const override { return "thread"; }
  bool ended() override { return ended_; }
  std::string end() override {
    near_->shut();
    if (thread_.joinable()) thread_.join();
    return malformed_ ? "did not understand" : "was killed";
  }
  /// From any thread: what a signal does to a process.
  void kill() const { far_->shut(); }

 private:
  std::unique_ptr<MessageSocket> near_, far_;
  std::thread thread_;
  std::atomic<bool> ended_{false}, malformed_{false};
};

/// A backend that reaches another one through messages.
struct Apart {
  Apart(Backend& models, const ServiceLimits& limits, Metrics& metrics, const std::string& name = "worker 0")
      : backend(
            name, models.models(),
            [this, &models, limits](const std::atomic<bool>&) {
              auto made = std::make_unique<ThreadPeer>(models, limits);
              peer = made.get();
              ++started;
              return made;
            },
            metrics) {}

  std::atomic<ThreadPeer*> peer{nullptr};  // the present one
  std::atomic<int> started{0};
  ProcessBackend backend;
};

/// The tests of the worker hold on both sides: with TESSERA_TEST_APART set they run behind the border.
class MaybeApart {
 public:
  MaybeApart(FakeBackend& models, const ServiceLimits& limits, Metrics& metrics) : models_(models) {
    if (is_asked_for()) apart_ = std::make_unique<Apart>(models, limits, metrics);
  }
  static bool is_asked_for() { return std::getenv("TESSERA_TEST_APART") != nullptr; }
  Backend& backend() { return apart_ ? static_cast<Backend&>(apart_->backend) : models_; }

 private:
  FakeBackend& models_;
  std::unique_ptr<Apart> apart_;
};

}  // namespace tessera::testing
