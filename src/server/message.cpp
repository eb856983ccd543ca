#include "server/message.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <numeric>

#include "runtime/bounded_json.h"

namespace tessera::server {
namespace {

constexpr std::uint32_t kMark = 0x53534554;  // "TESS": both sides are in step
constexpr std::uint32_t kMostParts = 1 << 16;

/// What goes before a message: then the sizes of its parts, the head, the parts.
struct Frame {
  std::uint32_t mark = kMark, parts = 0;
  std::uint64_t head = 0;  // bytes
};

void send_all(int socket, const char* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const auto now = ::send(socket, data + done, size - done, MSG_NOSIGNAL);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) throw PeerGone("the other process has gone");
    done += static_cast<std::size_t>(now);
  }
}

void receive_all(int socket, void* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const auto now = ::recv(socket, static_cast<char*>(data) + done, size - done, 0);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) throw PeerGone("the other process has gone");
    done += static_cast<std::size_t>(now);
  }
}

}  // namespace

std::uint64_t most_message_bytes(const ServiceLimits& limits) {
  constexpr std::uint64_t kOther = std::uint64_t{64} << 20;  // thumbnails, texts
  constexpr std::uint64_t kEachPixel = 16;                   // a code, a log probability, a pixel with its transparency
  const auto pixels = std::max({limits.pixels, limits.upload_pixels, limits.request_pixels});
  return kOther + (static_cast<std::uint64_t>(limits.body_mib) << 20) + kEachPixel * static_cast<std::uint64_t>(pixels);
}

MessageSocket::~MessageSocket() {
  ::close(socket_);
}

void MessageSocket::send(const Message& message) {
  const auto head = message.head.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::vector<std::uint64_t> sizes;
  for (const auto& part : message.parts) sizes.push_back(part.size());
  const auto bytes = std::accumulate(sizes.begin(), sizes.end(), static_cast<std::uint64_t>(head.size()));
  require(bytes <= most_bytes_ && sizes.size() <= kMostParts,
          "message: {} bytes in {} parts, expected at most {} in {}", bytes, sizes.size(), most_bytes_, kMostParts);
  const Frame frame{kMark, static_cast<std::uint32_t>(sizes.size()), head.size()};
  std::string front(reinterpret_cast<const char*>(&frame), sizeof(frame));
  front.append(reinterpret_cast<const char*>(sizes.data()), sizes.size() * sizeof(sizes[0]));
  front += head;
  send_all(socket_, front.data(), front.size());
  for (const auto& part : message.parts) send_all(socket_, part.data(), part.size());
}

Message MessageSocket::receive() {
  try {
    Frame frame;
    receive_all(socket_, &frame, sizeof(frame));
    if (frame.mark != kMark || frame.parts > kMostParts) throw PeerGone("no message: the two sides are out of step");
    std::vector<std::uint64_t> sizes(frame.parts);
    receive_all(socket_, sizes.data(), sizes.size() * sizeof(sizes[0]));
    auto left = most_bytes_;
    sizes.push_back(frame.head);
    for (const auto size : sizes) {
      if (size > left) throw PeerGone(fmt::format("a message of more than {} bytes", most_bytes_));
      left -= size;
    }
    sizes.pop_back();
    std::string head(frame.head, '\0');
    receive_all(socket_, head.data(), head.size());
    Message message;
    for (const auto size : sizes) {
      message.parts.emplace_back(size, '\0');
      receive_all(socket_, message.parts.back().data(), size);
    }
    message.head = read_json_object(head, "message");
    return message;
  } catch (const PeerGone&) {
    shut();
    throw;
  } catch (const Error& error) {
    shut();
    throw PeerGone(error.what());
  } catch (const std::bad_alloc&) {
    shut();
    throw PeerGone("no memory for a message");
  }
}

bool MessageSocket::wait(std::chrono::milliseconds most) const {
  pollfd entry{socket_, POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(most.count())) > 0;
}

void MessageSocket::shut() const {
  ::shutdown(socket_, SHUT_RDWR);
}

}  // namespace tessera::server
