/// Recipes.
#include <cstdint>
#include <string>

#include "runtime/error.h"
#include "training/bounded_toml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    (void)tessera::read_toml({reinterpret_cast<const char*>(data), size}, "input");
  } catch (const tessera::Error&) {
  }
  return 0;
}
