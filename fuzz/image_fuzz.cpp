/// Image files of every format, and the text chunks of PNGs.
#include <cstdint>

#include "image/image_io.h"
#include "runtime/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  ReadOptions options;
  options.max_pixels = 1 << 20;
  try {
    const Image image = read_image({data, size}, "input", options);
    resize_and_crop(image, 8);
  } catch (const Error&) {
  }
  try {
    read_png_text({reinterpret_cast<const char*>(data), size}, "input");
  } catch (const Error&) {
  }
  return 0;
}
