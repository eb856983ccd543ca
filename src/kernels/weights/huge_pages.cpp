#include "kernels/weights/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
namespace {

constexpr std::size_t kPage = std::size_t{2} << 20, kGroup = std::size_t{16} << 20, kLine = 64;  // bytes

std::size_t up(std::size_t value, std::size_t by) {
  return (value + by - 1) / by * by;
}

/// Whole large pages, filled from the start.
class Group {
 public:
  explicit Group(std::size_t bytes) : mapped_bytes_(bytes + kPage) {
    void* const mapped = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return;
    mapped_ = mapped;
    const auto address = reinterpret_cast<std::uintptr_t>(mapped);
    next_ = static_cast<std::byte*>(mapped) + (up(address, kPage) - address);
    left_ = bytes;
#ifdef MADV_HUGEPAGE
    ::madvise(next_, bytes, MADV_HUGEPAGE);
#endif
  }
  ~Group() {
    if (mapped_ != nullptr) ::munmap(mapped_, mapped_bytes_);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  /// Null where so much is not left.
  std::byte* take(std::size_t bytes) {
    bytes = up(bytes, kLine);
    if (bytes > left_) return nullptr;
    left_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

 private:
  std::size_t mapped_bytes_;
  void* mapped_ = nullptr;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace

torch::Tensor empty_on_huge_pages(std::int64_t count, torch::ScalarType type) {
  static std::mutex mutex;
  static std::weak_ptr<Group> filling;  // the tensors in it keep it
  const auto bytes = static_cast<std::size_t>(count) * torch::elementSize(type);
  std::shared_ptr<Group> group;
  std::byte* data = nullptr;
  {
    const std::lock_guard lock(mutex);
    group = filling.lock();
    data = group ? group->take(bytes) : nullptr;
    if (data == nullptr) {
      group = std::make_shared<Group>(std::max(kGroup, up(bytes, kPage)));
      data = group->take(bytes);
      if (data == nullptr) return torch::empty({count}, type);
      filling = group;
    }
  }
  return torch::from_blob(
      data, {count}, [group](void*) {}, torch::TensorOptions(type));
}

}  // namespace tessera
