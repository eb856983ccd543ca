/// Zip and tar archives as data sets: listed, joined with their metadata and read, with small limits.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "data/image_source.h"
#include "runtime/error.h"

namespace {

/// Takes the bytes and forgets them.
class Discard : public tessera::ImageSink {
 public:
  void receive(std::size_t, std::vector<std::uint8_t>) override {}
  void unreadable(std::size_t, std::string) override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto path =
      std::filesystem::temp_directory_path() / ("tessera-archive-fuzz-" + std::to_string(::getpid()));
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    Discard sink;
    tessera::open_image_source(path, {.max_entries = 1000, .max_entry_bytes = 1 << 20, .max_text_bytes = 1 << 20})
        ->read_all(sink);
  } catch (const tessera::Error&) {
  }
  std::filesystem::remove(path);
  return 0;
}
