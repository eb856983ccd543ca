/// Safetensors files: read, and every tensor summed.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "checkpoint/safetensors.h"
#include "runtime/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int file = ::memfd_create("input", MFD_CLOEXEC);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) return 0;
  try {
    tessera::Metadata metadata;
    for (const auto& [name, tensor] : tessera::load_safetensors("/proc/self/fd/" + std::to_string(file), &metadata)) {
      tensor.ne(0).sum();
    }
  } catch (const tessera::Error&) {
  }
  ::close(file);
  return 0;
}
