#include "data/decode.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "image/image_io.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

constexpr std::size_t kQueuedBytes = std::size_t{64} << 20;  // compressed files waiting for a worker
constexpr std::size_t kKeptMessages = 1000;
constexpr const char* kNeverRead = "gone when the images were read";

/// A file without a name, of `bytes` bytes that the disk has set aside, in the cache's folder.
int open_scratch(const DatasetOptions& options, std::uint64_t bytes) {
  auto folder = options.cache_folder.empty() ? default_cache_folder() : options.cache_folder;
  std::error_code code;
  if (options.use_cache && !folder.empty()) std::filesystem::create_directories(folder, code);
  if (!options.use_cache || folder.empty() || code) folder = std::filesystem::temp_directory_path(code);
  std::string name = (folder / "tessera-scratch-XXXXXX").string();
  const int descriptor = ::mkostemp(name.data(), O_CLOEXEC);
  require(descriptor >= 0, "{}: no scratch file can be made: {}", folder.string(), std::strerror(errno));
  ::unlink(name.c_str());
  if (const int problem = ::posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)); problem != 0) {
    ::close(descriptor);
    fail("{}: no room for {} bytes of pixels: {}", folder.string(), bytes, std::strerror(problem));
  }
  return descriptor;
}

/// Numbers the class names that occur, in natural order; numeric labels keep their values.
void assign_labels(DatasetContent& content, const std::vector<const CatalogueItem*>& sources) {
  constexpr std::int64_t kMaxNumericLabel = 99999;
  std::vector<std::string> names;
  std::int64_t largest = -1;
  bool numeric = true;
  for (const auto* item : sources) {
    if (item->label.empty()) continue;
    names.push_back(valid_utf8(item->label));
    numeric = numeric && item->label_is_number && item->label.size() <= 5;
    if (numeric) largest = std::max<std::int64_t>(largest, std::stoll(item->label));
  }
  if (names.empty()) return;
  if (numeric && largest <= kMaxNumericLabel) {
    for (std::int64_t value = 0; value <= largest; ++value) content.class_names.push_back(std::to_string(value));
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (!sources[i]->label.empty()) content.items[i].label = std::stoll(sources[i]->label);
    }
    return;
  }
  content.class_names = ordered_class_names(std::move(names));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i]->label.empty()) continue;
    const auto found = std::lower_bound(content.class_names.begin(), content.class_names.end(),
                                        valid_utf8(sources[i]->label), natural_less);
    content.items[i].label = found - content.class_names.begin();
  }
}

/// The queue between the thread that reads files and those that decode them.
class Decoder : public ImageSink {
 public:
  Decoder(const ImageSource& source, const DatasetOptions& options)
      : source_(source),
        options_(options),
        first_(options.shard.begin(static_cast<std::int64_t>(source.catalogue().items.size()))),
        count_(options.shard.end(static_cast<std::int64_t>(source.catalogue().items.size())) - first_),
        images_(room_for_images(count_, options)),
        problems_(static_cast<std::size_t>(count_), kNeverRead),
        too_small_(static_cast<std::size_t>(count_), false) {
    read_options_.background = parse_colour(options.background);
    read_options_.max_pixels = options.max_pixels;
    read_options_.max_file_bytes = options.limits.max_entry_bytes;
  }

  void run() {
    const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    const int wanted = options_.threads > 0 ? options_.threads : processors;
    std::vector<std::jthread> workers;
    try {
      for (int i = 0; i < wanted; ++i) workers.emplace_back([this] { work(); });
      source_.read_all(*this);
    } catch (...) {
      stop(std::current_exception());
    }
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
    }
    changed_.notify_all();
    workers.clear();
    if (failure_) std::rethrow_exception(failure_);
    report();
  }

  bool wants(std::size_t item) const override {
    const auto place = static_cast<std::int64_t>(item) - first_;
    return place >= 0 && place < count_;
  }

  void receive(std::size_t item, std::vector<std::uint8_t> bytes) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queued_bytes_ <= kQueuedBytes || failure_; });
    if (failure_) std::rethrow_exception(failure_);
    queued_bytes_ += bytes.size();
    queue_.push_back({item, std::move(bytes)});
    lock.unlock();
    changed_.notify_all();
    report();
  }

  void unreadable(std::size_t item, std::string message) override {
    const std::lock_guard lock(mutex_);
    problems_[place_of(item)] = std::move(message);
    ++done_;
  }

  std::int64_t count() const { return count_; }
  std::int64_t first() const { return first_; }
  torch::Tensor images() const { return images_; }
  const std::string& problem(std::size_t item) const { return problems_[place_of(item)]; }
  bool is_too_small(std::size_t item) const { return too_small_[place_of(item)] != 0; }
  bool all_too_small() const {
    return std::all_of(too_small_.begin(), too_small_.end(), [](char small) { return small; });
  }
  int largest_side() const { return largest_side_; }

 private:
  struct Job {
    std::size_t item;
    std::vector<std::uint8_t> bytes;
  };

  std::size_t place_of(std::size_t item) const { return item - static_cast<std::size_t>(first_); }

  void work() {
    try {
      while (true) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !queue_.empty() || finished_ || failure_; });
        if (failure_ || queue_.empty()) return;
        Job job = std::move(queue_.front());
        queue_.pop_front();
        queued_bytes_ -= job.bytes.size();
        lock.unlock();
        changed_.notify_all();
        decode(job);
      }
    } catch (...) {
      stop(std::current_exception());
    }
  }

  void decode(const Job& job) {
    const auto& name = source_.catalogue().items[job.item].name;
    const int size = static_cast<int>(options_.size);
    std::string problem;
    bool too_small = false;
    int shorter = 0;
    try {
      const Image image = read_image(job.bytes, printable(name), read_options_);
      shorter = std::min(image.width, image.height);
      too_small = shorter < size && !options_.upscale;
      require(!too_small, "{}: {}x{} pixels, expected at least {}x{}", printable(name), image.width, image.height, size,
              size);
      const auto planes = to_tensor(resize_and_crop(image, size));
      std::memcpy(images_.data_ptr<std::uint8_t>() + static_cast<std::int64_t>(place_of(job.item)) * planes.numel(),
                  planes.data_ptr(), planes.nbytes());
    } catch (const Error& error) {
      problem = error.what();
    }
    const std::lock_guard lock(mutex_);
    problems_[place_of(job.item)] = std::move(problem);
    too_small_[place_of(job.item)] = too_small ? 1 : 0;
    largest_side_ = std::max(largest_side_, shorter);
    ++done_;
  }

  void stop(std::exception_ptr failure) {
    {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::move(failure);
    }
    changed_.notify_all();
  }

  void report() {
    if (!options_.progress) return;
    std::int64_t done = 0;
    {
      const std::lock_guard lock(mutex_);
      done = done_;
    }
    if (done >= reported_ + 64 || done == count_) {
      reported_ = done;
      options_.progress(done, count_);
    }
  }

  const ImageSource& source_;
  const DatasetOptions& options_;
  const std::int64_t first_, count_;  // items of the shard
  torch::Tensor images_;              // [count, 3, S, S] uint8, one row an item
  ReadOptions read_options_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> queue_;
  std::size_t queued_bytes_ = 0;
  bool finished_ = false;
  std::exception_ptr failure_;
  std::vector<std::string> problems_;  // by item from the first; empty: decoded
  std::vector<char> too_small_;        // by item from the first
  int largest_side_ = 0;               // the shorter side of the largest image
  std::int64_t done_ = 0;
  std::int64_t reported_ = 0;
};

/// What there is instead of images, for a message.
std::string files_there(const Catalogue& catalogue) {
  if (catalogue.files == 0 && catalogue.problems.empty()) return {};
  std::string text = fmt::format(" among {} files", catalogue.files);
  constexpr std::size_t kShown = 3;
  std::size_t shown = 0;
  for (const auto& problem : catalogue.problems) {
    if (++shown > kShown) break;
    text += fmt::format("{}{}", shown == 1 ? " (" : "; ", problem);
  }
  const auto more = static_cast<std::int64_t>(catalogue.problems.size()) + catalogue.more_problems -
                    static_cast<std::int64_t>(kShown);
  if (more > 0) text += fmt::format("; {} more problems", more);
  return catalogue.problems.empty() ? text : text + ")";
}

}  // namespace

torch::Tensor room_for_images(std::int64_t count, const DatasetOptions& options) {
  const std::int64_t size = options.size;
  const auto bytes = static_cast<std::uint64_t>(count) * 3 * static_cast<std::uint64_t>(size * size);
  if (bytes <= options.memory_limit) return torch::empty({count, 3, size, size}, torch::kUInt8);
  const int descriptor = open_scratch(options, bytes);
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  ::close(descriptor);
  require(data != MAP_FAILED, "{}: {} bytes of pixels cannot be mapped", options.path.string(), bytes);
  const auto release = [bytes](void* begin) { ::munmap(begin, bytes); };
  return torch::from_blob(data, {count, 3, size, size}, release, torch::kUInt8);
}

std::vector<std::string> ordered_class_names(std::vector<std::string> names) {
  std::sort(names.begin(), names.end(), natural_less);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

DatasetContent decode_source(const ImageSource& source, const DatasetOptions& options) {
  const auto& catalogue = source.catalogue();
  const auto path = options.path.string();
  if (catalogue.items.empty())
    fail("{}: no images{}; expected png, jpg, webp, tiff or gif files", path, files_there(catalogue));
  require(image_files_supported(), "{}: this build has no libvips; expected a .tessera-pack", path);
  const auto total = static_cast<std::int64_t>(catalogue.items.size());
  require(options.shard.begin(total) < options.shard.end(total),
          "{}: shard {} of {} images holds none: expected at most {} shards", path, options.shard.text(), total, total);
  Decoder decoder(source, options);
  decoder.run();
  require(!decoder.all_too_small(),
          "{}: all {} images are smaller than {}x{} (the largest has {} pixels on its shorter side)", path,
          decoder.count(), options.size, options.size, decoder.largest_side());

  DatasetContent content;
  const auto skip = [&](const std::string& message) {
    ++content.skipped_count;
    if (content.skipped.size() < kKeptMessages) content.skipped.push_back(message);
  };
  if (options.shard.index == 0) {
    for (const auto& problem : catalogue.problems) skip(problem);
    content.skipped_count += catalogue.more_problems;
    for (const auto& file : catalogue.left_out) ++content.reasons[file.reason];
    content.companions = catalogue.companions;
    content.notes = catalogue.notes;
    content.files = catalogue.files - total;
  }
  content.files += decoder.count();
  auto images = decoder.images();
  std::vector<const CatalogueItem*> kept;
  const std::int64_t bytes = 3 * options.size * options.size;
  const auto first = static_cast<std::size_t>(decoder.first());
  for (auto i = first; i < first + static_cast<std::size_t>(decoder.count()); ++i) {
    if (!decoder.problem(i).empty()) {
      const bool named = decoder.problem(i) != kNeverRead;
      ++content.reasons[decoder.is_too_small(i) ? "smaller than asked for" : "cannot be read"];
      skip(named ? decoder.problem(i) : printable(catalogue.items[i].name) + ": " + kNeverRead);
      continue;
    }
    const auto& item = catalogue.items[i];
    auto* base = images.data_ptr<std::uint8_t>();
    const auto place = static_cast<std::int64_t>(content.items.size());
    if (const auto from = static_cast<std::int64_t>(i - first); place != from)
      std::memcpy(base + place * bytes, base + from * bytes, bytes);
    content.items.push_back({valid_utf8(item.name), item.caption, -1, item.fields, item.more_captions, item.split});
    kept.push_back(&item);
  }
  if (content.items.empty())
    fail("{}: none of {} images can be used ({})", path, decoder.count(),
         content.skipped.empty() ? "the set is empty" : content.skipped.front());
  assign_labels(content, kept);
  content.images = images.narrow(0, 0, static_cast<std::int64_t>(content.items.size()));
  return content;
}

}  // namespace tessera
