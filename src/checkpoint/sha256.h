/// SHA-256 (FIPS 180-4), for content hashes: OpenSSL's, which uses the processor's own instructions.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace tessera {

class Sha256 {
 public:
  Sha256();
  void update(std::string_view bytes);
  /// The same of bytes that nobody has written to since they were read: what lies in a mapped file is given back to the
  /// system as it has been looked at (runtime/mapped_file.h).
  void update_and_give_back(std::string_view bytes);
  /// The digest of everything given so far, as 64 hexadecimal digits. Call once, at the end.
  std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace tessera
