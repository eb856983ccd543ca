#include "text/gunzip.h"

#include <zlib.h>

#include <array>

#include "runtime/error.h"

namespace tessera {

std::string gunzip(std::string_view packed, std::uint64_t max_bytes, const std::string& where) {
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  z_stream stream{};
  require(inflateInit2(&stream, kGzipOnly) == Z_OK, "{}: zlib cannot be started", where);
  struct End {
    z_stream& stream;
    ~End() { inflateEnd(&stream); }
  } end{stream};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  std::array<char, 1 << 16> chunk{};
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    status = inflate(&stream, Z_NO_FLUSH);
    const auto made = chunk.size() - stream.avail_out;
    require(status == Z_STREAM_END || (status == Z_OK && (made > 0 || stream.avail_in > 0)),
            "{}: broken or cut gzip data", where);
    require(out.size() + made <= max_bytes, "{}: more than {} bytes unpacked", where, max_bytes);
    out.append(chunk.data(), made);
  }
  return out;
}

}  // namespace tessera
