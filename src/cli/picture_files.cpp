#include "cli/picture_files.h"

#include <ATen/Parallel.h>

namespace tessera::cli {

void write_pictures(const std::vector<PictureFile>& files) {
  at::parallel_for(0, static_cast<std::int64_t>(files.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto& file = files[static_cast<std::size_t>(i)];
      write_png(file.path, file.image, file.text);
    }
  });
}

}  // namespace tessera::cli
