#include "server/http_head.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tessera::server {
namespace http_head_test {

using namespace std::string_literals;

const std::string kHost = "Host: 127.0.0.1:8080\r\n";

std::string get(const std::string& headers) {
  return "GET /healthz HTTP/1.1\r\n" + headers + "\r\n";
}
std::string post(const std::string& headers) {
  return "POST /api/v1/jobs HTTP/1.1\r\n" + kHost + headers + "\r\n";
}

TEST(HttpHead, WhatClientsSendIsTaken) {
  for (const auto& head :
       {get(kHost), get("host:localhost\r\nX: a b\tc\r\n"), get("Host: [::1]:80\r\n"), "GET / HTTP/1.0\r\n\r\n"s,
        "OPTIONS * HTTP/1.1\r\n" + kHost + "\r\n", post("Content-Length: 15\r\n"), post("Content-Length:  0 \r\n"),
        post("Transfer-Encoding: Chunked\r\n"), "PATCH /a?b=%00&c=d HTTP/1.1\r\n" + kHost + "\r\n",
        get(kHost + "X-Empty:\r\n"), get(kHost + "X: caf\xc3\xa9\r\n")}) {
    EXPECT_EQ(fault_of_head(head), "") << head;
  }
}

TEST(HttpHead, WhatCanBeReadInTwoWaysIsRefused) {
  const std::vector<std::string> heads = {
      post("Content-Length: 15\r\nContent-Length: 15\r\n"),
      post("Content-Length: 15\r\ncontent-length: 0\r\n"),
      post("Content-Length: 15, 15\r\n"),
      post("Content-Length: +15\r\n"),
      post("Content-Length: -1\r\n"),
      post("Content-Length: 0x0f\r\n"),
      post("Content-Length: 15abc\r\n"),
      post("Content-Length:\r\n"),
      post("Content-Length : 15\r\n"),
      post("Content-Length: 18446744073709551631\r\n"),
      post("Content-Length: 15\r\nTransfer-Encoding: chunked\r\n"),
      post("Transfer-Encoding: xchunked\r\n"),
      post("Transfer-Encoding: gzip, chunked\r\n"),
      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
      post("Transfer-Encoding:\r\n chunked\r\n"),
      post("Transfer-Encoding: \x0b"
           "chunked\r\n"),
      post("Transfer-Encoding\t: chunked\r\n"),
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
      get(kHost + "X: a\r\n b\r\n"),
      get(kHost + "X: a\nY: b\r\n"),
      get(kHost + "X: a\rY: b\r\n"),
      get(kHost + "X: a\0b\r\n"s),
      get(kHost + "X: \x1b[31m\r\n"),
      get(kHost + ": a\r\n"),
      get(kHost + "no colon\r\n"),
      get(kHost + "a b: c\r\n"),
      get(""),
      get("Host:\r\n"),
      get(kHost + "Host: evil.example\r\n"),
      get("Host: evil.example\r\n" + kHost),
      get("Host: a b\r\n"),
      get("Host: user@localhost\r\n"),
      get("Host: localhost:80:80\r\n"),
      get("Host: localhost:http\r\n"),
      get("Host: [::1\r\n"),
      "GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n",
      "GET http://evil.example/ HTTP/1.1\r\n" + kHost + "\r\n",
      "CONNECT evil.example:443 HTTP/1.1\r\n" + kHost + "\r\n",
      "GET /a b HTTP/1.1\r\n" + kHost + "\r\n",
      "GET /\r\n" + kHost + "\r\n",
      "GET / HTTP/2.0\r\n" + kHost + "\r\n",
      "GET / HTTP/1.2\r\n" + kHost + "\r\n",
      "GET / HTTP/1.1 \r\n" + kHost + "\r\n",
      "GET / http/1.1\r\n" + kHost + "\r\n",
      " / HTTP/1.1\r\n" + kHost + "\r\n",
      "G\x01T / HTTP/1.1\r\n" + kHost + "\r\n",
      "PROPFIND / HTTP/1.1\r\n" + kHost + "\r\n",
      "get / HTTP/1.1\r\n" + kHost + "\r\n",
      "PRI * HTTP/2.0\r\n\r\n",
      "\x16\x03\x01\x02\r\n\r\n"s,
      "GET / HTTP/1.1\r\n" + kHost,
      "",
  };
  for (const auto& head : heads) EXPECT_NE(fault_of_head(head), "") << head;
  std::string many = kHost;
  for (int i = 0; i < 200; ++i) many += fmt::format("X{}: a\r\n", i);
  EXPECT_EQ(fault_of_head(get(many)), "more than 100 headers");
}

bool takes(const std::string& body) {
  ChunkFraming framing;
  for (const char c : body) {
    if (!framing.take(c)) return false;
  }
  return true;
}

TEST(HttpHead, ChunksAreFramedInOneWayOnly) {
  EXPECT_TRUE(takes("f\r\n123456789012345\r\n0\r\n\r\n"));
  EXPECT_TRUE(takes("1\r\na\r\n00A\r\n0123456789\r\n0\r\n\r\n"));
  for (const auto* body :
       {"+f\r\n", "-1\r\n", "0xf\r\n", "f;a=b\r\n", " f\r\n", "f \r\n", "f\n", "\r\n", "g\r\n", "1\r\nab\r\n",
        "1\r\na\n", "0\r\nHost: evil\r\n\r\n", "0\n\n", "ffffffffffffffff\r\n", "0\r\n\r\nGET"}) {
    EXPECT_FALSE(takes(body)) << body;
  }
}

TEST(HttpHead, HostsAreNamesOrAddresses) {
  EXPECT_EQ(host_of("LocalHost:8080"), "localhost");
  EXPECT_EQ(host_of("localhost."), "localhost");
  EXPECT_EQ(host_of("[::1]:80"), "::1");
  EXPECT_EQ(host_of("127.0.0.1"), "127.0.0.1");
  EXPECT_EQ(host_of("127.evil.example:80"), "127.evil.example");
  for (const auto* host : {"", ":80", "a b", "a@b", "[::1", "[]", "[x]:80", "a:b", "a:1:2", "::1", "a/b"})
    EXPECT_EQ(host_of(host), "") << host;
}

}  // namespace http_head_test
}  // namespace tessera::server
