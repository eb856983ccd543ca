#include "server/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera::server {
namespace {

constexpr int kWaitingConnections = 256;  // that the system holds until they are accepted
constexpr int kBeatMilliseconds = 100;    // between looks at whether to stop

/// Bound and listening; -1: cannot.
int listening_socket(const addrinfo& at) {
  const int socket = ::socket(at.ai_family, at.ai_socktype | SOCK_CLOEXEC, at.ai_protocol);
  if (socket < 0) return -1;
  const int yes = 1;  // but not SO_REUSEPORT: two servers must not share a port unnoticed
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (::bind(socket, at.ai_addr, at.ai_addrlen) == 0 && ::listen(socket, kWaitingConnections) == 0) return socket;
  ::close(socket);
  return -1;
}

int port_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace

std::string peer_address(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  char text[INET6_ADDRSTRLEN] = "";
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  const void* from = address.ss_family == AF_INET
                         ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in&>(address).sin_addr)
                         : static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  const auto* shown = ::inet_ntop(address.ss_family, from, text, sizeof(text));
  return shown != nullptr ? shown : "";
}

void close_socket(int socket) {
  ::shutdown(socket, SHUT_RDWR);
  ::close(socket);
}

Listener::~Listener() {
  if (socket_ >= 0) ::close(socket_);
}

int Listener::bind(const std::string& address, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) == 0) {
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
    for (const auto* at = found; at != nullptr && socket_ < 0; at = at->ai_next) socket_ = listening_socket(*at);
  }
  require(socket_ >= 0, "{} port {}: cannot be listened on (is another program there?)", address, port);
  return port_of(socket_);
}

void Listener::run(std::int64_t most, const std::function<void(int)>& connected, const std::function<void(int)>& refuse,
                   const std::function<void(std::int64_t)>& count_changed) {
  while (!stopping_) {
    pollfd entry{socket_, POLLIN, 0};
    if (::poll(&entry, 1, kBeatMilliseconds) <= 0) continue;
    const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) {
      // Out of files or memory: those who wait stay in the system's list until there is room.
      if (errno != EINTR && errno != ECONNABORTED) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    const int yes = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    bool room = false;
    {
      const std::lock_guard lock(mutex_);
      room = running_ < most;
      if (room) count_changed(++running_);
    }
    if (room) {
      start(socket, connected, count_changed);
    } else {
      refuse(socket);
    }
  }
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return running_ == 0; });
}

void Listener::start(int socket, const std::function<void(int)>& connected,
                     const std::function<void(std::int64_t)>& count_changed) {
  const auto ended = [this, &count_changed] {
    const std::lock_guard lock(mutex_);
    count_changed(--running_);
    ended_.notify_all();
  };
  try {
    std::thread([socket, &connected, ended] {
      try {
        connected(socket);
      } catch (const std::exception& error) {
        log().error("connection: {}", error.what());
      }
      ended();
    }).detach();
  } catch (const std::system_error&) {  // no thread to be had
    close_socket(socket);
    ended();
  }
}

}  // namespace tessera::server
