/// One accepted connection, with bounds on how slowly its peer may send and take.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/http_head.h"
#include "server/tls.h"

namespace tessera::server {

/// A peer must move kLeastRate bytes a second once `patience` has passed, whether it sends or takes, and may send no
/// more bytes a request than are allowed it: that holds off connections that drip and those that never end.
class Connection {
 public:
  static constexpr double kLeastRate = 16 << 10;  // bytes a second

  static constexpr std::uint64_t kMostHead = 64 << 10;  // bytes of a request's line and headers

  Connection(int socket, std::chrono::seconds patience) : socket_(socket), patience_(patience) {}

  /// From now on what is moved is TLS's. Out: whether the peer has shaken hands, within its patience.
  bool start_tls(std::shared_ptr<const TlsContext> context);
  /// Says to a TLS peer that nothing more comes.
  void shut_down_tls() {
    if (tls_) tls_->shut_down();
  }

  /// Reads a request's line and headers, and looks whether they can be read in one way only. Out: what is wrong with
  /// them; empty: nothing. None: they did not come in time, were too long, or the peer has gone. What is read stays to
  /// be read().
  std::optional<std::string> check_head();
  /// The head has been read: so many bytes of body may follow.
  void allow_body(std::uint64_t bytes) { most_ = kMostHead + bytes; }
  /// The body is so long as the head states; where it comes in chunks they say where it ends. What stands behind is not
  /// read as part of it.
  void expect_body(std::uint64_t bytes) { body_left_ = bytes; }
  /// After the present answer nothing more is read from this peer.
  void close_after() { closing_ = true; }
  bool closing() const { return closing_; }
  /// true: a head has been given up before its end, and what is left of it is no request.
  bool in_head() const { return head_ > 0; }

  /// Waits for the first byte of a request. false: nothing came, or the peer has closed, or `stop` asks.
  template <typename Stop>
  bool wait_for_request(std::chrono::milliseconds wait, Stop stop) {
    const auto until = std::chrono::steady_clock::now() + wait;
    begin_request();
    if (at_ < held_.size() || (tls_ && tls_->pending())) return true;
    while (std::chrono::steady_clock::now() < until && !stop()) {
      if (wait_readable(std::chrono::milliseconds(100))) return !peer_closed();
    }
    return false;
  }
  /// As recv and send; below 0 where the peer is too slow, sends too much or has gone.
  ssize_t read(char* to, std::size_t size);
  ssize_t write(const char* from, std::size_t size);
  /// true: the peer has closed.
  bool peer_closed() const;
  /// true: a bound was what ended it.
  bool too_slow() const { return too_slow_; }
  /// Sends what must be said before closing on unread data: closes our half, then takes and drops what still comes,
  /// for a second at most. Otherwise the peer would see a reset in place of the answer.
  void linger() const;

  int socket() const { return socket_; }

 private:
  void begin_request();
  /// Takes what comes next from the socket. As recv.
  ssize_t receive();
  bool wait_readable(std::chrono::milliseconds wait) const;
  bool wait_writable(std::chrono::milliseconds wait) const;

  /// As recv; none: nothing has come that can be taken yet.
  std::optional<ssize_t> take(char* to, std::size_t size);
  /// As send; none: nothing can be sent yet.
  std::optional<ssize_t> put(const char* from, std::size_t size);

  const int socket_;
  const std::chrono::seconds patience_;
  std::unique_ptr<TlsSession> tls_;  // none: what is moved is plain
  std::uint64_t most_ = kMostHead;
  std::string held_;                    // what has come and may not have been read yet
  std::size_t at_ = 0;                  // what of it was read
  std::size_t head_ = 0;                // bytes of it that are a head
  std::uint64_t body_left_ = 0;         // bytes of a body of stated length that are still to be read
  std::optional<ChunkFraming> chunks_;  // of a body that comes in chunks
  std::uint64_t received_ = 0;
  std::chrono::steady_clock::time_point began_;
  bool too_slow_ = false, closing_ = false;
};

}  // namespace tessera::server
