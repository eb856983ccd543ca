/// Configurations beside foreign checkpoints.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/bounded_yaml.h"
#include "runtime/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    (void)tessera::read_yaml(std::string(reinterpret_cast<const char*>(data), size), "input");
  } catch (const tessera::Error&) {
  }
  return 0;
}
