#include "distributed/addresses.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;
using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// A socket that is closed again.
class Socket {
 public:
  explicit Socket(int family) : descriptor_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

std::string numeric(const sockaddr* address, socklen_t size) {
  char text[NI_MAXHOST] = {};
  if (::getnameinfo(address, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) return {};
  return text;
}

socklen_t size_of(const sockaddr* address) {
  return address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

AddressList resolve(const std::string& host, int port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const auto service = std::to_string(port);
  if (::getaddrinfo(host.c_str(), service.c_str(), &wanted, &found) != 0) found = nullptr;
  return {found, &::freeaddrinfo};
}

struct Interface {
  std::string name, address;
};

std::vector<Interface> interfaces_up() {
  std::vector<Interface> found;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return found;
  for (const auto* each = all; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || (each->ifa_flags & IFF_UP) == 0) continue;
    const auto family = each->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const auto address = numeric(each->ifa_addr, size_of(each->ifa_addr));
    if (!address.starts_with("fe80:")) found.push_back({each->ifa_name, address});  // of the link alone
  }
  ::freeifaddrs(all);
  return found;
}

std::string error_text(int error) {
  return std::strerror(error);  // of one thread at a time: errors of a start
}

/// 0, else errno.
int connect_within(int descriptor, const addrinfo& to, Clock::duration time) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
  if (::connect(descriptor, to.ai_addr, to.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{descriptor, POLLOUT, 0};
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  if (::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(1, milliseconds))) <= 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

std::vector<std::string> addresses_of(const std::string& host) {
  std::vector<std::string> found;
  const auto list = resolve(host, 0);
  for (const auto* each = list.get(); each != nullptr; each = each->ai_next)
    found.push_back(numeric(each->ai_addr, each->ai_addrlen));
  return found;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::ffff:127.");
}

std::string interface_text(const std::string& address) {
  for (const auto& each : interfaces_up()) {
    if (each.address == address) return fmt::format("{} ({})", each.name, address);
  }
  return address;
}

std::string interfaces_text() {
  std::vector<std::string> texts;
  for (const auto& each : interfaces_up()) texts.push_back(fmt::format("{} ({})", each.name, each.address));
  return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

std::string outside_address() {
  for (const auto& each : interfaces_up()) {
    if (!is_loopback(each.address) && each.address.find(':') == std::string::npos) return each.address;
  }
  return {};
}

std::string machine_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

std::string machine_identity() {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  std::error_code error;
  const auto network = std::filesystem::read_symlink("/proc/self/ns/net", error).string();
  return fmt::format("{} {} {}", machine_name(), boot, network);
}

Connection try_to_connect(const std::string& host, int port, Clock::time_point until) {
  constexpr auto kAttempt = std::chrono::seconds(3), kPause = std::chrono::seconds(0);
  Connection result;
  for (auto pause = std::chrono::milliseconds(20);; pause = std::min(2 * pause, std::chrono::milliseconds(500))) {
    const auto list = resolve(host, port);
    if (!list) result.problem = "the name stands for no address here";
    for (const auto* each = list.get(); each != nullptr; each = each->ai_next) {
      const auto address = numeric(each->ai_addr, each->ai_addrlen);
      if (std::find(result.tried.begin(), result.tried.end(), address) == result.tried.end())
        result.tried.push_back(address);
      const Socket socket(each->ai_family);
      const auto left = std::max<Clock::duration>(until - Clock::now(), kPause);
      const int error = connect_within(socket.get(), *each, std::min<Clock::duration>(left, kAttempt));
      if (error != 0) {
        result.problem = error_text(error);
        continue;
      }
      sockaddr_storage own{}, peer{};
      socklen_t own_size = sizeof own, peer_size = sizeof peer;
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &own_size);
      ::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&peer), &peer_size);
      result.made = true;
      result.own = numeric(reinterpret_cast<sockaddr*>(&own), own_size);
      result.peer = numeric(reinterpret_cast<sockaddr*>(&peer), peer_size);
      return result;
    }
    if (Clock::now() + pause >= until) return result;
    std::this_thread::sleep_for(pause);
  }
}

bool port_is_free(int port) {
  const Socket socket(AF_INET);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno != EADDRINUSE;
}

}  // namespace tessera
