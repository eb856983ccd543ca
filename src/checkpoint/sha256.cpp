#include "checkpoint/sha256.h"

#include <openssl/evp.h>

#include "runtime/error.h"
#include "runtime/mapped_file.h"

namespace tessera {

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  require(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "SHA-256: cannot be started");
}

void Sha256::update(std::string_view bytes) {
  require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1, "SHA-256: cannot be computed");
}

void Sha256::update_and_give_back(std::string_view bytes) {
  constexpr std::size_t kPiece = std::size_t{16} << 20;
  for (std::size_t begin = 0; begin < bytes.size(); begin += kPiece) {
    const auto piece = bytes.substr(begin, kPiece);
    update(piece);
    MappedFile::give_back(piece.data(), piece.size());
  }
}

std::string Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  require(EVP_DigestFinal_ex(context_.get(), digest, &length) == 1, "SHA-256: cannot be computed");
  std::string text;
  for (unsigned i = 0; i < length; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

}  // namespace tessera
