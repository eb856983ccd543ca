/// Being out of memory is the user's to mend; LibTorch says it in the words of an internal error.
#pragma once

#include <string_view>

namespace tessera {

/// Where the sentence begins in a message of LibTorch that the host's or a GPU's memory did not suffice; npos in
/// others.
inline std::string_view::size_type find_out_of_memory(std::string_view message) {
  for (const std::string_view words : {"can't allocate memory", "out of memory"}) {
    if (const auto at = message.find(words); at != std::string_view::npos) return at;
  }
  return std::string_view::npos;
}

}  // namespace tessera
