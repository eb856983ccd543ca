/// The samplers, and the orders and unmasking schedules of the masked one. To add one: a file with its function, and a
/// line in registry.cpp. The command line, the service, the studio, sweeps, records and suggestions ask here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/registry.h"
#include "sampling/option_field.h"
#include "sampling/sampler.h"

namespace tessera {

struct SamplerEntry {
  std::string name, help;  // one line
  SamplerFunction run = nullptr;
  bool causal = false;        // for networks that see the cells before alone
  bool needs_mask = true;     // for processes with MASK alone
  bool without_mask = false;  // for processes without MASK alone
  bool takes_steps = true;    // false: one step a cell, always
  bool cell_by_cell = false;  // where nobody says how many steps: one a cell
  // Draws codes by draw_token whatever the process (false: from the process's own distribution, where it sees the
  // time).
  bool draws_tokens = true;
  std::vector<OptionField> options = {};  // its own
  // Above 0: what a model just trained is sampled with, at so many steps, where it suits and nobody says otherwise.
  std::int64_t suggested_steps = 0;

  bool suits(bool is_causal, bool has_mask) const {
    return causal == is_causal && (has_mask ? !without_mask : !needs_mask);
  }
};

/// What an order scores: the open cells of one image, ascending.
struct OpenCells {
  Extent extent;
  const std::vector<std::int64_t>& cells;  // of the image's own h * w
  const TokenDraw* draws = nullptr;        // one a cell, where the order sees them
  const float* logits = nullptr;           // [cells, codes], where the order sees them
  std::int64_t codes = 0;
  RandomStream stream;  // of the image, the same at every step
};

/// Which of the open cells come next.
struct OrderEntry {
  enum class Sees { nothing, draws, logits };
  std::string name, help;
  Sees sees = Sees::nothing;
  /// The score of each cell; the greatest come first. Of orders that see something: in nats, so that noise on them
  /// means the same.
  std::vector<double> (*score)(const OpenCells& open) = nullptr;
};

struct ScheduleInput {
  std::int64_t open = 0;                               // cells of the image that are open at first
  std::int64_t cells = 0;                              // h * w
  std::int64_t steps = 0;                              // S
  const std::vector<double>* cross_entropy = nullptr;  // FillOptions::cross_entropy
};

/// How many cells are open after each step.
struct ScheduleEntry {
  std::string name, help;
  /// Out: the cells still open after steps 1, 2, ..; descending, the last is 0; at most S of them.
  std::vector<std::int64_t> (*plan)(const ScheduleInput& input) = nullptr;
};

/// What a guidance schedule's own options come to.
struct GuidanceShape {
  double power = 1, from = 0, to = 1;
};

/// How much of the guidance (towards a condition, and towards what is known) there is when a part of the image is
/// known.
struct GuidanceEntry {
  std::string name, help;
  /// Out: the share of (scale - 1) that counts, in [0, 1]. In: known, 0 at the start of an empty image, 1 at its end
  /// (one less the process's time over T where the network sees the time).
  double (*share)(double known, const GuidanceShape& shape) = nullptr;
  std::vector<OptionField> options = {};  // its own
};

OptionField guidance_power_field();
/// Of options.guidance_schedule.
double guidance_share(const FillOptions& options, double known);

Registry<SamplerEntry>& samplers();
Registry<OrderEntry>& orders();
Registry<ScheduleEntry>& unmasking_schedules();
Registry<GuidanceEntry>& guidance_schedules();

/// What fills where nobody chose: the first that suits.
const SamplerEntry& default_sampler(bool causal, bool has_mask = true);
/// The one of suggested_steps above 0 that suits; null: none.
const SamplerEntry* suggested_sampler(bool causal, bool has_mask = true);
/// Open cells in reading order, each given all that is known by then: words.
const SamplerEntry& reading_order_sampler();
/// The names of those that suit, the default first.
std::vector<std::string> suitable_samplers(bool causal, bool has_mask);

}  // namespace tessera
