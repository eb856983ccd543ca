#include "server/http_connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tessera::server {
namespace {

using Clock = std::chrono::steady_clock;

bool poll_for(int socket, short events, std::chrono::milliseconds wait) {
  pollfd entry{socket, events, 0};
  int ready = 0;
  do {
    ready = ::poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(0, wait.count())));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

/// What is left until `bytes` must have been moved.
std::chrono::milliseconds time_left(Clock::time_point began, std::chrono::seconds patience, std::uint64_t bytes) {
  const auto allowed = std::chrono::duration<double>(static_cast<double>(bytes) / Connection::kLeastRate);
  return std::chrono::duration_cast<std::chrono::milliseconds>(began + patience + allowed - Clock::now());
}

}  // namespace

void Connection::begin_request() {
  most_ = kMostHead;
  received_ = held_.size() - at_;
  began_ = Clock::now();
}

bool Connection::wait_readable(std::chrono::milliseconds wait) const {
  return poll_for(socket_, POLLIN, wait);
}
bool Connection::wait_writable(std::chrono::milliseconds wait) const {
  return poll_for(socket_, POLLOUT, wait);
}

bool Connection::peer_closed() const {
  char byte = 0;
  const auto got = ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

std::optional<ssize_t> Connection::take(char* to, std::size_t size) {
  if (!tls_) return ::recv(socket_, to, size, 0);
  std::size_t moved = 0;
  switch (tls_->read(to, size, moved)) {
    case TlsSession::State::done:
      return static_cast<ssize_t>(moved);
    case TlsSession::State::closed:
      return 0;
    default:
      return std::nullopt;
  }
}

std::optional<ssize_t> Connection::put(const char* from, std::size_t size) {
  if (!tls_) {
    const auto now = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (now < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return std::nullopt;
    return now;
  }
  std::size_t moved = 0;
  switch (tls_->write(from, size, moved)) {
    case TlsSession::State::done:
      return static_cast<ssize_t>(moved);
    case TlsSession::State::closed:
      return -1;
    default:
      return std::nullopt;
  }
}

bool Connection::start_tls(std::shared_ptr<const TlsContext> context) {
  ::fcntl(socket_, F_SETFL, ::fcntl(socket_, F_GETFL) | O_NONBLOCK);
  tls_ = std::make_unique<TlsSession>(std::move(context), socket_);
  const auto until = Clock::now() + patience_;
  while (true) {
    const auto state = tls_->handshake();
    if (state == TlsSession::State::done) return true;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    const short events = state == TlsSession::State::wants_read ? POLLIN : POLLOUT;
    too_slow_ = state != TlsSession::State::closed && left.count() <= 0;
    if (state == TlsSession::State::closed || left.count() <= 0) return false;
    poll_for(socket_, events, left);
  }
}

ssize_t Connection::receive() {
  constexpr std::size_t kPiece = 16 << 10;
  // The first byte of a request has its own patience (wait_for_request).
  if (received_ == 0) began_ = Clock::now();
  char piece[kPiece];
  std::optional<ssize_t> taken;
  while (!taken) {
    const auto left = time_left(began_, patience_, received_);
    const bool ready = tls_ && tls_->pending();
    if (received_ >= most_ || left.count() <= 0 || (!ready && !wait_readable(left))) {
      too_slow_ = received_ < most_;
      closing_ = true;
      return -1;
    }
    taken = take(piece, sizeof(piece));
  }
  const auto got = *taken;
  if (got <= 0) return got;
  held_.erase(0, at_);
  at_ = 0;
  held_.append(piece, static_cast<std::size_t>(got));
  received_ += static_cast<std::uint64_t>(got);
  return got;
}

std::optional<std::string> Connection::check_head() {
  chunks_.reset();
  body_left_ = 0;
  head_ = 0;
  bool skipped = false;
  for (std::size_t seen = at_;;) {
    // An empty line before the request is allowed, one.
    if (!skipped && std::string_view(held_).substr(at_).starts_with("\r\n")) {
      at_ += 2;
      seen = at_;
      skipped = true;
    }
    for (; seen < held_.size(); ++seen) {
      if (held_[seen] != '\n') continue;
      if (seen == at_ || held_[seen - 1] != '\r') return "a line break other than CR LF";
      const auto head = std::string_view(held_).substr(at_, seen + 1 - at_);
      if (!head.ends_with("\r\n\r\n")) continue;
      auto fault = fault_of_head(head);
      if (fault.empty()) {
        head_ = head.size();
        if (says_chunked(head)) chunks_.emplace();
      }
      return fault;
    }
    seen -= at_;
    if (receive() <= 0) return std::nullopt;
    seen += at_;
  }
}

ssize_t Connection::read(char* to, std::size_t size) {
  if (at_ == held_.size()) {
    const auto got = receive();
    if (got <= 0) return got;
  }
  auto count = std::min(size, held_.size() - at_);
  if (head_ > 0) {
    count = std::min(count, head_);
    head_ -= count;
  } else if (chunks_) {
    std::size_t taken = 0;
    for (; taken < count && !chunks_->ended(); ++taken) {
      if (chunks_->take(held_[at_ + taken])) continue;
      closing_ = true;
      return -1;
    }
    count = taken;  // what stands behind is the next request
  } else {
    count = static_cast<std::size_t>(std::min<std::uint64_t>(count, body_left_));
    body_left_ -= count;
  }
  std::memcpy(to, held_.data() + at_, count);
  at_ += count;
  return static_cast<ssize_t>(count);
}

ssize_t Connection::write(const char* from, std::size_t size) {
  const auto began = Clock::now();
  std::size_t sent = 0;
  while (sent < size) {
    const auto left = time_left(began, patience_, sent);
    if (left.count() <= 0 || !wait_writable(left)) {
      too_slow_ = closing_ = true;
      return -1;
    }
    const auto now = put(from + sent, size - sent);
    if (!now) continue;
    if (*now < 0) return -1;
    sent += static_cast<std::size_t>(*now);
  }
  return static_cast<ssize_t>(size);
}

void Connection::linger() const {
  ::shutdown(socket_, SHUT_WR);
  char dropped[4096];
  const auto until = Clock::now() + std::chrono::seconds(1);
  while (Clock::now() < until && poll_for(socket_, POLLIN, std::chrono::milliseconds(100))) {
    if (::recv(socket_, dropped, sizeof(dropped), MSG_DONTWAIT) <= 0) return;
  }
}

}  // namespace tessera::server
