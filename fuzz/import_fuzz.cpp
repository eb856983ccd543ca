/// Foreign checkpoints through every importer: the first byte says how the file is called, then the yaml or config.json
/// that lies beside it up to a zero byte, then the file.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "import/importers.h"
#include "runtime/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  static const auto folder =
      std::filesystem::temp_directory_path() / ("tessera-import-fuzz-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  constexpr const char* kNames[] = {"diffusion_pytorch_model.safetensors", "absorbing_ema_1.th", "vqgan_ema_1.th",
                                    "last.ckpt", "ithq_vqvae.pth"};
  const auto file = folder / kNames[data[0] % 5];
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto end = std::min(rest.find('\0'), rest.size());
  const auto config = folder / (data[0] % 5 == 0 ? "config.json" : "model.yaml");
  std::ofstream(config, std::ios::binary) << rest.substr(0, end);
  std::ofstream(file, std::ios::binary) << rest.substr(std::min(end + 1, rest.size()));
  try {
    tessera::ImportOptions options;
    if (end > 0) options.config = config;
    (void)tessera::import_checkpoint(file, options);
  } catch (const tessera::Error&) {
  }
  std::filesystem::remove(file);
  std::filesystem::remove(config);
  return 0;
}
