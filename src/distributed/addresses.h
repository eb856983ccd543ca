/// Addresses of this machine and of others, for rendezvous and for errors that name them.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace tessera {

/// The numeric addresses that a name stands for here; none where it stands for nothing.
std::vector<std::string> addresses_of(const std::string& host);

/// 127.0.0.0/8 or ::1: an address that no other machine reaches.
bool is_loopback(const std::string& address);

/// "eth0 (10.0.0.2)" for an address of this machine; the address alone where no interface has it.
std::string interface_text(const std::string& address);

/// Every interface that is up: "lo (127.0.0.1), eth0 (10.0.0.2)".
std::string interfaces_text();

/// The first address of this machine that is not loopback; empty: it has none.
std::string outside_address();

/// Name, boot and network namespace: equal for processes that share their loopback device alone.
std::string machine_identity();
std::string machine_name();

struct Connection {
  bool made = false;
  std::string own, peer;           // addresses of its two ends
  std::vector<std::string> tried;  // addresses, each once
  std::string problem;             // of the last attempt
};

/// Tries every address of host until one answers or the time is over.
Connection try_to_connect(const std::string& host, int port, std::chrono::steady_clock::time_point until);

/// Whether nothing listens on the port.
bool port_is_free(int port);

}  // namespace tessera
