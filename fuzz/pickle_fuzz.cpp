/// Torch archives, both formats: read, and every tensor summed.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "checkpoint/torch_archive.h"
#include "runtime/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int file = ::memfd_create("input", MFD_CLOEXEC);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) return 0;
  try {
    const auto archive = tessera::load_torch_archive("/proc/self/fd/" + std::to_string(file));
    for (const char* path : {"", "state_dict"}) {
      if (!archive.find(path)) continue;
      for (const auto& [name, tensor] : archive.tensors(path)) tensor.ne(0).sum();
    }
  } catch (const tessera::Error&) {
  }
  ::close(file);
  return 0;
}
