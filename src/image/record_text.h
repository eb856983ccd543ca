/// What a PNG that Tessera makes says of itself.
#pragma once

#include <string>

#include "image/image_io.h"
#include "runtime/version.h"

namespace tessera {

/// In: the record of how the picture was made, JSON.
inline PngText record_text(const std::string& record) {
  return {{"tessera", record}, {"Software", std::string("Tessera ") + version()}};
}

}  // namespace tessera
