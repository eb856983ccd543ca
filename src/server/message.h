/// Messages between two processes of this program: a JSON object with byte strings beside it, over a local socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "server/limits.h"

namespace tessera::server {

struct Message {
  nlohmann::json head = nlohmann::json::object();
  std::vector<std::string> parts = {};  // pixels, codes
};

/// The other side has gone, or what it said is no message: the socket is of no more use.
class PeerGone : public Error {
 public:
  using Error::Error;
};

/// Bytes of a message at most, of a service with these limits: pictures of one request, or codes of one fill.
std::uint64_t most_message_bytes(const ServiceLimits& limits);

class MessageSocket {
 public:
  /// Owns the socket, one of a pair of streams. most_bytes: of one message.
  MessageSocket(int socket, std::uint64_t most_bytes) : socket_(socket), most_bytes_(most_bytes) {}
  ~MessageSocket();
  MessageSocket(const MessageSocket&) = delete;
  MessageSocket& operator=(const MessageSocket&) = delete;

  /// Throws Error where the message is too large, before anything is sent; PeerGone.
  void send(const Message& message);
  /// Waits for one. Throws PeerGone. Sizes are compared before memory is taken.
  Message receive();
  /// Whether there is something to receive, or the other side has gone, within so long.
  bool wait(std::chrono::milliseconds most) const;
  /// Ends both directions, so that whoever waits at either end goes on. From any thread.
  void shut() const;

 private:
  const int socket_;
  const std::uint64_t most_bytes_;
};

}  // namespace tessera::server
