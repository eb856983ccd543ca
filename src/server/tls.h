/// TLS of the system's OpenSSL for one connection: TLS 1.2 and later, the library's own choice of ciphers, no
/// renegotiation.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <memory>

struct ssl_ctx_st;
struct ssl_st;

namespace tessera::server {

/// A certificate and its key. Connections keep what they were begun with.
class TlsContext {
 public:
  /// In: PEM files; the certificate's may hold the chain. Throws Error naming the file.
  TlsContext(const std::filesystem::path& certificate, const std::filesystem::path& key);
  ssl_ctx_st* get() const { return context_.get(); }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  std::unique_ptr<ssl_ctx_st, Free> context_;
};

/// The server's side of one connection over a socket that does not block.
class TlsSession {
 public:
  /// What a call came to.
  enum class State { done, wants_read, wants_write, closed };

  TlsSession(std::shared_ptr<const TlsContext> context, int socket);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  /// To be called until it is done.
  State handshake();
  /// As recv and send; moved: how many bytes, where done.
  State read(char* to, std::size_t size, std::size_t& moved);
  State write(const char* from, std::size_t size, std::size_t& moved);
  /// Bytes that have been read from the socket and not been taken.
  bool pending() const;
  /// Says that nothing more comes.
  void shut_down();

 private:
  State state_of(int result);

  const std::shared_ptr<const TlsContext> context_;
  ssl_st* session_;
};

}  // namespace tessera::server
