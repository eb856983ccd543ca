#include "data/batch_loader.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "runtime/error.h"

namespace tessera {
namespace {

// Cells of the data_augment stream of one (image, epoch). Part of the format.
constexpr std::uint32_t kFlipCell = 0;
constexpr std::uint32_t kLeftCell = 1;
constexpr std::uint32_t kTopCell = 2;

/// Where a row of the crop lies in the picture: two neighbours and the weight of the second.
struct Tap {
  std::int64_t first;
  std::int64_t second;
  float weight;
};

/// Bilinear taps of `size` output pixels from `offset` on, of a picture of `size` pixels enlarged to `enlarged`.
std::vector<Tap> make_taps(std::int64_t size, std::int64_t enlarged, std::int64_t offset) {
  std::vector<Tap> taps(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    const double position =
        (static_cast<double>(i + offset) + 0.5) * static_cast<double>(size) / static_cast<double>(enlarged) - 0.5;
    const double clamped = std::clamp(position, 0.0, static_cast<double>(size - 1));
    const auto first = static_cast<std::int64_t>(clamped);
    taps[static_cast<std::size_t>(i)] = {first, std::min(first + 1, size - 1),
                                         static_cast<float>(clamped - static_cast<double>(first))};
  }
  return taps;
}

void enlarge_and_crop(const std::uint8_t* in, std::uint8_t* out, std::int64_t size, std::int64_t enlarged,
                      std::int64_t left, std::int64_t top) {
  const auto columns = make_taps(size, enlarged, left);
  const auto rows = make_taps(size, enlarged, top);
  for (int channel = 0; channel < 3; ++channel, in += size * size) {
    for (const auto& row : rows) {
      const std::uint8_t* upper = in + row.first * size;
      const std::uint8_t* lower = in + row.second * size;
      for (const auto& column : columns) {
        const float above = static_cast<float>(upper[column.first]) * (1 - column.weight) +
                            static_cast<float>(upper[column.second]) * column.weight;
        const float below = static_cast<float>(lower[column.first]) * (1 - column.weight) +
                            static_cast<float>(lower[column.second]) * column.weight;
        // NOLINTNEXTLINE(bugprone-incorrect-roundings): never below zero
        *out++ = static_cast<std::uint8_t>(above * (1 - row.weight) + below * row.weight + 0.5F);
      }
    }
  }
}

void mirror(std::uint8_t* image, std::int64_t size) {
  for (std::int64_t row = 0; row < 3 * size; ++row) std::reverse(image + row * size, image + (row + 1) * size);
}

}  // namespace

void BatchOptions::validate() const {
  require(batch_size >= 1, "batch size: {}, expected at least 1", batch_size);
  require(crop_scale >= 1 && crop_scale <= 4, "crop_scale: {}, expected 1 to 4", crop_scale);
  require(prefetch >= 0 && prefetch <= 64, "prefetch: {}, expected 0 to 64", prefetch);
  require(first_row >= 0 && rows >= 0 && first_row + rows <= batch_size, "rows: {} from {} on, expected some of {}",
          rows, first_row, batch_size);
}

/// Makes batches, and keeps those that were made ahead.
struct BatchLoader::Worker {
  Worker(Dataset dataset_in, Split split, const BatchOptions& options_in)
      : dataset(std::move(dataset_in)), options(options_in), members(dataset.require_split(split)) {
    options.validate();
    if (options.prefetch > 0) thread = std::jthread([this](const std::stop_token& stop) { prepare(stop); });
  }

  ~Worker() {
    thread.request_stop();
    {
      const std::lock_guard lock(mutex);  // so that no wake-up is lost
    }
    changed.notify_all();
  }

  std::int64_t rows() const { return options.rows > 0 ? options.rows : options.batch_size; }

  std::int64_t first_position(std::int64_t step) const {
    require(step >= 0, "step: {}, expected at least 0", step);
    return step * options.batch_size + options.first_row;
  }

  /// The order of one epoch: the members sorted by a random key each.
  std::shared_ptr<const std::vector<std::int64_t>> order(std::int64_t epoch) const {
    {
      const std::lock_guard lock(order_mutex);
      if (const auto found = orders.find(epoch); found != orders.end()) return found->second;
    }
    std::vector<std::pair<std::uint64_t, std::int64_t>> keyed;
    keyed.reserve(members.size());
    for (const auto member : members) {
      const RandomStream stream(options.seed, Purpose::data_order, static_cast<std::uint64_t>(member),
                                static_cast<std::uint32_t>(epoch));
      keyed.emplace_back(stream.bits(0), member);
    }
    std::sort(keyed.begin(), keyed.end());
    auto made = std::make_shared<std::vector<std::int64_t>>();
    made->reserve(keyed.size());
    for (const auto& [key, member] : keyed) made->push_back(member);
    const std::lock_guard lock(order_mutex);
    if (orders.size() >= 4) orders.erase(orders.begin());
    orders.emplace(epoch, made);
    return made;
  }

  Batch make(std::int64_t step) const {
    const std::int64_t begin = first_position(step);
    const auto count = static_cast<std::int64_t>(members.size());
    const std::int64_t size = dataset.image_size();
    const std::int64_t bytes = 3 * size * size;
    const std::int64_t enlarged = std::llround(static_cast<double>(size) * options.crop_scale);
    Batch batch{torch::empty({rows(), 3, size, size}, torch::kUInt8), torch::empty({rows()}, torch::kInt64),
                torch::zeros({rows()}, torch::kBool)};
    std::int64_t epoch = -1;
    std::shared_ptr<const std::vector<std::int64_t>> permutation;
    for (std::int64_t row = 0; row < rows(); ++row) {
      const std::int64_t position = begin + row;
      if (position / count != epoch) {
        epoch = position / count;
        permutation = order(epoch);
      }
      const std::int64_t index = (*permutation)[static_cast<std::size_t>(position % count)];
      const RandomStream draws(options.seed, Purpose::data_augment, static_cast<std::uint64_t>(index),
                               static_cast<std::uint32_t>(epoch));
      const auto stored = dataset.image(index);
      const auto* source = stored.data_ptr<std::uint8_t>();
      auto* image = batch.images.data_ptr<std::uint8_t>() + row * bytes;
      if (enlarged > size) {
        const auto room = static_cast<std::uint64_t>(enlarged - size + 1);
        enlarge_and_crop(source, image, size, enlarged, static_cast<std::int64_t>(draws.below(kLeftCell, room)),
                         static_cast<std::int64_t>(draws.below(kTopCell, room)));
      } else {
        std::memcpy(image, source, static_cast<std::size_t>(bytes));
      }
      const bool flipped = options.flip && draws.below(kFlipCell, 2) == 1;
      if (flipped) mirror(image, size);
      batch.indices.data_ptr<std::int64_t>()[row] = index;
      batch.flipped.data_ptr<bool>()[row] = flipped;
    }
    return batch;
  }

  /// The thread: makes the batches from `wanted` on, as many as may lie ready.
  void prepare(const std::stop_token& stop) {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] {
        return stop.stop_requested() || (wanted >= 0 && static_cast<int>(ready.size()) < options.prefetch);
      });
      if (stop.stop_requested()) return;
      const std::int64_t step = wanted + static_cast<std::int64_t>(ready.size());
      const std::uint64_t made_for = generation;
      lock.unlock();
      Batch batch;
      std::exception_ptr problem;
      try {
        batch = make(step);
      } catch (...) {
        problem = std::current_exception();
      }
      lock.lock();
      if (made_for != generation) continue;
      if (problem) {
        wanted = -1;  // the caller meets the same problem when it asks for the step
      } else {
        ready.emplace(step, std::move(batch));
      }
      changed.notify_all();
    }
  }

  Batch take(std::int64_t step) {
    first_position(step);
    if (options.prefetch == 0) return make(step);
    {
      std::unique_lock lock(mutex);
      // A step that is being made or ready is waited for; for any other the thread starts anew behind it.
      if (wanted >= 0 && step >= wanted && step < wanted + options.prefetch) {
        changed.wait(lock, [&] { return wanted < 0 || ready.contains(step); });
        if (const auto found = ready.find(step); found != ready.end()) {
          Batch batch = std::move(found->second);
          ready.erase(ready.begin(), std::next(found));
          if (wanted != step) ++generation;  // steps were left out: what is being made has the wrong number
          wanted = step + 1;
          lock.unlock();
          changed.notify_all();
          return batch;
        }
      }
      ready.clear();
      wanted = step + 1;
      ++generation;
    }
    changed.notify_all();
    return make(step);
  }

  const Dataset dataset;
  const BatchOptions options;
  const std::vector<std::int64_t>& members;  // of the split

  mutable std::mutex order_mutex;
  mutable std::map<std::int64_t, std::shared_ptr<const std::vector<std::int64_t>>> orders;

  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::int64_t, Batch> ready;  // wanted, wanted + 1, ...
  std::int64_t wanted = -1;             // the first step to be kept ready; -1: none
  std::uint64_t generation = 0;
  std::jthread thread;  // last: it uses all of the above
};

BatchLoader::BatchLoader(Dataset dataset, Split split, const BatchOptions& options)
    : worker_(std::make_unique<Worker>(std::move(dataset), split, options)) {}
BatchLoader::~BatchLoader() = default;

Batch BatchLoader::batch(std::int64_t step) {
  return worker_->take(step);
}

std::vector<std::int64_t> BatchLoader::indices(std::int64_t step) const {
  const auto& worker = *worker_;
  std::vector<std::int64_t> indices;
  const std::int64_t begin = worker.first_position(step);
  const auto count = static_cast<std::int64_t>(worker.members.size());
  for (std::int64_t position = begin; position < begin + worker.rows(); ++position) {
    indices.push_back((*worker.order(position / count))[static_cast<std::size_t>(position % count)]);
  }
  return indices;
}

std::int64_t BatchLoader::images_per_epoch() const {
  return static_cast<std::int64_t>(worker_->members.size());
}

}  // namespace tessera
