#include "runtime/shard.h"

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kMostShards = 1000000;

std::optional<std::int64_t> shard_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::int64_t array_variable(const char* name) {
  const char* text = std::getenv(name);
  const auto value = text == nullptr ? std::nullopt : shard_number(text);
  if (!value)
    throw UsageError(fmt::format("--shard array: {} is {}, expected a number: not in a task of a Slurm array", name,
                                 text == nullptr ? "not set" : fmt::format("'{}'", text)));
  return *value;
}

}  // namespace

Shard shard_from(const std::string& text) {
  Shard shard;
  if (text == "array") {
    shard.count = array_variable("SLURM_ARRAY_TASK_COUNT");
    shard.index = array_variable("SLURM_ARRAY_TASK_ID") - array_variable("SLURM_ARRAY_TASK_MIN");
    if (shard.index < 0 || shard.count < 1 || shard.count > kMostShards || shard.index >= shard.count)
      throw UsageError(
          fmt::format("--shard array: task {} of {} from the array's first on, expected one below that: "
                      "an array without gaps (--array=0-{})",
                      shard.index, shard.count, shard.count - 1));
    return shard;
  }
  const auto slash = text.find('/');
  const auto index = shard_number(std::string_view(text).substr(0, slash));
  const auto count = slash == std::string::npos ? std::nullopt : shard_number(std::string_view(text).substr(slash + 1));
  if (!index || !count || *index < 0 || *count < 1 || *count > kMostShards || *index >= *count)
    throw UsageError(fmt::format("--shard '{}': expected I/N with I below N, or array", text));
  return {*index, *count};
}

}  // namespace tessera
