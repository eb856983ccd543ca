/// The one reader of JSON that came from outside: bodies, metadata, configs, records, states, headers. Time is linear
/// in the text; nesting, values and the memory they take are bounded before they are taken.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

namespace tessera {

/// What a text may describe. What its strings hold is no more than the text itself, and is not counted.
struct JsonLimits {
  std::size_t depth = 64;                           // lists and objects within each other
  std::size_t values = 2'000'000;                   // of any kind, keys apart
  std::size_t bytes = std::size_t{96} << 20;        // of values, beside what strings hold
  std::size_t ordered_keys = std::size_t{1} << 12;  // of one ordered object, whose keys are looked up one by one
  std::size_t* held = nullptr;                      // where several texts share `bytes`: what those before this took
};

/// The value. Throws Error: "WHERE: not JSON at byte 17", "WHERE: nested deeper than 64" and the like.
nlohmann::json read_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});
/// The same with keys in the text's order.
nlohmann::ordered_json read_ordered_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});
/// The object. Throws Error: "WHERE: not a JSON object (not JSON at byte 17)".
nlohmann::json read_json_object(std::string_view text, std::string_view where, const JsonLimits& limits = {});
/// The value; a discarded one where the text is no JSON within the limits.
nlohmann::json json_or_discarded(std::string_view text, const JsonLimits& limits = {});
nlohmann::ordered_json ordered_json_or_discarded(std::string_view text, const JsonLimits& limits = {});

/// Sends the text's events to a reader that keeps its own bounds; it may throw.
void read_json_events(std::string_view text, nlohmann::json_sax<nlohmann::json>& reader);

}  // namespace tessera
