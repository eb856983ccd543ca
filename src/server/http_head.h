/// Framing of requests read so that no other program on the way can read it differently (RFC 9112, strictly): what is
/// doubtful is refused before anything is done with it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::server {

/// In: a request's line and headers, up to and with the empty line. Out: what is wrong with it, in words; empty:
/// nothing. Refused are: line breaks other than CR LF, control characters, a space before a colon, folded lines, names
/// that are none, more than one Host, Content-Length or Transfer-Encoding, none of Host in HTTP/1.1, both lengths, a
/// length that is not digits alone, codings other than chunked, targets other than a path.
std::string fault_of_head(std::string_view head);

/// Whether the head says that its body comes in chunks. In: one without faults.
bool says_chunked(std::string_view head);

/// Follows a chunked body byte by byte: sizes in hexadecimal digits alone, no extensions, no trailers, CR LF after
/// each.
class ChunkFraming {
 public:
  /// false: this byte does not belong there.
  bool take(char byte);
  /// true: the body has ended, what comes next is another request's.
  bool ended() const { return place_ == Place::after; }

 private:
  enum class Place { size, size_end, data, data_end, data_line, last, last_line, after };

  Place place_ = Place::size;
  std::uint64_t size_ = 0;
  int digits_ = 0;
};

/// "name", "name:80", "127.0.0.1:80", "[::1]:80" without its port, in lower case; empty: none of these.
std::string host_of(std::string_view host);

}  // namespace tessera::server
