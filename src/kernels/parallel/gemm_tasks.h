/// How a matrix product is shared out among the threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/parallel/tasks.h"

namespace tessera {

/// A part of a product, computed by one thread.
struct GemmTask {
  std::int64_t row, rows, channel, channels;
  std::int64_t channel_after;  // first one of the task that the thread is likely to take next, or -1: other rows
};

/// make_worker(most rows of a task)(task) for tasks that make up a product of `rows` by `channels`. Blocks of rows, and
/// of each the panels of `panel` channels, whose weights lie together: a thread takes several neighbouring ones, so
/// that it reads but a part of the weights. The last piece that a thread may have to wait for is half the rows of a
/// panel. An element of the result is computed alike in whichever task it falls.
template <typename MakeWorker>
void for_each_gemm_task(std::int64_t rows, std::int64_t channels, std::int64_t panel, const MakeWorker& make_worker) {
  constexpr std::int64_t kRows = 32;       // that are multiplied together
  constexpr std::int64_t kMostRows = 256;  // whose inputs and sums stay in the second-level cache
  constexpr std::int64_t kShare = 2;       // a thread takes half of what is left
  const auto up = [](std::int64_t value, std::int64_t by) { return (value + by - 1) / by; };
  const std::int64_t blocks = std::max<std::int64_t>(1, up(rows, kMostRows)),
                     tall = std::max<std::int64_t>(1, up(up(rows, blocks), kRows)) * kRows,
                     upper = tall > kRows ? up(tall, 2 * kRows) * kRows : tall, parts = tall > upper ? 2 : 1,
                     panels = std::max<std::int64_t>(1, up(channels, panel)), pieces = panels * parts;
  run_chunks(up(rows, tall) * pieces, kShare, [&] {
    return [&, worker = make_worker(std::min(tall, rows))](std::int64_t begin, std::int64_t end) mutable {
      while (begin < end) {
        const std::int64_t block = begin / pieces, piece = begin % pieces, first = piece / parts, part = piece % parts;
        // Whole panels where there are some, else a part of one.
        const std::int64_t left = std::min(end - begin, pieces - piece), whole = part == 0 ? left / parts : 0,
                           count = std::max<std::int64_t>(1, whole), after = first + count;
        const std::int64_t row = block * tall + part * upper, height = whole > 0   ? tall
                                                                       : part == 0 ? upper
                                                                                   : tall - upper;
        if (row < rows) {
          worker(GemmTask{row, std::min(height, rows - row), first * panel,
                          std::min(count * panel, channels - first * panel), after < panels ? after * panel : -1});
        }
        begin += whole > 0 ? whole * parts : 1;
      }
    };
  });
}

}  // namespace tessera
