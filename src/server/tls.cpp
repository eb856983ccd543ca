#include "server/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "runtime/error.h"

namespace tessera::server {
namespace {

std::string reason() {
  const auto code = ERR_peek_last_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return text ? text : "unknown reason";
}

}  // namespace

void TlsContext::Free::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

TlsContext::TlsContext(const std::filesystem::path& certificate, const std::filesystem::path& key)
    : context_(SSL_CTX_new(TLS_server_method())) {
  require(context_ != nullptr, "TLS: {}", reason());
  auto* context = context_.get();
  require(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1, "TLS: {}", reason());
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  require(SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) == 1,
          "{}: no certificate that can be read, expected PEM: {}", certificate.string(), reason());
  require(SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1,
          "{}: no private key that can be read, expected PEM: {}", key.string(), reason());
  require(SSL_CTX_check_private_key(context) == 1, "{}: not the key of the certificate in {}", key.string(),
          certificate.string());
}

TlsSession::TlsSession(std::shared_ptr<const TlsContext> context, int socket)
    : context_(std::move(context)), session_(SSL_new(context_->get())) {
  require(session_ != nullptr && SSL_set_fd(session_, socket) == 1, "TLS: {}", reason());
  SSL_set_accept_state(session_);
}

TlsSession::~TlsSession() {
  SSL_free(session_);
}

TlsSession::State TlsSession::state_of(int result) {
  if (result > 0) return State::done;
  const int error = SSL_get_error(session_, result);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ) return State::wants_read;
  return error == SSL_ERROR_WANT_WRITE ? State::wants_write : State::closed;
}

TlsSession::State TlsSession::handshake() {
  return state_of(SSL_accept(session_));
}

TlsSession::State TlsSession::read(char* to, std::size_t size, std::size_t& moved) {
  return state_of(SSL_read_ex(session_, to, size, &moved));
}

TlsSession::State TlsSession::write(const char* from, std::size_t size, std::size_t& moved) {
  return state_of(SSL_write_ex(session_, from, size, &moved));
}

bool TlsSession::pending() const {
  return SSL_pending(session_) > 0;
}

void TlsSession::shut_down() {
  if (SSL_is_init_finished(session_) == 1) (void)SSL_shutdown(session_);
  ERR_clear_error();
}

}  // namespace tessera::server
