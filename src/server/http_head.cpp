#include "server/http_head.h"

#include <algorithm>
#include <cctype>
#include <vector>

namespace tessera::server {
namespace {

constexpr std::size_t kMostHeaders = 100;
constexpr std::size_t kMostLengthDigits = 18;
constexpr int kMostChunkDigits = 8;

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kOthers.find(c) != std::string_view::npos;
  });
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

std::string_view without_blanks(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

struct Header {
  std::string_view name, value;
};

/// Splits a head without its empty line. Out: what is wrong, or nothing.
const char* split_head(std::string_view head, std::string_view& line, std::vector<Header>& headers) {
  for (bool first = true; !head.empty(); first = false) {
    const auto end = head.find("\r\n");
    if (end == std::string_view::npos) return "a line without CR LF";
    const auto text = head.substr(0, end);
    head.remove_prefix(end + 2);
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
      return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    });
    if (!plain) return "a control character";
    if (first) {
      line = text;
      continue;
    }
    if (headers.size() == kMostHeaders) return "more than 100 headers";
    const auto colon = text.find(':');
    if (colon == std::string_view::npos || !is_token(text.substr(0, colon)))
      return "a header whose name is none, or goes on over two lines";
    headers.push_back({text.substr(0, colon), without_blanks(text.substr(colon + 1))});
  }
  return nullptr;
}

const char* fault_of_line(std::string_view line, bool& newest) {
  const auto first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return "no request line";
  const auto method = line.substr(0, first), target = line.substr(first + 1, last - first - 1);
  const auto version = line.substr(last + 1);
  constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"};
  if (std::find(std::begin(kMethods), std::end(kMethods), method) == std::end(kMethods))
    return "a method that is not known";
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return "a version other than HTTP/1.1 and HTTP/1.0";
  newest = version == "HTTP/1.1";
  if (target.find_first_of(" \t") != std::string_view::npos) return "a target with a blank in it";
  if (!target.starts_with('/') && !(target == "*" && method == "OPTIONS")) return "a target that is no path";
  return nullptr;
}

}  // namespace

std::string fault_of_head(std::string_view head) {
  if (!head.ends_with("\r\n\r\n")) return "no end of the headers";
  head.remove_suffix(2);
  std::string_view line;
  std::vector<Header> headers;
  if (const auto* fault = split_head(head, line, headers)) return fault;
  bool newest = false;
  if (const auto* fault = fault_of_line(line, newest)) return fault;
  int hosts = 0, lengths = 0, codings = 0;
  for (const auto& [name, value] : headers) {
    if (same_word(name, "host")) {
      ++hosts;
      if (host_of(value).empty()) return "a Host that is no address and no name";
    } else if (same_word(name, "content-length")) {
      ++lengths;
      if (!is_number(value) || value.size() > kMostLengthDigits) return "a Content-Length that is no number of bytes";
    } else if (same_word(name, "transfer-encoding")) {
      ++codings;
      if (!same_word(value, "chunked") || !newest) return "a Transfer-Encoding other than chunked";
    }
  }
  if (hosts > 1 || lengths > 1 || codings > 1) return "a second Host, Content-Length or Transfer-Encoding";
  if (newest && hosts == 0) return "no Host";
  if (lengths > 0 && codings > 0) return "both Content-Length and Transfer-Encoding";
  return {};
}

bool says_chunked(std::string_view head) {
  std::string_view line;
  std::vector<Header> headers;
  (void)split_head(head.substr(0, head.size() - 2), line, headers);
  return std::any_of(headers.begin(), headers.end(),
                     [](const Header& header) { return same_word(header.name, "transfer-encoding"); });
}

bool ChunkFraming::take(char byte) {
  const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
  switch (place_) {
    case Place::size: {
      const int digit = lower >= '0' && lower <= '9'   ? lower - '0'
                        : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
                                                       : -1;
      if (digit >= 0) {
        size_ = 16 * size_ + static_cast<std::uint64_t>(digit);
        return ++digits_ <= kMostChunkDigits;
      }
      place_ = Place::size_end;
      return byte == '\r' && digits_ > 0;
    }
    case Place::size_end:
      place_ = size_ == 0 ? Place::last : Place::data;
      return byte == '\n';
    case Place::data:
      if (--size_ == 0) place_ = Place::data_end;
      return true;
    case Place::data_end:
      place_ = Place::data_line;
      return byte == '\r';
    case Place::data_line:
      place_ = Place::size;
      digits_ = 0;
      return byte == '\n';
    case Place::last:
      place_ = Place::last_line;
      return byte == '\r';
    case Place::last_line:
      place_ = Place::after;
      return byte == '\n';
    case Place::after:
      break;
  }
  return false;
}

std::string host_of(std::string_view host) {
  std::string_view name = host, port;
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    if (end == std::string_view::npos || end == 1) return {};
    name = host.substr(1, end - 1);
    if (name.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) return {};
    port = host.substr(end + 1);
  } else {
    const auto colon = std::min(host.find(':'), host.size());
    name = host.substr(0, colon);
    port = host.substr(colon);
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
    });
    if (!plain || name.empty() || name.size() > 253) return {};
  }
  if (!port.empty() && (port.front() != ':' || port.size() > 6 || (port.size() > 1 && !is_number(port.substr(1)))))
    return {};
  std::string lower(name);
  for (auto& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower.ends_with('.')) lower.pop_back();
  return lower;
}

}  // namespace tessera::server
