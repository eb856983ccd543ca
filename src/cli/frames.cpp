#include "cli/frames.h"

#include <fmt/format.h>

#include "image/animation.h"
#include "image/image_io.h"
#include "runtime/atomic_file.h"

namespace tessera::cli {
namespace {

constexpr std::size_t kMostKept = 150;
constexpr int kFrameMilliseconds = 60;
constexpr std::size_t kStillFrames = 16;  // about a second

}  // namespace

Frames::Frames(std::filesystem::path folder) : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
}

void Frames::add(const Image& image) {
  write_png(folder_ / fmt::format("{:05}.png", count_), image);
  if (count_++ % every_ == 0) kept_.push_back(image);
  last_ = image;
  if (kept_.size() <= kMostKept) return;
  for (std::size_t i = 0; 2 * i < kept_.size(); ++i) kept_[i] = std::move(kept_[2 * i]);
  kept_.resize((kept_.size() + 1) / 2);
  every_ *= 2;
}

void Frames::finish() const {
  if (count_ == 0) return;
  auto frames = kept_;
  frames.insert(frames.end(), kStillFrames, last_);
  write_file_atomically(folder_ / "animation.webp", encode_webp_animation(frames, kFrameMilliseconds));
}

}  // namespace tessera::cli
