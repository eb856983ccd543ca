#include "cli/picture_files.h"

#include <ATen/Parallel.h>

#include <nlohmann/json.hpp>

namespace tessera::cli {

PngText picture_text(const nlohmann::json& record) {
  return {{"tessera", record.dump()}, {"Software", std::string("Tessera ") + TESSERA_VERSION}};
}

void write_pictures(const std::vector<PictureFile>& files) {
  at::parallel_for(0, static_cast<std::int64_t>(files.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto& file = files[static_cast<std::size_t>(i)];
      write_png(file.path, file.image, file.text);
    }
  });
}

}  // namespace tessera::cli
