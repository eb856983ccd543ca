/// A listening socket and the threads of the connections that it accepts.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace tessera::server {

class Listener {
 public:
  Listener() = default;
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// Takes the port (0: any free one). Throws Error where it cannot. Out: the port.
  int bind(const std::string& address, int port);

  /// Accepts until stop(); then waits for what runs. connected(socket, count) is called in a thread of its own, up to
  /// `most` at one time, and owns the socket; for those beyond `most` `refuse` is called, which does, too.
  /// count_changed is told how many run.
  void run(std::int64_t most, const std::function<void(int socket)>& connected,
           const std::function<void(int socket)>& refuse, const std::function<void(std::int64_t)>& count_changed);
  void stop() { stopping_ = true; }
  bool stopping() const { return stopping_; }

 private:
  void start(int socket, const std::function<void(int)>& connected, const std::function<void(std::int64_t)>& changed);

  int socket_ = -1;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::int64_t running_ = 0;  // under mutex_
};

/// The address of a socket's peer as text; empty where it has gone already.
std::string peer_address(int socket);
/// Ends both directions and closes.
void close_socket(int socket);

}  // namespace tessera::server
