/// A Connection as Boost.Beast and Boost.Asio read from and write to it.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include "server/http_connection.h"

namespace tessera::server {

/// Asio's SyncReadStream and SyncWriteStream. What the connection bounds ends as connection_aborted.
class BeastStream {
 public:
  explicit BeastStream(Connection& connection) : connection_(connection) {}

  template <typename Buffers>
  std::size_t read_some(const Buffers& buffers, boost::system::error_code& error) {
    for (auto at = boost::asio::buffer_sequence_begin(buffers); at != boost::asio::buffer_sequence_end(buffers); ++at) {
      const boost::asio::mutable_buffer buffer(*at);
      if (buffer.size() == 0) continue;
      const auto got = connection_.read(static_cast<char*>(buffer.data()), buffer.size());
      if (got < 0) error = boost::asio::error::connection_aborted;
      if (got == 0) error = boost::asio::error::eof;
      if (got > 0) error = {};
      return got > 0 ? static_cast<std::size_t>(got) : 0;
    }
    error = {};
    return 0;
  }

  template <typename Buffers>
  std::size_t write_some(const Buffers& buffers, boost::system::error_code& error) {
    std::size_t sent = 0;
    error = {};
    for (auto at = boost::asio::buffer_sequence_begin(buffers); at != boost::asio::buffer_sequence_end(buffers); ++at) {
      const boost::asio::const_buffer buffer(*at);
      if (buffer.size() == 0) continue;
      if (connection_.write(static_cast<const char*>(buffer.data()), buffer.size()) < 0) {
        error = boost::asio::error::connection_aborted;
        return sent;
      }
      sent += buffer.size();
    }
    return sent;
  }

  template <typename Buffers>
  std::size_t read_some(const Buffers& buffers) {
    return checked([&](auto& error) { return read_some(buffers, error); });
  }
  template <typename Buffers>
  std::size_t write_some(const Buffers& buffers) {
    return checked([&](auto& error) { return write_some(buffers, error); });
  }

 private:
  template <typename Call>
  static std::size_t checked(Call call) {
    boost::system::error_code error;
    const auto count = call(error);
    if (error) throw boost::system::system_error(error);
    return count;
  }

  Connection& connection_;
};

}  // namespace tessera::server
