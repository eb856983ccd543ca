/// How the ranks' stores are opened, alike with every LibTorch.
#pragma once

#include <cstdint>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace tessera {

/// Later releases serve a store through libuv where nothing is said, and fail where they were built without it, as
/// Debian's are. Both speak the same protocol.
template <typename Options>
void serve_without_libuv(Options& options) {
  if constexpr (requires { options.useLibUV; }) options.useLibUV = false;
}

/// A store that does not wait for the others. port 0: any that is free.
inline c10d::TCPStoreOptions tcp_store_options(int port, bool serves) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.isServer = serves;
  options.waitWorkers = false;
  serve_without_libuv(options);
  return options;
}

}  // namespace tessera
